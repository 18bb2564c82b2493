"""The arithmetic of a step on paper: numbers are as written, and nothing is rounded to float32.

Two rules that are equal by algebra may round differently, for example in the order of a sum. They differ in
float32 at the edge of a threshold, and agree here. Numbers are doubles, cut to 11 digits after each
operation: `0.3 - 0.1 - 0.2` is 0. Not here: the operations that do not round (`backends.reference`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...backends.reference import ReferenceRow, run_operation
from ...backends.reference_orders import Order
from ...ir.nodes import Program
from ...ir.signatures import over_positions
from ...language.arithmetic import are_ints, float32, larger, quotient, smaller
from ...language.words import CONDITIONS, NUMBERS, Extent, Kind
from ..replay import CaseArithmetic

DIGITS, PLACES = 11, 12
FLOAT32_DIGITS = 9  # enough for every float32


def as_written(value: float) -> float:
    """The number of fewest digits that is this float32."""
    return float(shortest(value))


def shortest(value: float) -> str:
    """The text of fewest digits that is the float32 of a number."""
    single = float32(value)
    texts = (f"{single:.{digits}g}" for digits in range(1, FLOAT32_DIGITS + 1))
    return next((text for text in texts if float32(float(text)) == single), f"{single:g}")


def _cut(value: Any) -> Any:
    if isinstance(value, int) or not math.isfinite(value):
        return value
    return round(float(f"{value:.{DIGITS}g}"), PLACES) + 0.0


def _real(function: Callable[..., float]) -> Callable[..., Any]:
    """A function of reals, with the results that IEEE 754 has where Python raises."""

    def apply(*values: Any) -> Any:
        try:
            return _cut(function(*values))
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return apply


def _log(value: float) -> float:
    return -math.inf if value == 0 else math.log(value)


def _power(base: float, exponent: float) -> float:
    return math.inf if base == 0 and exponent < 0 else math.pow(base, exponent)


ELEMENTWISE: Mapping[str, Callable[..., Any]] = {
    "add": _real(operator.add),
    "subtract": _real(operator.sub),
    "multiply": _real(operator.mul),
    "divide": _real(quotient),
    "power": _real(_power),
    "exp": _real(math.exp),
    "log": _real(_log),
    "sqrt": _real(math.sqrt),
    "real": float,
    "minimum": smaller,
    "maximum": larger,
    "less": operator.lt,
    "less_equal": operator.le,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "equal": operator.eq,
    "not_equal": lambda a, b: a < b or a > b,
}


def _mean(values: Sequence[Any]) -> Any:
    return _cut(sum(values) / len(values)) if values else math.nan


def _extreme(better: Callable[[Any, Any], Any]) -> Callable[[Sequence[Any]], Any]:
    def of(values: Sequence[Any]) -> Any:
        best = values[0] if values else math.nan
        for value in values[1:]:
            best = better(best, value)
        return best

    return of


ROWS: Mapping[str, Callable[[Sequence[Any]], Any]] = {
    "sum": lambda values: _cut(sum(values)),
    "mean": _mean,
    "least": _extreme(smaller),
    "greatest": _extreme(larger),
}


def _running(order: Order, values: Sequence[Any], combine: Callable[[Any, Any], Any]) -> list[Any]:
    result: list[Any] = [0] * order.length
    for run in order.runs:
        total: Any = None
        for position in run:
            total = values[position] if total is None else _cut(combine(total, values[position]))
            result[position] = total
    return result


ORDERS: Mapping[str, Callable[[Order, Sequence[Any]], Any]] = {
    "cumsum": lambda order, values: _running(order, values, operator.add),
    "cummax": lambda order, values: _running(order, values, larger),
}


def run_on_paper(program: Program, row: ReferenceRow, index: int, values: Any) -> Any:
    """The result of an operation, called like `reference.run_operation`. Ints are computed as there."""
    operation = program.operations[index]
    name = operation.name
    if name == "number" and operation.kind in NUMBERS - {Kind.INT}:
        return _cut(float(operation.attribute or 0))
    wide = over_positions(operation)
    inputs: list[Any] = [
        row.wide(values[i]) if n in wide else values[i] for n, i in enumerate(operation.inputs)
    ]
    if name in ELEMENTWISE:
        if operation.extent is not Extent.POSITION:
            return _elementwise(name, operation.kind, inputs)
        columns = zip(*map(row.wide, inputs), strict=True)
        return [_elementwise(name, operation.kind, column) for column in columns]
    if name in ROWS:
        numbers, mask = inputs
        return ROWS[name]([number for number, chosen in zip(numbers, mask, strict=True) if chosen])
    if name in ORDERS:
        return ORDERS[name](*inputs)
    return run_operation(program, row, index, values)


def _elementwise(name: str, kind: Kind, inputs: Sequence[Any]) -> Any:
    if are_ints(*inputs) and kind is Kind.INT:
        from ...language.arithmetic import ELEMENTWISE as IN_FLOAT32

        return IN_FLOAT32[name](*inputs)
    found = ELEMENTWISE[name](*inputs)
    return bool(found) if kind in CONDITIONS else found


ON_PAPER = CaseArithmetic(run_on_paper, as_written)
