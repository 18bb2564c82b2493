"""The bound on forwards as a formula, and why each phase ends, in words for people.

Not here: the number (`bounds`).
"""

from __future__ import annotations

from ..language import syntax
from ..language.walk import statements
from .bounds import Bound
from .entailment import StepLimit
from .floor_values import ALL, smallest
from .progress import PhaseProgress, Progress


def formula(bound: Bound) -> str:
    """The bound on forwards in words."""
    stays = dict.fromkeys(
        s.count.span.text for s in statements(bound.resolved.policy) if isinstance(s, syntax.Stay)
    )
    more = f", and {' or '.join(stays)} steps in which a full window stays" if stays else ""
    return _without_stays(bound) + more


def _without_stays(bound: Bound) -> str:
    limits = [phase.fills_after for phase in bound.progress.phases]
    if all(limits):
        texts = dict.fromkeys(_limit(limit) for limit in limits if limit is not None)
        may_idle = any(smallest(phase.floor) < 1 for phase in bound.progress.phases)
        less = "" if bound.masks_again or may_idle else ", or gen_length if that is less"
        return f"{' or '.join(texts)} a window{less}"
    if more := _more(bound):
        return f"gen_length, and in each window {' and '.join(more)}"
    lowest = min((phase.floor for phase in bound.progress.phases), key=smallest)
    if bound.masks_again or lowest == 1 or bound.shape in ("sliding", "until"):
        return "gen_length"
    floor = lowest.identifier.text if isinstance(lowest, syntax.Parameter) else lowest
    if floor == ALL:
        return "1" if bound.size is None else "number of blocks"
    if bound.size is None:
        return f"ceil(gen_length / {floor})"
    return f"sum over blocks of ceil(length / {floor}), blocks of {bound.size}"


def _more(bound: Bound) -> list[str]:
    """The forwards of a window beyond one for each position."""
    phases = bound.progress.phases
    more = [f"{_visits(bound, phase)} idle steps of `{phase.name}`" for phase in phases if phase.may_idle]
    more += [f"what `{phase.name}` masks again" for phase in phases if bound.revokes_of_known_number(phase)]
    more += [
        f"{_limit(p.fills_after)} steps of `{p.name}`"
        for p in phases
        if p.fills_after and smallest(p.floor) < 1
    ]
    return more


def _visits(bound: Bound, phase: PhaseProgress) -> str:
    if phase.visits is not None:
        visits = phase.visits.span.text
    else:
        ways = [
            other.visits.span.text if other.visits is not None else "window_length"
            for other in bound.sources(phase)
        ]
        visits = " + ".join(dict.fromkeys([*ways, *(["1"] if bound.begins(phase) else [])]))
    steps = f" * {_limit(phase.idle_steps)}" if isinstance(phase.idle_steps, StepLimit) else ""
    return visits + steps


def reasons(progress: Progress) -> dict[str, str]:
    """Why each phase ends, by its name."""
    return {phase.name: _reason(phase) for phase in progress.phases}


def _reason(phase: PhaseProgress) -> str:
    floor = phase.floor.identifier.text if isinstance(phase.floor, syntax.Parameter) else phase.floor
    if smallest(phase.floor) >= 1:
        most = "all masked positions" if floor == ALL else f"at least {floor} of the masked positions"
        fewer = "" if floor in (1, ALL) else " (all of them, if fewer are left)"
        return f"every step commits {most} of its window{fewer}"
    if phase.fills_after is not None:
        return f"step {_limit(phase.fills_after)} of a window fills it"
    if phase.slow_until is not None:
        return f"from step {_limit(phase.slow_until)} of a window on, every step commits something"
    one = phase.idle_steps == 1
    after = "a step that commits nothing" if one else f"{_limit(phase.idle_steps)} steps"
    if not one and phase.steps is None:
        after += ", in the first step that commits nothing"
    visits = ""
    if phase.visits is not None:
        visits = f"; it is entered at most {phase.visits.span.text} times a window"
    return f"it is left after {after}{visits}"


def _limit(limit: StepLimit | int | None) -> str:
    if not isinstance(limit, StepLimit):
        return str(limit or 1)
    more = f" {'+' if limit.more > 0 else '-'} {abs(limit.more)}" if limit.more else ""
    return limit.most.span.text + more
