"""Why does decoding end?

For each phase there is a proof: every step commits something, or a step that commits nothing leaves the
phase, or the phase fills its window after some steps. In a circle of phases that may commit nothing, one
phase must have a bound on visits. Not here: the number of forwards (`bounds`), the budget of `revoke`
(`budgets`), the diagnostic of a phase that may never end (`may_hang`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import Body, bodies, statements
from ..language.words import Kind
from . import may_hang
from .entailment import StepLimit
from .floor_values import Floor, smallest
from .floors import Prover
from .idle_exits import idle_steps
from .phases import entered, targets
from .resolved import Resolved
from .schedules import count_of_choice, fill_limits, schedule, slow_until
from .values import constant_value, defaults, known_limits


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """The proof that a phase ends.

    `floor`: the least number of masked positions that each of its steps commits. `fills_after`: the step
    limit of the window at which the phase fills it. `slow_until`: the step limit of the window after which
    each of its steps commits something. `idle_steps`: the largest number of steps of a visit that commit
    nothing: a step limit of the phase, or 1 if an idle step leaves the phase. `steps`: the largest number of
    steps of a visit; `None` if it is unknown. `visits`: the bound on its visits in a window. `leads_to`: the
    phases that a row may enter from it.
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
        """Whether a step of this phase can commit nothing at any step of the window."""
        return smallest(self.floor) < 1 and self.fills_after is None and self.slow_until is None


@dataclass(frozen=True, slots=True)
class Progress:
    """The proofs that a policy ends, one for each phase in their order; empty if nothing is proved."""

    phases: tuple[PhaseProgress, ...]

    def __getitem__(self, name: str) -> PhaseProgress:
        return next(phase for phase in self.phases if phase.name == name)

    @property
    def has_step_limit(self) -> bool:
        """Whether every phase fills its window at a step limit of the window, and leaves it full."""
        return bool(self.phases) and all(phase.fills_after is not None for phase in self.phases)

    def finite(self, revoke: syntax.Revoke, name: str, resolved: Resolved) -> bool:
        """Whether a `revoke` of a phase masks a limited number of positions again, and the limit is known
        before the run.

        For this, the visits of the phase, the steps of a visit and the budget must be known.
        """
        phase = next((phase for phase in self.phases if phase.name == name), None)
        if phase is None or phase.visits is None or phase.steps is None or revoke.at_most is None:
            return False
        count = revoke.at_most.count
        return constant_value(count, resolved.inlinable, defaults(resolved.policy)) is not None


UNPROVED = Progress(())


def prove(resolved: Resolved) -> tuple[Progress, list[Diagnostic]]:
    """The proofs that the policy ends; `UNPROVED` and diagnostics if a phase has no proof."""
    phases = [_of_body(body, resolved) for body in bodies(resolved.policy)]
    unproved = [
        body
        for body, phase in zip(bodies(resolved.policy), phases, strict=True)
        if phase.may_idle and phase.idle_steps is None
    ]
    wrong = [d for body in unproved if (d := may_hang.diagnose(body, resolved)) is not None]
    wrong += _unknown_bounds(resolved)
    if not unproved and not wrong:
        wrong += _circles(resolved, phases)
    return (UNPROVED if unproved or wrong else Progress(tuple(phases))), wrong


def _of_body(body: Body, resolved: Resolved) -> PhaseProgress:
    fills = [limit for s in _after_revokes(body) for limit in fill_limits(s, resolved)]
    slow = [slow_until(s, resolved) for s in body.statements]
    ways = [s for s in body.statements if isinstance(s, syntax.Next | syntax.Finish)]
    idle = idle_steps([way.condition for way in ways], resolved) if ways else None
    limits = [
        limit for way in ways for limit in known_limits(way.condition, resolved.policy, resolved.inlinable)
    ]
    leaves_after = next((limit for limit in [*fills, *limits] if limit.counter == "steps_in_phase"), None)
    return PhaseProgress(
        name=body.name,
        floor=_floor(body, resolved),
        fills_after=next((limit for limit in fills if limit.counter == "steps_in_window"), None),
        slow_until=next((limit for limit in slow if limit is not None), None),
        idle_steps=1 if idle == 1 else leaves_after or idle,
        steps=1 if any(way.condition is None for way in ways) else leaves_after,
        visits=body.phase.visits if body.phase is not None else None,
        leads_to=_leads_to(body, resolved),
    )


def _leads_to(body: Body, resolved: Resolved) -> tuple[str, ...]:
    phases = resolved.phases
    named = dict.fromkeys(targets(body.statements))
    return tuple(dict.fromkeys(name for target in named for name in entered(target, phases)))


def _after_revokes(body: Body) -> list[syntax.Statement]:
    """The statements after the last `revoke`. Positions that they write stay written in this step."""
    last = max((i for i, s in enumerate(body.statements) if isinstance(s, syntax.Revoke)), default=-1)
    return list(body.statements[last + 1 :])


def _floor(body: Body, resolved: Resolved) -> Floor:
    """The floor of the steps of a phase, including the floor of a schedule."""
    prover = Prover(resolved)
    floor = prover.floor_of_body(body)
    if body.phase is not None or any(isinstance(s, syntax.Revoke) for s in body.statements):
        return floor
    # The shares of `even` never grow from step to step, and their sum is the number of all masked positions.
    # If every step has written its share and a masked position is left, then the share of this step is not 0.
    direct = [
        s for s in body.statements if isinstance(s, syntax.Commit) and s.at_most is None and s.ids is None
    ]
    counts = [count for s in direct if (count := count_of_choice(s.mask, resolved)) is not None]
    counts += [s.at_least.count for s in direct if s.at_least is not None]
    schedules = [call for count in counts if (call := schedule(count, resolved)) is not None]
    even = any(
        smallest(prover.count(call.arguments[0])) >= 1 for call in schedules if call.function.text == "even"
    )
    return max(floor, int(even), key=smallest)


def _unknown_bounds(resolved: Resolved) -> list[Diagnostic]:
    """Reports bounds on stays and visits that are not known before the run."""
    stays = [s.count for s in statements(resolved.policy) if isinstance(s, syntax.Stay)]
    visits = [phase.visits for phase in resolved.policy.phases if phase.visits is not None]
    known = defaults(resolved.policy)

    def is_unknown(bound: syntax.Expression) -> bool:
        reported = resolved.type_of(bound).kind is Kind.UNKNOWN
        return not reported and constant_value(bound, resolved.inlinable, known) is None

    help_ = "use only numbers, parameters, `window_length` and `generation_length`"
    messages = (
        (stays, "how often a window stays must be known before decoding starts"),
        (visits, "a bound on visits must be known before decoding starts"),
    )
    return [
        Diagnostic("E0307", message, bound.span, help=help_)
        for bounds, message in messages
        for bound in bounds
        if is_unknown(bound)
    ]


def _circles(resolved: Resolved, phases: Iterable[PhaseProgress]) -> list[Diagnostic]:
    """Reports a circle of phases that may idle, of which none has a bound on visits."""
    idle = {phase.name: phase for phase in phases if phase.may_idle and phase.visits is None}
    circle = _circle({name: [t for t in phase.leads_to if t in idle] for name, phase in idle.items()})
    if circle is None:
        return []
    way = " to ".join(f"`{name}`" for name in (*circle, circle[0]))
    message = f"a row may loop from {way} without committing anything"
    all_phases = resolved.phases
    ways_out = [name for name in all_phases if not set(entered(name, all_phases)) & set(circle)]
    help_ = "let one of them commit something in every step: `at least 1 by conf`"
    if ways_out:
        help_ = f"bound one of them: `phase {circle[0]} at most 8 visits else {ways_out[-1]}:`"
    return [Diagnostic("E0301", message, all_phases[circle[0]].identifier.span, help=help_)]


def _circle(edges: Mapping[str, list[str]]) -> list[str] | None:
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str] | None:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return None
        for target in edges[name]:
            if (circle := walk(target, [*way, name])) is not None:
                return circle
        done.add(name)
        return None

    return next((circle for name in edges if (circle := walk(name, [])) is not None), None)
