"""The meaning of a program: loops over rows and positions, one number at a time.

Slow and obvious; every other backend must equal it. Numbers with a fraction are rounded to float32 after every
operation (a double holds the exact result long enough), ints are those of 64 bits.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..ir.nodes import Operation, Program
from ..language.words import NUMBERS, Kind, Place
from .step import State
from .vocabulary import observe

Number = Any  # int, float or bool, as the operation's kind says


def float32(value: float) -> float:
    """The nearest float32."""
    return ctypes.c_float(value).value


def int64(value: int) -> int:
    """The int as 64 bits hold it: too large a one wraps around."""
    return ctypes.c_int64(value).value


def _rounded(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(a: Number, b: Number) -> Number:
        if isinstance(a, int) and isinstance(b, int):
            return int64(function(a, b))
        return float32(function(float32(a), float32(b)))

    return apply


def _divide(a: Number, b: Number) -> float:
    a, b = float32(a), float32(b)
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
    return float32(a / b)


def _compared(function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def apply(a: Number, b: Number) -> bool:
        if isinstance(a, int) and isinstance(b, int):
            return function(a, b)
        return function(float32(a), float32(b))

    return apply


ELEMENTWISE: Mapping[str, Callable[..., Number]] = {
    "negate": operator.neg,
    "add": _rounded(operator.add),
    "subtract": _rounded(operator.sub),
    "multiply": _rounded(operator.mul),
    "divide": _divide,
    "less": _compared(operator.lt),
    "less_equal": _compared(operator.le),
    "greater": _compared(operator.gt),
    "greater_equal": _compared(operator.ge),
    "equal": _compared(operator.eq),
    # What has no value (NaN) is not even different from anything.
    "not_equal": _compared(lambda a, b: a < b or a > b),
    "absolute": abs,
    "minimum": lambda a, b: _smaller(a, b),
    "maximum": lambda a, b: _larger(a, b),
    "where": lambda condition, a, b: a if condition else b,
    "not": lambda a: not a,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the step's inputs, as plain lists."""

    observations: Mapping[str, list[Number]]
    canvas: list[int]
    editable: list[bool]
    step: int
    window_start: int
    parameters: Mapping[str, Number]
    mask_id: int

    @property
    def length(self) -> int:
        return len(self.canvas)

    def wide(self, x: Any) -> list[Number]:
        """One number a position, of one for the row too."""
        return x if isinstance(x, list) else [x] * self.length

    def masked(self, canvas: list[int]) -> list[bool]:
        return [may and i == self.mask_id for i, may in zip(canvas, self.editable, strict=True)]


def _of_kind(operation: Operation, value: Number) -> Number:
    """An int among reals (`x if c else 1`) becomes a real."""
    return float32(value) if isinstance(value, int) and operation.kind in NUMBERS - {Kind.INT} else value


def _order(mask: list[bool], score: list[Number]) -> list[int]:
    """Positions of the mask, best score first; equal scores by position, no score (NaN) like the worst."""

    def badness(position: int) -> tuple[Number, int]:
        value = score[position]
        return (math.inf if isinstance(value, float) and math.isnan(value) else -value, position)

    return sorted((i for i, chosen in enumerate(mask) if chosen), key=badness)


def _running(order: list[int], x: list[Number], combine: Callable[[Number, Number], Number]) -> list[Number]:
    """What `combine` makes of x over each position of an order and all before it; 0 outside the order."""
    result: list[Number] = [0] * len(x)
    total: Number = None
    for position in order:
        total = x[position] if total is None else combine(total, x[position])
        # A running sum is kept in double precision and rounded where it is read.
        result[position] = int64(total) if isinstance(total, int) else float32(total)
    return result


def _larger(a: Number, b: Number) -> Number:
    return a if a != a or a >= b else b  # NaN stays


def _smaller(a: Number, b: Number) -> Number:
    return a if a != a or a <= b else b


def _mean(x: list[Number]) -> float:
    return _divide(_sum(x), len(x))


def _sum(x: list[Number]) -> Number:
    total: Number = 0
    for value in x:
        total = ELEMENTWISE["add"](total, value)
    return total


def _std(x: list[Number]) -> float:
    mean = _mean(x)
    variance = _mean([float32(float32(float32(value) - mean) ** 2) for value in x])
    return float32(math.sqrt(variance)) if variance >= 0 else math.nan


def _extreme(x: list[Number], better: Callable[[Number, Number], Number]) -> float:
    if not x:
        return math.nan
    best = x[0]
    for value in x[1:]:
        best = better(best, value)
    return float32(best)


REDUCED: Mapping[str, Callable[[list[Number]], Number]] = {
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "least": lambda x: _extreme(x, _smaller),
    "greatest": lambda x: _extreme(x, _larger),
}


def _prefix(order: list[int], condition: list[bool]) -> list[bool]:
    chosen = [False] * len(condition)
    for position in order:
        if not condition[position]:
            break
        chosen[position] = True
    return chosen


def _rank(row: Row, order: list[int]) -> list[int]:
    ranks = {position: rank for rank, position in enumerate(order, 1)}
    return [ranks.get(i, 0) for i in range(row.length)]


def _top(row: Row, order: list[int], k: int) -> list[bool]:
    kept = set(order[: max(0, k)])
    return [i in kept for i in range(row.length)]


def _places(row: Row, mask: list[bool]) -> list[float]:
    return [float(row.window_start + i) for i, chosen in enumerate(mask) if chosen]


def _commit(row: Row, canvas: list[int], mask: list[bool]) -> list[int]:
    token, free = row.observations["token"], row.masked(canvas)
    return [token[i] if mask[i] and free[i] else old for i, old in enumerate(canvas)]


# What is there before the step runs, by the operation's `of`.
READ: Mapping[str, Callable[[Row, Any], Any]] = {
    "number": lambda row, of: of if isinstance(of, int) else float32(of),
    "parameter": lambda row, of: row.parameters[of],
    "observation": lambda row, of: row.observations[of],
    "canvas": lambda row, of: row.canvas,
    "step": lambda row, of: row.step,
    "pos": lambda row, of: [row.window_start + i for i in range(row.length)],
    "window_start": lambda row, of: row.window_start,
    "window_length": lambda row, of: sum(row.editable),
    "window_end": lambda row, of: row.window_start + sum(row.editable),
}

COMPUTED: Mapping[str, Callable[..., Any]] = {
    "masked": lambda row, canvas: row.masked(canvas),
    "committed": lambda row, canvas: [may and i != row.mask_id for i, may in zip(canvas, row.editable, strict=True)],
    "orelse": lambda row, a, b: a if any(a) else b,
    "any": lambda row, mask: any(mask),
    "count": lambda row, mask: sum(mask),
    "fraction": lambda row, mask: _divide(sum(mask), max(1, sum(row.editable))),
    "first": lambda row, mask: min(_places(row, mask), default=math.nan),
    "last": lambda row, mask: max(_places(row, mask), default=math.nan),
    "order": lambda row, mask, score: _order(mask, row.wide(score)),
    "rank": _rank,
    "cumsum": lambda row, order, x: _running(order, row.wide(x), operator.add),
    "cummax": lambda row, order, x: _running(order, row.wide(x), _larger),
    "prefix": lambda row, order, condition: _prefix(order, row.wide(condition)),
    "top": _top,
    "commit": _commit,
}


def _run_operation(row: Row, operation: Operation, inputs: list[Any]) -> Any:
    """The value of one operation in one row: a number, or a list with one number a position."""
    name = operation.name
    if name in READ:
        return READ[name](row, operation.of)
    if name in COMPUTED:
        return COMPUTED[name](row, *inputs)
    if name in REDUCED:
        return REDUCED[name]([value for value, chosen in zip(row.wide(inputs[0]), inputs[1], strict=True) if chosen])
    function = ELEMENTWISE[name]
    if operation.place is not Place.POSITION:
        return _of_kind(operation, function(*inputs))
    return [_of_kind(operation, function(*values)) for values in zip(*map(row.wide, inputs), strict=True)]


def run_row(program: Program, row: Row) -> list[int]:
    """The canvas of one row after one step."""
    values: list[Any] = []
    for operation in program.operations:
        values.append(_run_operation(row, operation, [values[i] for i in operation.inputs]))
    canvas: list[int] = values[program.canvas]
    return canvas


class ReferenceStep:
    """A program as the slow loop; called like every step (see `step.Step`)."""

    def __init__(self, program: Program, mask_id: int) -> None:
        self.program = program
        self.mask_id = mask_id

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: State, params: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, State]:
        observations = {name: value.tolist() for name, value in observe(logits, self.mask_id, self.program.observations).items()}
        values = {name: value.item() for name, value in params.items()}
        after, done, steps, not_finite = [], [], [], []
        for b, ids in enumerate(canvas.tolist()):
            seen = {name: rows[b] for name, rows in observations.items()}
            row = Row(seen, ids, editable[b].tolist(), int(state["step"][b]), int(state["window_start"][b]), values, self.mask_id)
            masked = row.masked(ids)
            after.append(run_row(self.program, row))
            done.append(not any(row.masked(after[-1])))
            steps.append(row.step + any(masked))
            not_finite.append([hidden and not fine for hidden, fine in zip(masked, seen["finite"], strict=True)])
        device = canvas.device
        moved = {
            "step": torch.tensor(steps, dtype=torch.int64, device=device),
            "not_finite": torch.tensor(not_finite, dtype=torch.bool, device=device),
        }
        return torch.tensor(after, dtype=torch.int64, device=device), torch.tensor(done, device=device), state | moved
