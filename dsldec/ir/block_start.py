"""The operations that place a window and begin its states.

Not here: the phases and their states (`step_start`), the hosts that move windows (`runtime.windows`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..checks import CheckedPolicy
from ..checks.kinds import of_state
from ..language import syntax
from ..language.walk import walk
from ..language.words import Extent, Kind
from . import protocol
from .expressions import Expressions


class BlockStart(Expressions):
    """Lowers the window of a policy and the states as a step begins."""

    def __init__(self, checked: CheckedPolicy, values: Mapping[str, object]) -> None:
        super().__init__(checked.resolved, values)
        self.checked = checked
        self.policy = checked.resolved.policy
        self.states, self.phases = self.resolved.states, self.resolved.phases
        self._sites_of_states: int | None = None  # random places before the states, if the window reads them

    def place_window(self) -> None:
        window = next(s.shape for s in self.policy.statements if isinstance(s, syntax.Window))
        if not isinstance(window, syntax.Call):
            return
        if window.function.text == "sliding":
            moved = self.int_("subtract", self.window_start, self.state(protocol.PLACED_AT))
            inside = self.state(protocol.INSIDE)
            self.stayed = self.mask("shift", inside, self.int_("negate", moved))
            self.slides = moved
        elif window.function.text == "until":
            if self._reads_states(window):
                self._sites_of_states = self.sites
                self.begin_states()
            length = self._length_until(window)
            self.window_length = self.where(self.begins, length, self.state(protocol.WINDOW_LENGTH), Kind.INT)
            self.start.window = self.all_of(
                self.editable, self.holds("less", self.offset, self.window_length)
            )

    def _reads_states(self, expression: syntax.Expression) -> bool:
        bindings = (
            self.resolved.bindings.get(part) for part in walk(expression) if isinstance(part, syntax.Name)
        )
        return any(isinstance(binding, syntax.StateDeclaration) for binding in bindings)

    def _length_until(self, window: syntax.Call) -> int:
        """The length of a window `until`: a number, or up to a position.

        The window ends at a position where the token is one of the ids, or that is in a mask: at the first
        one, or at the best one by a score. Without such a position, it has its full length. The expressions
        read the largest window.
        """
        named = {keyword.identifier.text: keyword.value for keyword in window.keywords}
        ends = self._ends_of(window) if window.arguments else None
        least = self.expression(named["min"], self.start) if "min" in named else self.number(1)
        if ends is None:
            wanted = self.expression(named["length"], self.start)
            least = self.int_("maximum", least, self.number(1))
            return self.int_("minimum", self.int_("maximum", wanted, least), self.reach(self.start))
        long = self.holds("greater_equal", self.int_("add", self.offset, self.number(1)), least)
        hits = self.all_of(self.editable, ends, long)
        if "when" in named:
            hits = self.all_of(hits, self.expression(named["when"], self.start))
        if "by" in named:
            hits = self.mask(
                "top", self.mask("order", hits, self.expression(named["by"], self.start)), self.number(1)
            )
        end = self.add(
            "truncate", (self.reduced("least", Kind.REAL, self.offset, hits),), Kind.INT, Extent.ROW
        )
        any_hit = self.reduced("any", Kind.BOOL, hits)
        return self.where(any_hit, self.int_("add", end, self.number(1)), self.reach(self.start), Kind.INT)

    def _ends_of(self, window: syntax.Call) -> int:
        """The positions where a window `until` may end: those of its mask, or where the token is one of its
        ids.
        """
        first, *more = window.arguments
        if self.resolved.types[first].kind is Kind.MASK:
            return self.expression(first, self.start)
        token = self.observation("token")
        found, *others = [
            self.holds("equal", token, self.expression(id_, self.start)) for id_ in (first, *more)
        ]
        for other in others:
            found = self.holds("or", found, other)
        return found

    def _kept(self, state: syntax.StateDeclaration) -> int:
        type_, name = of_state(state), protocol.state_field(state.identifier.text)
        return (
            self.kept_at_positions(name, type_.kind)
            if type_.extent is Extent.POSITION
            else self.state(name, type_.kind)
        )

    def begin_states(self) -> None:
        """The states as the step begins, before its phase is known.

        In a new block or sequence, they have their start value. If the line `window` reads states, this is
        called a second time once the window is placed, and draws the same random numbers.
        """
        drawn = self.sites
        if self._sites_of_states is not None:
            self.sites = self._sites_of_states
        first = self.holds("equal", self.step, self.number(0))
        for state in self.states.values():
            type_ = of_state(state)
            anew = self.holds("or", first, self.begins) if state.scope.text == "block" else first
            if (
                type_.extent is Extent.POSITION
            ):  # a position that enters the window has the start value in every scope
                anew = self.holds(
                    "or", anew, self.holds("not", self.stayed) if self.slides >= 0 else self.begins
                )
            self.start.states[state.identifier.text] = self.where(
                anew, self._start(state), self._kept(state), type_.kind
            )
        self.sites = max(drawn, self.sites)

    def _start(self, state: syntax.StateDeclaration) -> int:
        return self.of_kind(self.expression(state.start, self.start), of_state(state).kind)
