"""How many forwards can decoding take at most, for given lengths and parameter values?

In a window of W positions, every step commits something, except idle steps. Idle steps occur only in a phase
that a row leaves after a limited number of them, so each visit has a limited number. The number of visits to
a phase is at most its bound on visits, or the number of visits to the phases that lead to it. A step limit
that fills the window bounds the whole window. Not here: the bound in words (`formula`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..language import syntax
from ..language.walk import bodies, expressions, statements, walk
from ..language.words import WINDOWS
from .entailment import StepLimit, is_word
from .floor_values import ALL, smallest
from .phases import entered
from .progress import PhaseProgress, Progress
from .resolved import Resolved
from .values import Value, constant_value, int_of, whole

# By window shape: the argument that sizes the window.
SIZES = {word.name: slot.name for word in WINDOWS.values() for slot in word.slots if slot.static}


def block_length(size: int | str | None, gen_length: int, parameters: Mapping[str, Value]) -> int:
    """The number of positions of a full window."""
    length = int_of(size, parameters)
    return gen_length if length is None else min(length, gen_length)


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound on forwards of a policy with this window."""

    resolved: Resolved
    progress: Progress
    window: syntax.Expression
    _ways: dict[str, set[str]] = field(default_factory=dict, compare=False)

    @property
    def shape(self) -> str:
        return self.window.function.text if isinstance(self.window, syntax.Call) else "all"

    @property
    def size(self) -> int | str | None:
        """The window's size, as a number or the name of a parameter; `None` for the whole generated text."""
        return self.given(SIZES.get(self.shape, ""))

    def given(self, name: str) -> int | str | None:
        """An argument of the window's shape, as a number or the name of a parameter; `None` without it."""
        if not isinstance(self.window, syntax.Call):
            return None
        values = [k.value for k in self.window.keywords if k.identifier.text == name]
        values += self.window.arguments[:1] if name == "n" else []
        value = values[0] if values else None
        if isinstance(value, syntax.Number):
            return int(value.value)
        return value.identifier if isinstance(value, syntax.Name) else None

    @property
    def masks_again(self) -> bool:
        return any(isinstance(s, syntax.Revoke) for s in statements(self.resolved.policy))

    # --- windows

    def forwards(self, gen_length: int, parameters: Mapping[str, Value], given_inside: bool = False) -> int:
        """The most forwards that decoding `gen_length` positions can take under these parameter values.

        `given_inside`: some of these positions are given, so a window may have fewer positions to write than
        its length.
        """
        length = block_length(self.size, gen_length, parameters)
        if not length:
            return 0
        if self.shape == "sliding":  # one window until every position is written
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

    def of_block(self, positions: int, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """The most forwards of a block of whole windows, of which some positions may be given, in a text of
        `gen_length` positions. Only for windows `blocks`.
        """
        length = block_length(self.size, positions, parameters)
        each = self._of_window(length, gen_length, parameters, self._lengths(length))
        return -(-positions // length) * each

    def _lengths(self, length: int) -> Sequence[int]:
        """The lengths to try for a window.

        Only a bound that uses `window_length` can be larger for a shorter window; other bounds need one
        length.
        """
        uses_length = any(
            is_word(part, "window_length", self.resolved.inlinable)
            for outer in self._expressions()
            for part in walk(outer)
        )
        return range(1, length + 1) if uses_length else (length,)

    def _expressions(self) -> Iterator[syntax.Expression]:
        """The outermost expressions of the policy; the bound depends on some of them."""
        for statement in statements(self.resolved.policy):
            yield from () if isinstance(statement, syntax.FunctionDeclaration) else expressions(statement)
        for phase in self.resolved.policy.phases:
            yield from expressions(phase)

    def _counted(
        self, length: int, gen_length: int, parameters: Mapping[str, Value], lengths: Sequence[int]
    ) -> _Counted:
        known = {**parameters, "window_length": length, "generation_length": gen_length}
        return _Counted(self, length, known, lengths)

    def _of_window(
        self, length: int, gen_length: int, parameters: Mapping[str, Value], lengths: Sequence[int]
    ) -> int:
        """Forwards of one window of a known length."""
        counted = self._counted(length, gen_length, parameters, lengths)
        floors = [self._floor(phase, length, parameters) for phase in self.progress.phases]
        one_each = min(floors) < 1 or self.masks_again or self.shape == "sliding"
        total = (length if one_each else -(-length // min(floors))) + counted.more()
        limit = counted.last_step()
        if limit is None:
            return total
        limit += length if self.shape == "sliding" else 0  # a sliding window moves on after it is filled
        return limit if self.masks_again else min(limit, total)

    def _more(self, length: int, gen_length: int, parameters: Mapping[str, Value]) -> int:
        """The forwards of a window of at most this length, beyond one for each position."""
        counted = self._counted(length, gen_length, parameters, (length,))
        limit = counted.last_step()
        if limit is None:
            return counted.more()
        return limit if self.masks_again else min(limit, counted.more())

    def _floor(self, phase: PhaseProgress, length: int, parameters: Mapping[str, Value]) -> int:
        if isinstance(phase.floor, syntax.Parameter):
            return int_of(phase.floor.identifier.text, parameters) or 0
        return length if phase.floor == ALL else phase.floor

    # --- the way through the phases

    def revokes_of_known_number(self, phase: PhaseProgress) -> list[syntax.Revoke]:
        """The `revoke` statements of a phase that can mask only a known number of positions again."""
        body = next(body for body in bodies(self.resolved.policy) if body.name == phase.name)
        revokes = [s for s in body.statements if isinstance(s, syntax.Revoke)]
        return [s for s in revokes if self.progress.finite(s, phase.name, self.resolved)]

    def sources(self, phase: PhaseProgress) -> list[PhaseProgress]:
        """The phases with a bound on visits from which a row may reach this phase through phases without such
        a bound.

        The phases without a bound form no circle, so each visit of a source leads to at most one visit of
        this phase.
        """
        through = self._passed(phase)
        return [
            p
            for p in self.progress.phases
            if p.name not in through and any(target in through for target in p.leads_to)
        ]

    def begins(self, phase: PhaseProgress) -> bool:
        """Whether the first step of a window may lead to this phase, through phases without a bound."""
        first = self.progress.phases[0].name
        return any(name in self._passed(phase) for name in (first, *entered(first, self.resolved.phases)))

    def _passed(self, phase: PhaseProgress) -> set[str]:
        """This phase, and the phases without a bound on visits that lead to it."""
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


@dataclass(slots=True)
class _Counted:
    """The visits and idle steps in one window of `length` positions, for known values of all parameters."""

    bound: Bound
    length: int
    known: Mapping[str, Value]
    lengths: Sequence[int]
    _mosts: dict[syntax.Expression, int] = field(default_factory=dict)
    _visits: dict[str, int] = field(default_factory=dict)

    def more(self) -> int:
        """The steps beyond one for each position that is masked at the window's first step."""
        phases = self.bound.progress.phases
        return self.stays + sum(self.idle(phase) + self.masked_again(phase) for phase in phases)

    def last_step(self) -> int | None:
        """The number of the last step of any window; `None` unless every phase has a step limit."""
        if not self.bound.progress.has_step_limit:
            return None
        ends = [phase.fills_after for phase in self.bound.progress.phases if phase.fills_after is not None]
        return max(map(self.limit, ends)) + self.stays

    @property
    def stays(self) -> int:
        """Steps in which a full window stays."""
        counts = [s.count for s in statements(self.bound.resolved.policy) if isinstance(s, syntax.Stay)]
        return max([0, *map(self.most, counts)])

    @property
    def steps(self) -> int:
        """Steps that are not idle: they commit a masked position, or a full window stays."""
        phases = self.bound.progress.phases
        return self.length + self.stays + sum(self.masked_again(phase) for phase in phases)

    def limit(self, limit: StepLimit) -> int:
        return max(1, self.most(limit.most) + limit.more)

    def most(self, expression: syntax.Expression) -> int:
        """The largest value of an expression, over the possible lengths of the window."""
        if expression not in self._mosts:
            inlinable = self.bound.resolved.inlinable
            values = ({**self.known, "window_length": n} for n in self.lengths)
            self._mosts[expression] = max(
                whole(constant_value(expression, inlinable, known)) for known in values
            )
        return self._mosts[expression]

    def idle(self, phase: PhaseProgress) -> int:
        """Steps of a phase that may commit nothing."""
        if smallest(phase.floor) >= 1:
            return 0
        if (end := phase.fills_after or phase.slow_until) is not None:
            return self.limit(end)
        steps = self.limit(phase.idle_steps) if isinstance(phase.idle_steps, StepLimit) else 1
        return self.visits(phase) * steps

    def masked_again(self, phase: PhaseProgress) -> int:
        """The positions that a phase with a known number of steps may mask again. Each may cost one more
        step.
        """
        revokes = self.bound.revokes_of_known_number(phase)
        values = [max(0, self.most(s.at_most.count)) for s in revokes if s.at_most is not None]
        if not values:
            return 0
        steps = self.limit(phase.steps) if isinstance(phase.steps, StepLimit) else phase.steps or 0
        return self.visits(phase) * steps * sum(values)

    def visits(self, phase: PhaseProgress) -> int:
        """The most visits of a phase."""
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
