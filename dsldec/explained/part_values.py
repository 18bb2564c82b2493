"""The recorded values of the parts of a step, at a position or for the row.

Shapes: T window positions; `at` counts from the window's first position. Not here: what the values mean
(`expression_reasons`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.nodes import Operation
from ..ir.watched import LIMITED, WRITTEN
from ..language import syntax
from ..language.walk import bodies
from .step_record import RecordedValue, StepRecord


def statements_of(record: StepRecord) -> tuple[syntax.Statement, ...]:
    """The statements of the phase of a step."""
    return bodies(record.explained.checked.resolved.policy)[record.phase].statements


class PartValues:
    """The values of one step. `statements`: of its phase, in order; `places`: their places in this order;
    `left`: of each `thin`, the scores after all picks, made at the first use.
    """

    def __init__(self, record: StepRecord) -> None:
        self.record, self.watched = record, record.explained.watched
        self.resolved = record.explained.checked.resolved
        self.statements = statements_of(record)
        self.places = {statement: place for place, statement in enumerate(self.statements)}
        self.length = len(record.canvas)
        self._columns: dict[int, RecordedValue | Sequence[RecordedValue] | None] = {}
        self._wide: dict[int | None, list[RecordedValue]] = {}
        self._chosen: dict[int | None, list[int]] = {}
        self.left: dict[int, dict[int, float]] = {}  # by `thin`: see `selection_reasons`

    def operation(self, number: int) -> Operation:
        return self.watched.program.operations[number]

    def column(self, number: int) -> RecordedValue | Sequence[RecordedValue] | None:
        """The value of an operation, or its T values; `None` if they are not recorded."""
        if number not in self._columns:
            self._columns[number] = self.record.values.get(number)
        return self._columns[number]

    def value(self, number: int | None, at: int | None) -> RecordedValue | None:
        """The value at a position. Without a position, the value of the row."""
        column = None if number is None else self.column(number)
        if column is None or isinstance(column, bool | int | float):
            return column
        return None if at is None or not 0 <= at < len(column) else column[at]

    def holds(self, number: int | None, at: int | None) -> bool | None:
        value = self.value(number, at)
        return None if value is None else bool(value)

    def wide(self, number: int | None) -> list[RecordedValue]:
        """One value for each position, empty if there are none."""
        if number not in self._wide:
            column = None if number is None else self.column(number)
            if isinstance(column, bool | int | float):
                column = [column] * self.length
            self._wide[number] = list(column or ())
        return self._wide[number]

    def chosen(self, number: int | None) -> list[int]:
        """The places where a mask holds."""
        if number not in self._chosen:
            self._chosen[number] = [at for at, holds in enumerate(self.wide(number)) if holds]
        return self._chosen[number]

    def of_statement(self, statement: syntax.Statement, what: str) -> int | None:
        """The operation of a statement by name."""
        return self.watched.statements.get((self.record.phase, statement), {}).get(what)

    def written(self, statement: syntax.Statement, at: int | None) -> bool:
        """Whether a statement changed a place."""
        what = LIMITED if isinstance(statement, syntax.Revoke | syntax.Edit) else WRITTEN
        return bool(self.holds(self.of_statement(statement, what), at))

    def touched(self, at: int) -> bool:
        """Whether the step changed a place."""
        return any(self.written(statement, at) for statement in self.statements)
