"""A program that also gives the value of every expression of a policy, and what each statement did.

`dsldec test --coverage` reads it on the reference backend; no decode runs such a program. Not here: which
parts of a policy a step reached (`tools.coverage`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..checks import CheckedPolicy
from ..checks.values import Value
from ..language import syntax
from ..language.walk import Body
from .lower import Lowering, with_defaults
from .nodes import Program
from .statements import After
from .step_values import Scope

WATCHED = "watched_"  # begins the names of the results that no step reports
# Results of a statement, by name: the positions chosen before and after its limit, the positions that it
# wrote, whether its condition holds, whether the row stays in a full window.
CHOSEN, LIMITED, WRITTEN, WHEN, STAYS = "chosen", "limited", "written", "when", "stays"


@dataclass(frozen=True, slots=True)
class WatchedProgram:
    """A program, and the operations that give the values of a policy's parts.

    `expressions`: the operations of an expression, by the index of its phase. An expression has several where
    it is the argument of a function that reads it more than once. `statements`: the operations of a statement
    by name (`CHOSEN`, `LIMITED`, `WRITTEN`, `WHEN`, `STAYS`).
    """

    program: Program
    expressions: Mapping[tuple[int, syntax.Expression], tuple[int, ...]]
    statements: Mapping[tuple[int, syntax.Statement], Mapping[str, int]]


def watched(checked: CheckedPolicy, values: Mapping[str, Value]) -> WatchedProgram:
    """The program of a checked policy under these choices, with the values of its parts."""
    lowering = _WatchedLowering(checked, with_defaults(checked, values))
    program = lowering.program()
    number = lowering.numbers
    expressions = {key: tuple(number[i] for i in indices) for key, indices in lowering.of_expressions.items()}
    statements = {
        key: {name: number[i] for name, i in named.items()} for key, named in lowering.of_statements.items()
    }
    return WatchedProgram(program, expressions, statements)


class _WatchedLowering(Lowering):
    def __init__(self, checked: CheckedPolicy, values: Mapping[str, object]) -> None:
        super().__init__(checked, values)
        self.index = -1  # of the phase; -1 outside of the statements of a step
        self.statement: syntax.Statement | None = None
        self.of_expressions: dict[tuple[int, syntax.Expression], dict[int, None]] = {}
        self.of_statements: dict[tuple[int, syntax.Statement], dict[str, int]] = {}
        self.numbers: dict[int, int] = {}  # of each watched operation: its number in the program

    def body(self, body: Body, index: int) -> After:
        self.index = index
        after = super().body(body, index)
        self.index = -1
        return after

    def expression(self, expression: syntax.Expression, scope: Scope) -> int:
        value = super().expression(expression, scope)
        if self.index >= 0:
            self.of_expressions.setdefault((self.index, expression), {})[value] = None
        return value

    def _statement(self, statement: syntax.Statement, after: After) -> None:
        self.statement = statement
        super()._statement(statement, after)
        if isinstance(statement, syntax.Stay):
            self._did(STAYS, after.stays)

    def _at_most(self, chosen: int, bound: syntax.AtMost | None, scope: Scope) -> int:
        limited = super()._at_most(chosen, bound, scope)
        self._did(CHOSEN, chosen)
        self._did(LIMITED, limited)
        return limited

    def _write(self, chosen: int, ids: int | None, scope: Scope) -> None:
        super()._write(chosen, ids, scope)
        self._did(WRITTEN, chosen)

    def _when(
        self,
        statement: syntax.Fill | syntax.Stay | syntax.Refresh | syntax.Next | syntax.Finish,
        scope: Scope,
    ) -> int:
        when = super()._when(statement, scope)
        self._did(WHEN, when)
        return when

    def _did(self, what: str, value: int) -> None:
        assert self.statement is not None
        self.of_statements.setdefault((self.index, self.statement), {})[what] = value

    def _pruned(
        self, canvas: int, done: int, finite: int, following: dict[str, int], events: dict[str, int]
    ) -> Program:
        of_parts = (*self.of_expressions.values(), *(set(of.values()) for of in self.of_statements.values()))
        wanted = {value for values in of_parts for value in values}
        named = {f"{WATCHED}{value}": value for value in wanted}
        program = super()._pruned(canvas, done, finite, following, events | named)
        self.numbers = {value: program.events[name] for name, value in named.items()}
        return replace(program, events={name: program.events[name] for name in events})
