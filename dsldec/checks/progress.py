"""Why does decoding end?

Each phase commits something in every step, or is left by a step that commits nothing, or fills its window after some steps.
What is sent round a circle of phases that may commit nothing must be held up by a bound on visits.
Not here: how many forwards that makes (`facts`), what a step may take back (`budgets`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import Kind
from .floors import TOP_ARGUMENTS, Floor, Prover, keeps_schedules, smallest
from .found import Body, Found, bodies
from .implied import StepLimit, follows_from_idle, is_word, plain
from .phases import entered, targets
from .values import defaults, known_limit, worth


@dataclass(frozen=True, slots=True)
class PhaseProgress:
    """Why a phase comes to an end.

    `floor`: masks that each of its steps surely commits. `fills_after`: the window's step limit at which it fills it.
    `idle_steps`: how many steps that commit nothing it can make in a visit (a step limit of the phase, or 1: it is left when
    idle). `visits`: the bound on how often it is entered in a window. `leads_to`: the phases that
    may be entered from it.
    """

    name: str
    floor: Floor
    fills_after: StepLimit | None
    idle_steps: StepLimit | int | None
    visits: syntax.Expression | None
    leads_to: tuple[str, ...]

    @property
    def may_idle(self) -> bool:
        """Whether a step of this phase can commit nothing without filling the window at a limit."""
        return smallest(self.floor) < 1 and self.fills_after is None


@dataclass(frozen=True, slots=True)
class Progress:
    """Why a policy ends, phase by phase; the first phase comes first."""

    phases: tuple[PhaseProgress, ...]

    def __getitem__(self, name: str) -> PhaseProgress:
        return next(phase for phase in self.phases if phase.name == name)


def check(found: Found) -> tuple[Found, list[Diagnostic]]:
    """Fills `progress`; reports phases of which nothing shows that they end."""
    phases = [_of_body(body, found) for body in bodies(found.policy)]
    wrong = [_may_hang(body, found) for body, phase in zip(bodies(found.policy), phases, strict=True) if _unproved(phase)]
    diagnostics = [diagnostic for diagnostic in wrong if diagnostic is not None]
    diagnostics += _visits_without_a_value(found)
    if not wrong and not diagnostics:
        diagnostics += _circles(found, phases)
    return (found if wrong or diagnostics else replace(found, progress=Progress(tuple(phases)))), diagnostics


def _of_body(body: Body, found: Found) -> PhaseProgress:
    fills = [_fill_limit(s, found) for s in body.statements]
    ways = [s for s in body.statements if isinstance(s, syntax.Next | syntax.Finish)]
    leaves_idle = any(follows_from_idle(way.condition, found.meanings) for way in ways)
    limits = [known_limit(way.condition, found.policy, found.meanings) for way in ways]
    leaves_after = next((limit for limit in [*fills, *limits] if limit is not None and limit.counter == "steps_in_phase"), None)
    return PhaseProgress(
        name=body.name,
        floor=Prover(found).read(body),
        fills_after=next((limit for limit in fills if limit is not None and limit.counter == "steps_in_window"), None),
        idle_steps=1 if leaves_idle else leaves_after,
        visits=body.phase.visits if body.phase is not None else None,
        leads_to=tuple(dict.fromkeys(name for target in targets(body.statements) for name in entered(target, found.phases))),
    )


def _fill_limit(statement: syntax.Statement, found: Found) -> StepLimit | None:
    """The step at which a statement surely fills the window: `fill` at a step limit, or a schedule's last step."""
    if isinstance(statement, syntax.Fill):
        return known_limit(statement.condition, found.policy, found.meanings)
    if not isinstance(statement, syntax.Commit) or statement.at_most is not None or statement.ids is not None:
        return None
    mask = plain(statement.mask, found.meanings)
    if not isinstance(mask, syntax.Call) or mask.function.text != "top" or len(mask.arguments) != TOP_ARGUMENTS:
        return None
    source, count = (plain(argument, found.meanings) for argument in mask.arguments)
    scheduled = isinstance(count, syntax.Call) and count.function.text in ("linear", "cosine") and len(count.arguments) == 1
    everything = is_word(source, "masked", found.meanings) and not any(k.identifier.text == "each" for k in mask.keywords)
    if scheduled and everything and keeps_schedules(found.policy):
        assert isinstance(count, syntax.Call)
        if worth(count.arguments[0], found.meanings, defaults(found.policy)) is None:
            return None
        return StepLimit("steps_in_window", count.arguments[0], 0)
    return None


def _unproved(phase: PhaseProgress) -> bool:
    return phase.may_idle and phase.idle_steps is None


def _visits_without_a_value(found: Found) -> list[Diagnostic]:
    wrong = []
    for phase in found.policy.phases:
        type_ = found.types.get(phase.visits) if phase.visits is not None else None
        if phase.visits is None or type_ is None or type_.kind is Kind.UNKNOWN:
            continue
        if worth(phase.visits, found.meanings, defaults(found.policy)) is None:
            help_ = "make it of numbers, parameters, `window_length` and `generation_length`"
            wrong.append(Diagnostic("E0307", "a bound on visits must be known before anything runs", phase.visits.span, help=help_))
    return wrong


def _circles(found: Found, phases: Iterable[PhaseProgress]) -> list[Diagnostic]:
    """Circles of phases that may idle, none of which has a bound on visits."""
    idle = {phase.name: phase for phase in phases if phase.may_idle and phase.visits is None}
    circle = _circle({name: [t for t in phase.leads_to if t in idle] for name, phase in idle.items()})
    if circle is None:
        return []
    way = " to ".join(f"`{name}`" for name in (*circle, circle[0]))
    message = f"a row may go round from {way} without ever committing anything"
    others = [name for name in found.phases if name not in circle] or ["PHASE"]
    help_ = f"bound one of them: `phase {circle[0]} at most 8 visits else {others[0]}:`"
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


def _may_hang(body: Body, found: Found) -> Diagnostic | None:
    commits = [s for s in body.statements if isinstance(s, syntax.Commit)]
    if not commits:
        return _commits_nothing(body, found)
    if any(commit.mask not in found.types or found.types[commit.mask].kind is not Kind.MASK for commit in commits):
        return None  # reported already as something that is no mask
    what = f"the phase `{body.name}`" if body.name else "this policy"
    message = f"a step of {what} can commit nothing, so decoding may never end"
    return _of_commit(commits[-1], message, found, body)


def _commits_nothing(body: Body, found: Found) -> Diagnostic:
    leaves = any(isinstance(s, syntax.Next) for s in body.statements)
    if body.phase is None:
        span = body.statements[-1].span if body.statements else found.policy.identifier.span
        at = found.policy.identifier.span if not any(isinstance(s, syntax.Fill) for s in body.statements) else span
        help_ = "add a line: `commit top(masked, 1, by=conf)`"
        return Diagnostic("E0301", "this policy commits nothing, so decoding never ends", at, help=help_)
    message = f"the phase `{body.name}` commits nothing and may never be left"
    help_ = "leave it by `next PHASE`, or commit something in every step" if not leaves else "add `idle or` to the condition of a `next`"
    return Diagnostic("E0301", message, body.phase.identifier.span, help=help_)


def _of_commit(commit: syntax.Commit, message: str, found: Found, body: Body) -> Diagnostic:
    prover = Prover(found)
    prover.read(body)
    counts = [bound.count for bound in (commit.at_least, commit.at_most) if bound is not None]
    if isinstance(commit.mask, syntax.Call) and commit.mask.function.text == "top":
        counts += commit.mask.arguments[1:2]
    for count in counts:
        floor = prover.count(count)
        if isinstance(floor, syntax.Parameter) and smallest(floor) < 1:
            name, default = floor.identifier.text, max(1, int(floor.default.value))
            help_ = f"give the parameter a range: `{name}: int = {default} in 1..65536`"
            return Diagnostic("E0301", message, commit.span, f"`{name}` may be 0", help_)
        if isinstance(count, syntax.Number) and floor == 0:
            return Diagnostic("E0301", message, commit.span, "a count here is 0", "write 1 or more")
    if commit.ids is not None:
        help_ = "add a line that surely writes: `commit top(masked, 1, by=conf)`"
        return Diagnostic("E0301", message, commit.span, f"`{commit.ids.span.text}` may be MASK, which is not written", help_)
    unsure = commit.mask
    while isinstance(unsure, syntax.Conjunction):
        unsure = unsure.left if prover.floor(unsure.left) == 0 else unsure.right
    return Diagnostic("E0301", message, commit.span, f"no position is sure to pass `{unsure.span.text}`", _help(commit, body))


def _help(commit: syntax.Commit, body: Body) -> str:
    help_ = "add `at least 1 by conf`: the best position is then always committed"
    if commit.at_most is not None and commit.at_least is None:
        help_ = f"write `at least 1 by conf` before `{commit.at_most.span.text}`: the best position is then always committed"
    elif commit.at_least is not None:
        help_ = "write `at least 1 by ...`: a plain number, or a parameter whose range begins at 1"
    way = next((s for s in body.statements if isinstance(s, syntax.Next) and s.condition is not None), None)
    if way is not None and way.condition is not None:
        help_ += f"; or leave the phase then: `next {way.phase.text} when idle or {way.condition.span.text}`"
    return help_
