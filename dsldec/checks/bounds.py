"""How many forwards can decoding take at most: as a number for given lengths and parameters, and as a
formula.

In a window of W positions every step commits something, except the idle steps: those of a phase that is left
when it commits nothing, at most so many a visit. A phase is entered at most as often as its bound on visits
says, or as the phases that lead to it are left. A step limit that fills the window bounds all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..language import syntax
from ..language.words import WINDOWS
from .budgets import finite, has_step_limit
from .entailment import StepLimit, is_word
from .floors import ALL, smallest
from .phases import entered
from .progress import PhaseProgress, Progress
from .resolved import Resolved, bodies, expressions, statements, walk
from .values import Value, constant_value, int_of, whole

# The argument that sizes a window.
SIZES = {word.name: slot.name for word in WINDOWS.values() for slot in word.slots if slot.static}


def block_length(size: int | str | None, gen_length: int, parameters: Mapping[str, Value]) -> int:
    """Positions of a full window."""
    length = int_of(size, parameters)
    return gen_length if length is None else min(length, gen_length)


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound on forwards of a policy whose window has a shape."""

    found: Resolved
    progress: Progress
    window: syntax.Expression
    _ways: dict[str, set[str]] = field(default_factory=dict, compare=False)

    @property
    def shape(self) -> str:
        return self.window.function.text if isinstance(self.window, syntax.Call) else "all"

    @property
    def size(self) -> int | str | None:
        """The number, or the parameter's name, that sizes the window; `None` for everything that is
        generated.
        """
        return self.given(SIZES.get(self.shape, ""))

    def given(self, name: str) -> int | str | None:
        """What a window's shape is given under a name."""
        if not isinstance(self.window, syntax.Call):
            return None
        values = [k.value for k in self.window.keywords if k.identifier.text == name]
        values += self.window.arguments[:1] if name == "n" else []
        value = values[0] if values else None
        if isinstance(value, syntax.Number):
            return int(value.value)
        return value.identifier if isinstance(value, syntax.Name) else None

    @property
    def takes_back(self) -> bool:
        return any(isinstance(s, syntax.Revoke) for s in statements(self.found.policy))

    # --- the number

    def forwards(self, gen_length: int, parameters: Mapping[str, Value], given_inside: bool = False) -> int:
        """The most forwards that decoding `gen_length` positions can take under these parameter values.

        `given_inside`: text is given at some of them, so that a window may have fewer positions to write than
        its length.
        """
        length = block_length(self.size, gen_length, parameters)
        if not length:
            return 0
        if self.shape == "sliding":  # one window until everything is written
            return self._of_window(gen_length, gen_length, parameters, self._lengths(length))
        if self.shape == "until":
            more = max(self._more(n, gen_length, parameters) for n in self._lengths(length))
            shortest = int_of(self.given("min"), parameters) or 1
            return gen_length + more * -(-gen_length // max(1, min(shortest, length)))
        full, rest = divmod(gen_length, length)
        return sum(
            count * self._of_window(n, gen_length, parameters, self._lengths(n) if given_inside else (n,))
            for count, n in ((full, length), (1, rest))
            if n
        )

    def _lengths(self, length: int) -> Sequence[int]:
        """Lengths that a window may have on its way: only a bound that speaks of them can be larger for a
        smaller one.
        """
        spoken_of = any(
            is_word(part, "window_length", self.found.inlinable)
            for outer in self._bounds()
            for part in walk(outer)
        )
        return range(1, length + 1) if spoken_of else (length,)

    def _bounds(self) -> Iterator[syntax.Expression]:
        """The expressions that the bound is made of, names looked through."""
        for statement in statements(self.found.policy):
            yield from () if isinstance(statement, syntax.FunctionDeclaration) else expressions(statement)
        for phase in self.found.policy.phases:
            yield from expressions(phase)

    def _counted(
        self, length: int, gen_length: int, parameters: Mapping[str, Value], lengths: Sequence[int]
    ) -> _Counted:
        return _Counted(
            self, length, {**parameters, "window_length": length, "generation_length": gen_length}, lengths
        )

    def _of_window(
        self, length: int, gen_length: int, parameters: Mapping[str, Value], lengths: Sequence[int]
    ) -> int:
        """Forwards of one window of a known length."""
        counted = self._counted(length, gen_length, parameters, lengths)
        floors = [self._floor(phase, length, parameters) for phase in self.progress.phases]
        one_each = min(floors) < 1 or self.takes_back or self.shape == "sliding"
        total = (length if one_each else -(-length // min(floors))) + counted.more()
        limit = counted.last_step()
        if limit is None:
            return total
        limit += length if self.shape == "sliding" else 0  # there a filled window moves on
        return limit if self.takes_back else min(limit, total)

    def _more(self, length: int, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """Forwards of a window of at most this length beyond one a position."""
        counted = self._counted(length, gen_length, parameters, (length,))
        limit = counted.last_step()
        if limit is None:
            return counted.more()
        return limit if self.takes_back else min(limit, counted.more())

    def _floor(self, phase: PhaseProgress, length: int, parameters: Mapping[str, Value]) -> int:
        if isinstance(phase.floor, syntax.Parameter):
            return int_of(phase.floor.identifier.text, parameters) or 0
        return length if phase.floor == ALL else phase.floor

    # --- the words

    def formula(self) -> str:
        """The bound in words."""
        stays = dict.fromkeys(
            s.count.span.text for s in statements(self.found.policy) if isinstance(s, syntax.Stay)
        )
        return self._formula() + (
            f", and {' or '.join(stays)} steps in which a full window stays" if stays else ""
        )

    def _formula(self) -> str:
        limits = [phase.fills_after for phase in self.progress.phases]
        if all(limits):
            texts = dict.fromkeys(_limit_text(limit) for limit in limits if limit is not None)
            return f"{' or '.join(texts)} a window" + (
                ", or gen_length if that is less" if not self.takes_back else ""
            )
        idle = [phase for phase in self.progress.phases if phase.may_idle]
        more = [f"{self._visits_text(phase)} idle steps of `{phase.name}`" for phase in idle]
        more += [
            f"what `{phase.name}` masks again"
            for phase in self.progress.phases
            if self._numbered_revokes(phase)
        ]
        more += [
            f"{_limit_text(p.fills_after)} steps of `{p.name}`"
            for p in self.progress.phases
            if p.fills_after and smallest(p.floor) < 1
        ]
        if more:
            return f"gen_length, and in each window {' and '.join(more)}"
        floors = [phase.floor for phase in self.progress.phases]
        lowest = min(floors, key=smallest)
        if self.takes_back or lowest == 1 or self.shape in ("sliding", "until"):
            return "gen_length"
        floor = lowest.identifier.text if isinstance(lowest, syntax.Parameter) else lowest
        if floor == ALL:
            return "1" if self.size is None else "number of blocks"
        return (
            f"ceil(gen_length / {floor})"
            if self.size is None
            else f"sum over blocks of ceil(length / {floor}), blocks of {self.size}"
        )

    def _numbered_revokes(self, phase: PhaseProgress) -> bool:
        body = next(body for body in bodies(self.found.policy) if body.name == phase.name)
        return any(
            isinstance(s, syntax.Revoke) and finite(s, phase.name, self.found) for s in body.statements
        )

    def _visits_text(self, phase: PhaseProgress) -> str:
        if phase.visits is not None:
            visits = phase.visits.span.text
        else:
            ways = [
                other.visits.span.text if other.visits is not None else "window_length"
                for other in self.sources(phase)
            ]
            visits = " + ".join(dict.fromkeys([*ways, *(["1"] if self.begins(phase) else [])]))
        return visits + (
            f" * {_limit_text(phase.idle_steps)}" if isinstance(phase.idle_steps, StepLimit) else ""
        )

    def sources(self, phase: PhaseProgress) -> list[PhaseProgress]:
        """The phases with a bound of their own from which a row may come to this one, through phases without.

        These make no circle, so that each visit of a source leads to at most one of this phase.
        """
        through = self._passed(phase)
        return [
            p
            for p in self.progress.phases
            if p.name not in through and any(target in through for target in p.leads_to)
        ]

    def begins(self, phase: PhaseProgress) -> bool:
        """Whether a window's first step may lead to this phase, through phases without a bound of their own."""
        first = self.progress.phases[0].name
        return any(name in self._passed(phase) for name in (first, *entered(first, self.found.phases)))

    def _passed(self, phase: PhaseProgress) -> set[str]:
        """This phase and those without a bound of their own that lead to it."""
        if phase.name not in self._ways:
            self._ways[phase.name] = self._counted_ways(phase)
        return self._ways[phase.name]

    def _counted_ways(self, phase: PhaseProgress) -> set[str]:
        passed, waiting = {phase.name}, [phase.name]
        while waiting:
            target = waiting.pop()
            before = [
                p.name
                for p in self.progress.phases
                if p.may_idle and p.visits is None and target in p.leads_to
            ]
            waiting += [name for name in before if name not in passed]
            passed |= set(before)
        return passed

    def reasons(self) -> dict[str, str]:
        """Why each phase comes to an end."""
        return {phase.name: self._reason(phase) for phase in self.progress.phases}

    def _reason(self, phase: PhaseProgress) -> str:
        floor = phase.floor.identifier.text if isinstance(phase.floor, syntax.Parameter) else phase.floor
        if smallest(phase.floor) >= 1:
            most = "all masked positions" if floor == ALL else f"at least {floor} of the masked positions"
            return f"every step commits {most} of its window" + (
                "" if floor in (1, ALL) else " (all of them, if fewer are left)"
            )
        if phase.fills_after is not None:
            return f"step {_limit_text(phase.fills_after)} of a window fills it"
        if phase.slow_until is not None:
            return f"from step {_limit_text(phase.slow_until)} of a window on, every step commits something"
        after = (
            "a step that commits nothing"
            if phase.idle_steps == 1
            else f"{_limit_text(phase.idle_steps)} steps"
        )
        visits = (
            f"; it is entered at most {phase.visits.span.text} times a window"
            if phase.visits is not None
            else ""
        )
        return f"it is left after {after}{visits}"


def _limit_text(limit: StepLimit | int | None) -> str:
    if not isinstance(limit, StepLimit):
        return str(limit or 1)
    more = f" {'+' if limit.more > 0 else '-'} {abs(limit.more)}" if limit.more else ""
    return limit.most.span.text + more


@dataclass(slots=True)
class _Counted:
    """Visits and idle steps in one window of `length` positions, with all values known."""

    bound: Bound
    length: int
    known: Mapping[str, Value]
    lengths: Sequence[int]
    _mosts: dict[syntax.Expression, int] = field(default_factory=dict)
    _visits: dict[str, int] = field(default_factory=dict)

    def more(self) -> int:
        """Steps besides those that write what the window began with."""
        return self.stays + sum(
            self.idle(phase) + self.taken_back(phase) for phase in self.bound.progress.phases
        )

    def last_step(self) -> int | None:
        """The number of the step after which no window goes on, where every phase has a step limit."""
        if not has_step_limit(self.bound.found):
            return None
        ends = [phase.fills_after for phase in self.bound.progress.phases if phase.fills_after is not None]
        return max(map(self.limit, ends)) + self.stays

    @property
    def stays(self) -> int:
        """How often a full window is kept."""
        counts = [s.count for s in statements(self.bound.found.policy) if isinstance(s, syntax.Stay)]
        return max([0, *map(self.most, counts)])

    @property
    def steps(self) -> int:
        """Steps that are not idle: that commit something, of what is masked or masked again, or in which a
        full window stays.
        """
        return self.length + self.stays + sum(self.taken_back(phase) for phase in self.bound.progress.phases)

    def limit(self, limit: StepLimit) -> int:
        return max(1, self.most(limit.most) + limit.more)

    def most(self, expression: syntax.Expression) -> int:
        """What an expression can be at most, whatever length its window has when it is evaluated."""
        if expression not in self._mosts:
            through, values = (
                self.bound.found.inlinable,
                ({**self.known, "window_length": n} for n in self.lengths),
            )
            self._mosts[expression] = max(
                whole(constant_value(expression, through, known)) for known in values
            )
        return self._mosts[expression]

    def idle(self, phase: PhaseProgress) -> int:
        """Steps in a phase that may commit nothing."""
        if smallest(phase.floor) >= 1:
            return 0
        if (end := phase.fills_after or phase.slow_until) is not None:
            return self.limit(end)
        steps = self.limit(phase.idle_steps) if isinstance(phase.idle_steps, StepLimit) else 1
        return self.visits(phase) * steps

    def taken_back(self, phase: PhaseProgress) -> int:
        """Positions that a phase of a known number of steps may mask again: each may cost a step more."""
        body = next(body for body in bodies(self.bound.found.policy) if body.name == phase.name)
        counts = [
            s.at_most.count
            for s in body.statements
            if isinstance(s, syntax.Revoke) and s.at_most and finite(s, phase.name, self.bound.found)
        ]
        steps = self.limit(phase.steps) if isinstance(phase.steps, StepLimit) else phase.steps or 0
        values = [max(0, self.most(count)) for count in counts]
        return self.visits(phase) * steps * sum(values) if values else 0

    def visits(self, phase: PhaseProgress) -> int:
        """How often a phase can be entered."""
        if phase.name not in self._visits:
            self._visits[phase.name] = self._counted_visits(phase)
        return self._visits[phase.name]

    def _counted_visits(self, phase: PhaseProgress) -> int:
        if phase.visits is not None:
            return max(0, self.most(phase.visits))
        if smallest(phase.floor) >= 1:
            return self.steps
        if (end := phase.fills_after or phase.slow_until) is not None:
            return self.limit(end) + self.steps
        return sum(self.visits(source) for source in self.bound.sources(phase)) + self.bound.begins(phase)
