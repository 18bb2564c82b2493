"""Which operations of a watched program are recorded, and for which phase?

Not here: the program (`ir.watched`), the bytes of the values (`recorded_values`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from ..ir.nodes import Operation
from ..ir.watched import WatchedProgram
from ..language.words import NUMBERS, Extent, Kind
from .recorded_values import BOOL, INT, REAL, ColumnLayout

BOOLS = frozenset({Kind.BOOL, Kind.MASK})
INTS = frozenset({Kind.INT, Kind.TOKEN, Kind.CHOICE, Kind.GROUP})
RECORDED = BOOLS | INTS | NUMBERS
# Operations whose values are no numbers for positions: logits, orders, distributions.
STRUCTURES = frozenset(
    {
        "logits", "observe", "ban", "bias", "bias_all", "temperature", "order", "log_probabilities",
        "shift_distributions",
    }
)  # fmt: skip


def layouts_of(watched: WatchedProgram) -> list[ColumnLayout]:
    """The columns of a step, for each phase."""
    phases = range(len(watched.program.phases))
    return [ColumnLayout.of(recorded_operations(watched, phase)) for phase in phases]


def recorded_operations(watched: WatchedProgram, phase: int) -> list[tuple[int, str, bool]]:
    """The operations with recorded values in a phase, in order: the number, the format of a value, and
    whether there is a value for each position. Tables, patterns, networks and distributions have none.
    """
    operations = watched.program.operations
    numbers = {
        number
        for of, number in _mentioned(watched)
        if of in (None, phase) and 0 <= number < len(operations) and _is_number(operations[number])
    }
    return [(number, _format(operations[number]), _wide(operations[number])) for number in sorted(numbers)]


def _mentioned(watched: WatchedProgram) -> Iterator[tuple[int | None, int]]:
    """Every operation that a mapping of the watched program names, with its phase; `None` for all phases."""
    for one in fields(watched):
        mapping = getattr(watched, one.name)
        if one.name == "program" or not isinstance(mapping, Mapping):
            continue
        for key, value in mapping.items():
            phase = key[0] if isinstance(key, tuple) and isinstance(key[0], int) and key[0] >= 0 else None
            yield from ((phase, number) for number in _numbers(value))


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _numbers(part)


def _is_number(operation: Operation) -> bool:
    return operation.kind in RECORDED and operation.name not in STRUCTURES


def _format(operation: Operation) -> str:
    return BOOL if operation.kind in BOOLS else INT if operation.kind in INTS else REAL


def _wide(operation: Operation) -> bool:
    return operation.extent is Extent.POSITION
