"""The recorded values of a step in few bytes: one column for each operation, read on demand.

Shapes: T window positions. Needs no torch. Not here: which values are recorded (`watched_operations`), how
they are computed (`runtime.recorder`), their form in a file (`record_lines`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

from .step_record import RecordedValue

# The formats of `struct` for the values of a column, and their sizes in bytes.
BOOL, INT, REAL = "?", "q", "f"
SIZES: Mapping[str, int] = {INT: 8, REAL: 4, BOOL: 1}


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `wide`: it has a value for each position, else one value; `place`: its place among the
    columns of the same format and width.
    """

    format: str
    wide: bool
    place: int


@dataclass(frozen=True, slots=True)
class ColumnLayout:
    """The columns of a step, by the number of their operation. The bytes of a format are first its single
    values, then the T values of each wide column.
    """

    columns: Mapping[int, Column]
    counts: Counter[tuple[str, bool]] = field(default_factory=Counter)

    @classmethod
    def of(cls, operations: Iterable[tuple[int, str, bool]]) -> ColumnLayout:
        """The layout of operations, each with its format and whether it is wide."""
        columns, counts = {}, Counter[tuple[str, bool]]()
        for operation, form, wide in operations:
            columns[operation] = Column(form, wide, counts[form, wide])
            counts[form, wide] += 1
        return cls(columns, counts)

    def bytes_of(self, form: str, positions: int) -> int:
        """The bytes of a format, for a window of this many positions."""
        return SIZES[form] * (self.counts[form, False] + positions * self.counts[form, True])


def values_in(data: bytes | memoryview, form: str) -> memoryview[Any]:
    """The values of a format, without a copy."""
    cast: Any = memoryview(data).cast
    values: memoryview[Any] = cast(form)
    return values


class RecordedValues(Mapping[int, RecordedValue | Sequence[RecordedValue]]):
    """The values by the number of an operation, for `StepRecord.values`. `data`: the bytes of each format."""

    __slots__ = ("data", "layout", "positions")

    def __init__(self, layout: ColumnLayout, positions: int, data: Mapping[str, bytes]) -> None:
        self.layout, self.positions, self.data = layout, positions, data

    def __getitem__(self, operation: int) -> RecordedValue | Sequence[RecordedValue]:
        column = self.layout.columns[operation]
        values = values_in(self.data[column.format], column.format)
        if not column.wide:
            single: RecordedValue = values[column.place]
            return single
        first = self.layout.counts[column.format, False] + column.place * self.positions
        several: Sequence[RecordedValue] = values[first : first + self.positions].tolist()
        return several

    def __iter__(self) -> Iterator[int]:
        return iter(self.layout.columns)

    def __len__(self) -> int:
        return len(self.layout.columns)


OneNumber = TypeVar("OneNumber", int, float)


class OfEachPosition(Sequence[tuple[OneNumber, ...]]):
    """A few numbers for each position, such as candidates: T tuples. `numbers`: all of them, the first
    number of each position, then the second, and so on.
    """

    __slots__ = ("numbers", "positions")

    def __init__(self, numbers: array[OneNumber], positions: int) -> None:
        self.numbers: array[OneNumber] = numbers
        self.positions = positions

    @overload
    def __getitem__(self, at: int) -> tuple[OneNumber, ...]: ...
    @overload
    def __getitem__(self, at: slice) -> list[tuple[OneNumber, ...]]: ...
    def __getitem__(self, at: int | slice) -> tuple[OneNumber, ...] | list[tuple[OneNumber, ...]]:
        if isinstance(at, slice):
            return [self[place] for place in range(self.positions)[at]]
        return tuple(self.numbers[range(self.positions)[at] :: self.positions])

    def __len__(self) -> int:
        return self.positions
