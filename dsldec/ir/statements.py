"""The operations of the statements, phase by phase, and the selection of each row's phase.

Every phase is computed for every row, because rows of one batch may be in different phases. Not here: the
next values of the state (`next_state`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from ..checks.kinds import of_state
from ..language import syntax
from ..language.walk import HEAD, Body
from ..language.words import Extent, Kind
from . import protocol
from .step_start import StepStart
from .step_values import Scope


@dataclass(slots=True)
class After:
    """The values after the statements of a phase.

    `scope`: the canvas and the states; `target`: the phase of the next step; `moves`: whether the row changes
    its phase; `finishes`: whether the row ends; `stays`: whether a full window stays;
    `refreshes`: whether the row's cache is computed anew.
    """

    scope: Scope
    target: int
    moves: int
    finishes: int
    stays: int
    refreshes: int


class Statements(StepStart):
    """Lowers statements. Each statement changes the scope of its phase."""

    def body(self, body: Body, index: int) -> After:
        scope = self.start.copy()
        scope.visits = self.visits.get(body.name)
        no = self.number(False)
        after = After(scope, self.number(index), moves=no, finishes=no, stays=no, refreshes=no)
        for statement in body.statements:
            self._statement(statement, after)
        return after

    def _statement(self, statement: syntax.Statement, after: After) -> None:
        scope = after.scope
        assert not isinstance(statement, HEAD)  # the checks refuse such a statement in a phase
        match statement:
            case syntax.Let():
                scope.lets[statement] = self.expression(statement.value, scope)
            case syntax.Set():
                self._set(statement, scope)
            case syntax.Branch():
                scope.lets[statement] = self.state(protocol.BRANCH)
                self.in_branch = True
            case syntax.Pick():
                self.in_branch = False
            case syntax.Commit():
                self._commit(statement, scope)
            case syntax.Revoke():
                self._revoke(statement, scope)
            case syntax.Edit():
                self._edit(statement, scope)
            case syntax.Fill():
                masked = self.masked(scope)
                self._write(
                    masked
                    if statement.condition is None
                    else self.mask("and", masked, self._when(statement, scope)),
                    None,
                    scope,
                )
            case syntax.Stay():
                more = self.holds("less", self.state(protocol.STAYS), self.expression(statement.count, scope))
                after.stays = self.holds("or", after.stays, self.all_of(more, self._when(statement, scope)))
            case syntax.Refresh():
                after.refreshes = self.holds("or", after.refreshes, self._when(statement, scope))
            case syntax.Next():
                # The row needs a next phase even after `finish`: a later statement may mask a position, and
                # then the row goes on.
                when = self._when(statement, scope)
                wins = self.all_of(when, self.holds("not", after.moves))
                target = self.number(self.names.index(statement.phase.text))
                after.target = self.where(wins, target, after.target, Kind.INT)
                after.moves = self.holds("or", after.moves, when)
            case syntax.Finish():
                wins = self.all_of(self._when(statement, scope), self.holds("not", after.moves))
                after.finishes = self.holds("or", after.finishes, wins)
            case _:
                assert_never(statement)

    def _when(
        self,
        statement: syntax.Fill | syntax.Stay | syntax.Refresh | syntax.Next | syntax.Finish,
        scope: Scope,
    ) -> int:
        return (
            self.number(True) if statement.condition is None else self.expression(statement.condition, scope)
        )

    def _set(self, statement: syntax.Set, scope: Scope) -> None:
        name = statement.identifier.text
        value, type_ = self.expression(statement.value, scope), of_state(self.states[name])
        if type_.kind is Kind.MASK:
            value = self.mask("and", value, scope.window)
        scope.states[name] = self.of_kind(value, type_.kind)

    def _commit(self, commit: syntax.Commit, scope: Scope) -> None:
        free, ids = self.masked(scope), None
        if commit.ids is not None:
            ids = self.expression(commit.ids, scope)
            free = self.all_of(free, self.holds("is_word", ids), *self._fits(ids))
        chosen = self.mask("and", self.expression(commit.mask, scope), free)
        if commit.at_least is not None and commit.at_least.score is not None:
            score, least = (
                self.expression(commit.at_least.score, scope),
                self.expression(commit.at_least.count, scope),
            )
            rest = self.mask("and", free, self.mask("not", chosen))
            lacking = self.int_("subtract", least, self.reduced("count", Kind.INT, chosen))
            chosen = self.mask("or", chosen, self.mask("top", self.mask("order", rest, score), lacking))
        self._write(self._at_most(chosen, commit.at_most, scope), ids, scope)

    def _fits(self, ids: int) -> tuple[int, ...]:
        """In a row with a pattern: whether an id is the one of the path. Nothing without a pattern."""
        if self.unmatched < 0:
            return ()
        free = self.holds("less", self.state(protocol.PATTERN_STATE), self.number(0))
        return (self.holds("or", free, self.holds("equal", ids, self.observation("token"))),)

    def _at_most(self, chosen: int, bound: syntax.AtMost | None, scope: Scope) -> int:
        """The best positions by the score, at most `bound`; without a score, the lowest positions."""
        if bound is None:
            return chosen
        score = self.int_("negate", self.pos) if bound.score is None else self.expression(bound.score, scope)
        return self.mask("top", self.mask("order", chosen, score), self.expression(bound.count, scope))

    def _write(self, chosen: int, ids: int | None, scope: Scope) -> None:
        token = self.observation("token") if ids is None else ids
        scope.canvas = self.add("write", (scope.canvas, chosen, token), Kind.TOKEN, Extent.POSITION)
        count = self.reduced("count", Kind.INT, chosen)
        scope.committed = (
            count if scope.committed == self.number(0) else self.int_("add", scope.committed, count)
        )
        scope.touched = self.holds("or", scope.touched, chosen)

    def _revoke(self, revoke: syntax.Revoke, scope: Scope) -> None:
        chosen = self._at_most(
            self.mask("and", self.expression(revoke.mask, scope), self.written(scope)), revoke.at_most, scope
        )
        scope.canvas = self.add("erase", (scope.canvas, chosen), Kind.TOKEN, Extent.POSITION)
        scope.touched = self.holds("or", scope.touched, chosen)

    def _edit(self, edit: syntax.Edit, scope: Scope) -> None:
        assert edit.ids is not None
        ids = self.expression(edit.ids, scope)
        other = self.all_of(
            self.written(scope),
            self.holds("is_word", ids),
            self.holds("not_equal", ids, scope.canvas),
            *self._fits(ids),
        )
        chosen = self._at_most(
            self.mask("and", self.expression(edit.mask, scope), other), edit.at_most, scope
        )
        scope.canvas = self.add("write", (scope.canvas, chosen, ids), Kind.TOKEN, Extent.POSITION)
        count = self.reduced("count", Kind.INT, chosen)
        scope.edited = count if scope.edited == self.number(0) else self.int_("add", scope.edited, count)
        scope.touched = self.holds("or", scope.touched, chosen)

    def merged(self, afters: list[After], phase: int) -> After:
        """The values after the phase of each row."""
        whole = afters[-1]
        for index in range(len(afters) - 2, -1, -1):
            here, one = self.holds("equal", phase, self.number(index)), afters[index]
            states = {
                name: self.where(here, value, whole.scope.states[name], of_state(self.states[name]).kind)
                for name, value in one.scope.states.items()
            }
            scope = Scope(
                canvas=self.where(here, one.scope.canvas, whole.scope.canvas, Kind.TOKEN),
                window=one.scope.window,
                committed=self.where(here, one.scope.committed, whole.scope.committed, Kind.INT),
                touched=self.where(here, one.scope.touched, whole.scope.touched, Kind.MASK),
                edited=self.number(0),
                states=states,
            )
            moves = self.where(here, one.moves, whole.moves, Kind.BOOL)
            finishes = self.where(here, one.finishes, whole.finishes, Kind.BOOL)
            stays = self.where(here, one.stays, whole.stays, Kind.BOOL)
            refreshes = self.where(here, one.refreshes, whole.refreshes, Kind.BOOL)
            target = self.where(here, one.target, whole.target, Kind.INT)
            whole = After(scope, target, moves, finishes, stays, refreshes)
        return whole
