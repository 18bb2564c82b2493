"""Which places of a policy does one step of a case reach?

Read from the values of the step's operations, on the reference backend. Needs torch. Not here: the list of
all places (`places`), the cases (`report`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...backends.reference import ReferenceResult, ReferenceRow
from ...ir.protocol import PHASE
from ...ir.watched import CHOSEN, LIMITED, STAYS, WHEN, WRITTEN, WatchedProgram
from ...language import syntax
from ...language.walk import bodies, children, expressions
from ...language.words import ELEMENTWISE_WORDS
from ..replay import Missing, compute
from .places import WITH_CONDITION, PlaceKey, key_of, kind_of, span_of

# Arguments of a call that are read at the positions of its mask alone.
AT_MASK = frozenset({"by", "while", "kernel"})


class StepReach:
    """The places that one step reaches, in `keys`.

    A part of an expression counts where its value matters: after `and` at the positions where the left side
    holds, after `or` where it does not, and in `x if c else y` where it is taken.
    """

    def __init__(
        self,
        policy: syntax.PolicyDefinition,
        watched: WatchedProgram,
        row: ReferenceRow,
        values: dict[int, Any],
        result: ReferenceResult,
    ) -> None:
        self.policy, self.watched, self.row, self.values, self.result = policy, watched, row, values, result
        self.used = frozenset(values)  # what the results of the step need
        self.phase = int(result.events.get(PHASE, 0))
        self.everywhere = list(row.editable)
        self.keys: set[PlaceKey] = set()
        self._of_phases()
        self._of_statements()

    def _reach(self, node: syntax.Node, kind: str, reached: bool = True) -> None:
        if reached:
            self.keys.add(key_of(node.span, kind))

    def _of_phases(self) -> None:
        if not self.policy.phases:
            return
        phases = {phase.identifier.text: phase for phase in self.policy.phases}
        runs = self.policy.phases[self.phase]
        self._reach(runs.identifier, "phase")
        at = self.policy.phases[int(self.row.state.get(PHASE, 0))]
        while at is not runs and at.otherwise is not None:
            self._reach(at.otherwise, "phase else")
            at = phases[at.otherwise.text]

    def _of_statements(self) -> None:
        moved = False
        for statement in bodies(self.policy)[self.phase].statements:
            if isinstance(statement, syntax.Let):
                if self.used & {*self.watched.expressions.get((self.phase, statement.value), ())}:
                    self._of_expression(statement.value, self.everywhere)
                continue
            for expression in expressions(statement):
                self._of_expression(expression, self.everywhere)
            if isinstance(statement, syntax.Commit):
                self._of_commit(statement)
            elif isinstance(statement, syntax.Revoke | syntax.Edit):
                self._reach(statement, kind_of(statement), any(self._did(statement, LIMITED)))
            elif isinstance(statement, WITH_CONDITION):
                moved = self._of_condition(statement, moved)

    def _of_commit(self, commit: syntax.Commit) -> None:
        chosen, limited = self._did(commit, CHOSEN), self._did(commit, LIMITED)
        passes = self._value(commit.mask)
        if passes is None:
            return
        both = list(zip(chosen, passes, strict=True))
        self.keys.update({key_of(span_of(commit), "commit")} if any(a and b for a, b in both) else ())
        if commit.at_least is not None:
            self._reach(commit.at_least, "at least", any(a and not b for a, b in both))
        if commit.at_most is not None:
            self._reach(commit.at_most, "at most", sum(limited) < sum(chosen))

    def _of_condition(
        self, statement: syntax.Fill | syntax.Stay | syntax.Refresh | syntax.Next | syntax.Finish, moved: bool
    ) -> bool:
        """Whether a `next` has fired, this statement included."""
        kind, holds = kind_of(statement), any(self._did(statement, WHEN))
        if isinstance(statement, syntax.Next | syntax.Finish):
            if not moved:
                self._reach(statement, kind if holds else f"{kind} not")
            return moved or (holds and isinstance(statement, syntax.Next))
        if isinstance(statement, syntax.Stay):
            canvas = zip(self.result.canvas, self.row.editable, strict=True)
            full = not any(may and id_ == self.row.mask_id for id_, may in canvas)
            if full:
                self._reach(statement, kind if any(self._did(statement, STAYS)) else f"{kind} not")
            return moved
        fires = any(self._did(statement, WRITTEN)) if isinstance(statement, syntax.Fill) else holds
        self._reach(statement, kind, fires)
        self._reach(statement, f"{kind} not", not holds)
        return moved

    # --- expressions

    def _of_expression(self, expression: syntax.Expression, where: list[bool]) -> None:
        """The places in an expression whose value matters at some positions. `where`: these positions."""
        if not any(where):
            return
        if isinstance(expression, syntax.Conditional):
            self._of_conditional(expression, where)
        elif isinstance(expression, syntax.Alternative):
            self._of_alternative(expression, where)
        elif isinstance(expression, syntax.Conjunction | syntax.Disjunction):
            self._of_expression(expression.left, where)
            left = self._value(expression.left)
            if left is not None:
                decides = _both if isinstance(expression, syntax.Conjunction) else _without
                self._of_expression(expression.right, decides(where, left))
        elif isinstance(expression, syntax.Call):
            for part, positions in self._of_call(expression, where):
                self._of_expression(part, positions)
        else:
            for part in children(expression):
                self._of_expression(part, where)

    def _of_conditional(self, conditional: syntax.Conditional, where: list[bool]) -> None:
        self._of_expression(conditional.condition, where)
        holds = self._value(conditional.condition)
        if holds is not None:
            self._side(conditional.then, "if", _both(where, holds))
            self._side(conditional.otherwise, "if not", _without(where, holds))

    def _of_alternative(self, alternative: syntax.Alternative, where: list[bool]) -> None:
        self._of_expression(alternative.left, where)
        left = self._value(alternative.left)
        if left is not None:
            selects = any(_both(self.everywhere, left))
            self._reach(alternative.left, "orelse left", selects)
            self._side(alternative.right, "orelse right", [False] if selects else where)

    def _side(self, side: syntax.Expression, kind: str, where: list[bool]) -> None:
        self._reach(side, kind, any(where))
        self._of_expression(side, where)

    def _of_call(
        self, call: syntax.Call, where: list[bool]
    ) -> Iterator[tuple[syntax.Expression, list[bool]]]:
        """The arguments of a call, each with the positions at which its value matters."""
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        if call.function.text in ELEMENTWISE_WORDS and not named:
            yield from ((argument, where) for argument in call.arguments)
            return
        over = self._value(named["over"]) if "over" in named else None
        of_arguments = self.everywhere if over is None else _both(self.everywhere, over)
        yield from ((argument, of_arguments) for argument in call.arguments)
        mask = self._value(call.arguments[0]) if AT_MASK & named.keys() else None
        at_mask = self.everywhere if mask is None else _both(self.everywhere, mask)
        yield from ((value, at_mask if name in AT_MASK else self.everywhere) for name, value in named.items())

    # --- values

    def _value(self, expression: syntax.Expression) -> list[bool] | None:
        """Where a condition holds, one for each position; `None` where the case does not give its inputs, and
        in a branch that a choice leaves out.
        """
        found = [
            value
            for index in self.watched.expressions.get((self.phase, expression), ())
            if (value := self._computed(index)) is not None
        ]
        return [any(each) for each in zip(*found, strict=True)] if found else None

    def _did(self, statement: syntax.Statement, what: str) -> list[bool]:
        index = self.watched.statements[self.phase, statement].get(what)
        value = None if index is None else self._computed(index)
        return [False] * self.row.length if value is None else value

    def _computed(self, index: int) -> list[bool] | None:
        if index not in self.values:
            try:
                compute(self.watched.program, self.row, [index], self.values)
            except Missing:
                return None
        return [bool(one) for one in self.row.wide(self.values[index])]


def _both(where: list[bool], holds: list[bool]) -> list[bool]:
    return [a and b for a, b in zip(where, holds, strict=True)]


def _without(where: list[bool], holds: list[bool]) -> list[bool]:
    return [a and not b for a, b in zip(where, holds, strict=True)]
