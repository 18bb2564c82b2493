"""Why does decoding end?

Each phase commits something in every step, or is left by a step that commits nothing, or fills its window
after some steps. What is sent round a circle of phases that may commit nothing must be held up by a bound on
visits. Not here: how many forwards that makes (`facts`), what a step may take back (`budgets`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeGuard

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import Kind
from .entailment import StepLimit, entailed_by_idle, inline_lets, is_word
from .floors import TOP_ARGUMENTS, Floor, Prover, smallest
from .phases import entered, targets
from .resolved import Body, Resolved, bodies, statements, walk
from .values import constant_value, defaults, known_limits

SCHEDULES = ("even", "linear", "cosine")


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """Why a phase comes to an end.

    `floor`: masks that each of its steps surely commits. `fills_after`: the window's step limit at which it
    fills it; `slow_until`: the one after which each of its steps surely commits something. `idle_steps`: how
    many steps that commit nothing it can make in a visit (a step limit of the phase, or 1: it is left when
    idle). `steps`: how many steps a visit has at most, where that is known. `visits`: the bound on how often
    it is entered in a window. `leads_to`: the phases that may be entered from it.
    """

    name: str
    floor: Floor
    fills_after: StepLimit | None
    slow_until: StepLimit | None
    idle_steps: StepLimit | int | None
    steps: StepLimit | int | None
    visits: syntax.Expression | None
    leads_to: tuple[str, ...]

    @property
    def may_idle(self) -> bool:
        """Whether a step of this phase can commit nothing, and no step of the window puts an end to that."""
        return smallest(self.floor) < 1 and self.fills_after is None and self.slow_until is None


@dataclass(frozen=True, slots=True)
class Progress:
    """Why a policy ends, phase by phase; the first phase comes first."""

    phases: tuple[PhaseProgress, ...]

    def __getitem__(self, name: str) -> PhaseProgress:
        return next(phase for phase in self.phases if phase.name == name)


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Fills `progress`; reports phases of which nothing shows that they end."""
    phases = [_of_body(body, found) for body in bodies(found.policy)]
    wrong = [
        _may_hang(body, found)
        for body, phase in zip(bodies(found.policy), phases, strict=True)
        if _unproved(phase)
    ]
    diagnostics = [diagnostic for diagnostic in wrong if diagnostic is not None]
    diagnostics += _visits_without_a_value(found)
    if not wrong and not diagnostics:
        diagnostics += _circles(found, phases)
    return (found if wrong or diagnostics else replace(found, progress=Progress(tuple(phases)))), diagnostics


def _of_body(body: Body, found: Resolved) -> PhaseProgress:
    phases = found.phases
    fills = [limit for s in _after_revokes(body) for limit in _fill_limits(s, found)]
    slow = [_slow_until(s, found) for s in body.statements]
    ways = [s for s in body.statements if isinstance(s, syntax.Next | syntax.Finish)]
    leaves_idle = any(entailed_by_idle(way.condition, found.inlinable) for way in ways)
    limits = [limit for way in ways for limit in known_limits(way.condition, found.policy, found.inlinable)]
    leaves_after = next((limit for limit in [*fills, *limits] if limit.counter == "steps_in_phase"), None)
    return PhaseProgress(
        name=body.name,
        floor=_floor(body, found),
        fills_after=next((limit for limit in fills if limit.counter == "steps_in_window"), None),
        slow_until=next((limit for limit in slow if limit is not None), None),
        idle_steps=1 if leaves_idle else leaves_after,
        steps=1 if any(way.condition is None for way in ways) else leaves_after,
        visits=body.phase.visits if body.phase is not None else None,
        leads_to=tuple(
            dict.fromkeys(
                name for target in dict.fromkeys(targets(body.statements)) for name in entered(target, phases)
            )
        ),
    )


def _after_revokes(body: Body) -> list[syntax.Statement]:
    """The statements after which nothing is masked again in the same step."""
    last = max((i for i, s in enumerate(body.statements) if isinstance(s, syntax.Revoke)), default=-1)
    return list(body.statements[last + 1 :])


def _fill_limits(statement: syntax.Statement, found: Resolved) -> list[StepLimit]:
    """The step at which a statement surely fills the window: `fill` at a step limit, or a schedule's last
    step.
    """
    if isinstance(statement, syntax.Fill):
        return known_limits(statement.condition, found.policy, found.inlinable)
    if not isinstance(statement, syntax.Commit) or statement.at_most is not None or statement.ids is not None:
        return []
    end = _schedule_end(statement.mask, found) or (
        _end(statement.at_least.count, found) if statement.at_least is not None else None
    )
    return [end] if end is not None else []


def _slow_until(statement: syntax.Statement, found: Resolved) -> StepLimit | None:
    """The step from which a statement surely commits something, because a schedule in it has ended."""
    if not isinstance(statement, syntax.Commit) or statement.ids is not None:
        return None
    if statement.at_most is not None and smallest(Prover(found).count(statement.at_most.count)) < 1:
        return None
    return _ends_in(statement.mask, found)


def _ends_in(mask: syntax.Expression, found: Resolved) -> StepLimit | None:
    mask = inline_lets(mask, found.inlinable)
    if isinstance(mask, syntax.Disjunction):
        return _ends_in(mask.left, found) or _ends_in(mask.right, found)
    if isinstance(mask, syntax.Alternative):
        return (
            _ends_in(mask.right, found)
            if Prover(found).only_masks(inline_lets(mask.left, found.inlinable))
            else None
        )
    return _schedule_end(mask, found)


def _schedule_end(mask: syntax.Expression, found: Resolved) -> StepLimit | None:
    """The step in which a schedule such as `top(masked, even(n), by=...)` selects all that is left."""
    choice = _choice(mask, found)
    return _end(choice, found) if choice is not None else None


def _end(count: syntax.Expression, found: Resolved) -> StepLimit | None:
    """The step from which a schedule counts all that is left."""
    schedule = _schedule(count, found)
    if (
        schedule is None
        or constant_value(schedule.arguments[0], found.inlinable, defaults(found.policy)) is None
    ):
        return None
    return StepLimit("steps_in_window", schedule.arguments[0], int(schedule.function.text == "even"))


def _choice(mask: syntax.Expression, found: Resolved) -> syntax.Expression | None:
    """The count of `top(masked, count, by=...)`, where it is asked of everything that is masked."""
    choice = inline_lets(mask, found.inlinable)
    if not _is_call(choice, ("top", "sample"), TOP_ARGUMENTS):
        return None
    named = {keyword.identifier.text: keyword.value for keyword in choice.keywords}
    drawn = choice.function.text == "top" or ("by" in named and Prover(found).positive(named["by"]))
    whole = (
        is_word(inline_lets(choice.arguments[0], found.inlinable), "masked", found.inlinable)
        and "each" not in named
        and drawn
    )
    return choice.arguments[1] if whole else None


def _schedule(count: syntax.Expression, found: Resolved) -> syntax.Call | None:
    """A count that is a schedule."""
    if any(
        isinstance(s, syntax.Window) and s.shape.span.text.startswith("sliding")
        for s in found.policy.statements
    ):
        return None  # a schedule is that of the masks a window began with
    count = inline_lets(count, found.inlinable)
    return count if _is_call(count, SCHEDULES, 1) else None


def _floor(body: Body, found: Resolved) -> Floor:
    """The floor of a phase's steps, that of a schedule included."""
    prover = Prover(found)
    floor = prover.read(body)
    if body.phase is not None or any(isinstance(s, syntax.Revoke) for s in body.statements):
        return floor
    # Shares fall from step to step and their sum is all masks: while one is left, this step's share is not 0,
    # as long as every step has written its share.
    direct = [
        s for s in body.statements if isinstance(s, syntax.Commit) and s.at_most is None and s.ids is None
    ]
    counts = [choice for s in direct if (choice := _choice(s.mask, found)) is not None]
    counts += [s.at_least.count for s in direct if s.at_least is not None]
    shares = [
        schedule
        for count in counts
        if (schedule := _schedule(count, found)) is not None and schedule.function.text == "even"
    ]
    even = any(smallest(prover.count(schedule.arguments[0])) >= 1 for schedule in shares)
    return max(floor, int(even), key=smallest)


def _unproved(phase: PhaseProgress) -> bool:
    return phase.may_idle and phase.idle_steps is None


def _visits_without_a_value(found: Resolved) -> list[Diagnostic]:
    wrong = []
    for stay in (s for s in statements(found.policy) if isinstance(s, syntax.Stay)):
        if (
            found.type_of(stay.count).kind is not Kind.UNKNOWN
            and constant_value(stay.count, found.inlinable, defaults(found.policy)) is None
        ):
            help_ = "use only numbers, parameters, `window_length` and `generation_length`"
            wrong.append(
                Diagnostic(
                    "E0307",
                    "how often a window stays must be known before decoding starts",
                    stay.count.span,
                    help=help_,
                )
            )
    for phase in found.policy.phases:
        type_ = found.types.get(phase.visits) if phase.visits is not None else None
        if phase.visits is None or type_ is None or type_.kind is Kind.UNKNOWN:
            continue
        if constant_value(phase.visits, found.inlinable, defaults(found.policy)) is None:
            help_ = "use only numbers, parameters, `window_length` and `generation_length`"
            wrong.append(
                Diagnostic(
                    "E0307",
                    "a bound on visits must be known before decoding starts",
                    phase.visits.span,
                    help=help_,
                )
            )
    return wrong


def _circles(found: Resolved, phases: Iterable[PhaseProgress]) -> list[Diagnostic]:
    """Circles of phases that may idle, none of which has a bound on visits."""
    idle = {phase.name: phase for phase in phases if phase.may_idle and phase.visits is None}
    circle = _circle({name: [t for t in phase.leads_to if t in idle] for name, phase in idle.items()})
    if circle is None:
        return []
    way = " to ".join(f"`{name}`" for name in (*circle, circle[0]))
    message = f"a row may loop from {way} without committing anything"
    ways_out = [name for name in found.phases if not set(entered(name, found.phases)) & set(circle)]
    help_ = "let one of them commit something in every step: `at least 1 by conf`"
    if ways_out:
        help_ = f"bound one of them: `phase {circle[0]} at most 8 visits else {ways_out[-1]}:`"
    return [Diagnostic("E0301", message, found.phases[circle[0]].identifier.span, help=help_)]


def _circle(edges: Mapping[str, list[str]]) -> list[str] | None:
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return None
        for target in edges[name]:
            if (found := walk(target, [*way, name])) is not None:
                return found
        done.add(name)
        return None

    return next((circle for name in edges if (circle := walk(name, [])) is not None), None)


# --- saying so ----------------------------------------------------------------------------------------------------


def _may_hang(body: Body, found: Resolved) -> Diagnostic | None:
    commits = [s for s in body.statements if isinstance(s, syntax.Commit)]
    if not commits:
        return _commits_nothing(body, found)
    if any(
        commit.mask not in found.types or found.types[commit.mask].kind is not Kind.MASK for commit in commits
    ):
        return None  # reported already as something that is no mask
    what = f"the phase `{body.name}`" if body.name else "this policy"
    message = f"a step of {what} can commit nothing, so decoding may never end"
    return _of_commit(commits[-1], message, found, body)


def _commits_nothing(body: Body, found: Resolved) -> Diagnostic:
    leaves = any(isinstance(s, syntax.Next) for s in body.statements)
    if body.phase is None:
        span = body.statements[-1].span if body.statements else found.policy.identifier.span
        at = (
            found.policy.identifier.span
            if not any(isinstance(s, syntax.Fill) for s in body.statements)
            else span
        )
        help_ = "add a line: `commit top(masked, 1, by=conf)`"
        return Diagnostic("E0301", "this policy commits nothing, so decoding never ends", at, help=help_)
    message = f"the phase `{body.name}` commits nothing and may never be left"
    help_ = (
        "leave it by `next PHASE`, or commit something in every step"
        if not leaves
        else "add `idle or` to the condition of a `next`"
    )
    return Diagnostic("E0301", message, body.phase.identifier.span, help=help_)


def _of_commit(commit: syntax.Commit, message: str, found: Resolved, body: Body) -> Diagnostic:
    prover = Prover(found)
    prover.read(body)
    counts = [bound.count for bound in (commit.at_least, commit.at_most) if bound is not None]
    counts += [
        call.arguments[1] for call in walk(commit.mask) if _is_call(call, ("top", "sample"), TOP_ARGUMENTS)
    ]
    counts += [call.arguments[0] for call in walk(commit.mask) if _is_call(call, SCHEDULES, 1)]
    for count in counts:
        floor = prover.count(count)
        if isinstance(floor, syntax.Parameter) and smallest(floor) < 1:
            name, default = floor.identifier.text, max(1, int(floor.default.value))
            help_ = f"give the parameter a range: `{name}: int = {default} in 1..65536`"
            return Diagnostic("E0301", message, commit.span, f"`{name}` may be 0", help_)
        if isinstance(count, syntax.Number) and floor == 0:
            return Diagnostic("E0301", message, commit.span, "a count here is 0", "write 1 or more")
    if commit.ids is not None:
        help_ = "add a line that always writes: `commit top(masked, 1, by=conf)`"
        return Diagnostic(
            "E0301",
            message,
            commit.span,
            f"`{commit.ids.span.text}` may be MASK, which is not written",
            help_,
        )
    if (
        commit.at_most is not None
        and smallest(prover.count(commit.at_most.count)) < 1
        and commit.at_least is not None
    ):
        text = commit.at_most.count.span.text
        return Diagnostic(
            "E0301", message, commit.span, f"`{text}` may be 0", f"write `at most max(1, {text})`"
        )
    unsure = commit.mask
    while isinstance(unsure, syntax.Conjunction):
        unsure = unsure.left if prover.floor(unsure.left) == 0 else unsure.right
    return Diagnostic(
        "E0301",
        message,
        commit.span,
        f"no position is sure to pass `{unsure.span.text}`",
        _help(commit, body),
    )


def _is_call(expression: syntax.Expression, words: Sequence[str], arguments: int) -> TypeGuard[syntax.Call]:
    return (
        isinstance(expression, syntax.Call)
        and expression.function.text in words
        and len(expression.arguments) == arguments
    )


def _help(commit: syntax.Commit, body: Body) -> str:
    help_ = "add `at least 1 by conf`: the best position is then always committed"
    if any(isinstance(s, syntax.Fill) for s in body.statements):
        help_ += "; or fill the window after some steps: `fill when steps_in_window + 1 >= n`"
    if commit.at_most is not None and commit.at_least is None:
        help_ = f"write `at least 1 by conf` before `{commit.at_most.span.text}`: the best position is then always committed"
    elif commit.at_least is not None:
        help_ = "write `at least 1 by ...`: a plain number, or a parameter whose range begins at 1"
    way = next((s for s in body.statements if isinstance(s, syntax.Next) and s.condition is not None), None)
    if way is not None and way.condition is not None:
        help_ += f"; or leave the phase then: `next {way.phase.text} when idle or {way.condition.span.text}`"
    return help_
