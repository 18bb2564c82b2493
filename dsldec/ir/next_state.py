"""The end of a step: the canvas, whether the window is done, the next values of the state, and the events.

Not here: the list of fields (`protocol`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language import syntax
from ..language.walk import bodies
from ..language.words import Extent, Kind
from . import protocol
from .expressions import WITHOUT_ARGUMENTS
from .statements import After, Statements
from .step_values import Scope


@dataclass(frozen=True, slots=True)
class StepEnd:
    """The results of a step, and the conditions that its next state depends on.

    `active`: the window had a masked position or stayed; `full`: the window is full and does not stay;
    `kept`: it is full and stays; `over`: the window moves on; `finished`: the row ended;
    `refreshes`: its cache is computed anew.
    """

    canvas: int
    active: int
    full: int
    kept: int
    over: int
    finished: int
    refreshes: int


class NextState(Statements):
    """Computes the end of a step from the values that the statements leave."""

    def end(self, after: After) -> StepEnd:
        """The results at the end of the step. Afterwards the scope has the next canvas."""
        scope = after.scope
        active = self.reduced("any", Kind.BOOL, self.masked(self.start))
        if protocol.STAYS in self.carried:  # a full window that stays has further steps
            more = self.holds("greater", self.state(protocol.STAYS), self.number(0))
            active = self.holds("or", active, more)
        scope.canvas = self.where(active, scope.canvas, self.canvas, Kind.TOKEN)
        full = self.holds("not", self.reduced("any", Kind.BOOL, self.masked(scope)))
        kept = self.all_of(full, active, after.stays)
        full = self.all_of(full, self.holds("not", kept))
        closed = after.finishes
        # A statement after `finish` may have masked a position again.
        if after.finishes != self.number(False):
            closed = WITHOUT_ARGUMENTS["eos_closed"](self, scope)
        finished = self.all_of(active, after.finishes, closed)
        # A sliding window counts as one window until every position is written.
        over = full if self.slides < 0 else self.number(False)
        refreshes = self.all_of(active, after.refreshes)
        return StepEnd(scope.canvas, active, full, kept, over, finished, refreshes)

    def next_values(self, after: After, end: StepEnd) -> dict[str, int]:
        """The next value of every field that the step writes. The values of an inactive row do not change."""
        following: dict[str, int] = {}
        for name in list(self.carried):
            following.update(self._next_of(name, after, end.over, end.full))
        if protocol.STAYS in self.carried:
            once = self.where(end.kept, self.number(1), self.number(0), Kind.INT)
            more = self.int_("add", self.state(protocol.STAYS), once)
            following[protocol.STAYS] = self.where(end.over, self.number(0), more, Kind.INT)
        once = self.where(end.active, self.number(1), self.number(0), Kind.INT)
        following[protocol.STEP] = self.int_("add", self.step, once)
        for name, value in following.items():
            field = self.carried[name]
            if name != protocol.STEP and not field.distribution:
                old = self.add("state", (), field.kind, field.extent, name)
                following[name] = self.where(end.active, value, old, field.kind)
        return following

    def events(self, end: StepEnd, phase: int, accepted: int | None, score: int | None) -> dict[str, int]:
        """The events that the policy's step reports, except `not_finite`."""
        events: dict[str, int] = {}
        kinds = {type(s) for body in bodies(self.policy) for s in body.statements}
        if syntax.Finish in kinds:
            events[protocol.FINISHED] = end.finished
        if self.policy.phases:
            events[protocol.PHASE] = phase
        if accepted is not None:
            events[protocol.ACCEPTED] = accepted
        if self.unmatched >= 0:
            events[protocol.UNMATCHED] = self.unmatched
        if syntax.Refresh in kinds:
            events[protocol.REFRESH] = end.refreshes
        if self.temperature is not None:
            events[protocol.TEMPERATURE] = self.temperature
        if score is not None:
            events[protocol.SCORE] = score
        return events

    def _next_of(self, name: str, after: After, over: int, full: int) -> dict[str, int]:
        zero, one, scope = self.number(0), self.number(1), after.scope
        if name == protocol.STEPS_IN_WINDOW:
            return {name: self.where(over, zero, self.int_("add", self.steps_in_window, one), Kind.INT)}
        if name == protocol.FIRST_MASKS:
            return {name: self.first_masks()}
        if name == protocol.PHASE:
            return {name: self.where(over, zero, after.target, Kind.INT)}
        if name == protocol.STEPS_IN_PHASE:
            stays = self.holds("not", self.holds("or", over, after.moves))
            more = self.int_("add", self.state(protocol.STEPS_IN_PHASE), one)
            return {name: self.where(stays, more, zero, Kind.INT)}
        if name.startswith(protocol.VISITS_PREFIX):
            return {
                name: self.where(over, zero, self.visits[name.removeprefix(protocol.VISITS_PREFIX)], Kind.INT)
            }
        if name == protocol.COMMITTED_BEFORE:
            return {name: scope.committed}
        if name.startswith(protocol.STATE_PREFIX):
            return {name: scope.states[name.removeprefix(protocol.STATE_PREFIX)]}
        if name.startswith(protocol.BEFORE_PREFIX):
            index = int(name.removeprefix(protocol.BEFORE_PREFIX))
            return {name: next(value for value, known in self.befores.items() if known == index)}
        return self._next_of_window(name, scope, full)

    def _next_of_window(self, name: str, scope: Scope, full: int) -> dict[str, int]:
        if name == protocol.AGE:
            new = self.mask("is_mask", scope.canvas)
            older = self.int_(
                "add",
                self.where(scope.touched, self.number(0), self.kept_at_positions(protocol.AGE), Kind.INT),
                self.number(1),
            )
            return {name: self.where(new, self.number(0), older, Kind.INT)}
        if name == protocol.EOS_BEFORE:
            ends = self.reduced("any", Kind.BOOL, self.ends(scope))
            if self.slides >= 0:  # the positions before the first mask leave the window
                gone = self.holds(
                    "less", self.offset, self.reduced("least", Kind.REAL, self.offset, self.masked(scope))
                )
                left = self.reduced("any", Kind.BOOL, self.mask("and", self.ends(scope), gone))
                ends = self.where(full, ends, left, Kind.BOOL)
                full = self.number(True)
            return {name: self.holds("or", self.state(protocol.EOS_BEFORE), self.all_of(full, ends))}
        if name == protocol.WINDOW_LENGTH:
            return {name: self.window_length}
        if name == protocol.PLACED_AT:
            return {name: self.window_start}
        if name == protocol.INSIDE:
            return {name: scope.window}
        if (keep := self.carried[name].keep) is not None:
            return {name: self.add("log_probabilities", (self.logits,), Kind.REAL, Extent.POSITION, keep)}
        return {}  # the host sets window_start, generation_length and key
