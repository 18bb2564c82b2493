"""The meaning of the reductions of a row over a mask.

Not here: the meaning of operations on numbers (`language.arithmetic`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..language.arithmetic import AnyNumber, are_ints, float32, int64, larger, smaller


def _sum(x: Sequence[AnyNumber]) -> AnyNumber:
    """Ints are added as ints. Reals are added as doubles, and the sum is rounded once."""
    if are_ints(*x):
        return int64(sum(x))
    return float32(_double_sum(x))


def _double_sum(x: Sequence[AnyNumber]) -> float:
    total = 0.0
    for value in x:
        total += value
    return total


def _mean(x: Sequence[AnyNumber]) -> float:
    return float32(_double_sum(x) / len(x)) if x else math.nan


def _std(x: Sequence[AnyNumber]) -> float:
    if not x:
        return math.nan
    mean = _double_sum(x) / len(x)
    variance = _double_sum([(value - mean) ** 2 for value in x]) / len(x)
    return float32(math.sqrt(variance))


def _extreme(x: Sequence[AnyNumber], better: Callable[[AnyNumber, AnyNumber], AnyNumber]) -> float:
    if not x:
        return math.nan
    best = x[0]
    for value in x[1:]:
        best = better(best, value)
    return float32(best)


def _quantile(x: Sequence[AnyNumber], q: AnyNumber) -> float:
    """Linear interpolation between the two numbers next to the place q * (n - 1) of the sorted x."""
    ordered = sorted(float32(value) for value in x if value == value)
    if len(ordered) < len(x) or not ordered or not 0 <= q <= 1:
        return math.nan
    place = float32(q) * (len(ordered) - 1)
    below = math.floor(place)
    low, high, part = ordered[below], ordered[min(below + 1, len(ordered) - 1)], place - below
    return low if part == 0 or low == high else float32(low + (high - low) * part)


def _over(x: Sequence[AnyNumber], mask: Sequence[bool]) -> list[AnyNumber]:
    return [value for value, chosen in zip(x, mask, strict=True) if chosen]


# Each input has one value for each position.
ROWS: Mapping[str, Callable[..., Any]] = {
    "orelse": lambda a, b: a if any(a) else b,
    "any": any,
    "count": sum,
    "sum": lambda x, mask: _sum(_over(x, mask)),
    "mean": lambda x, mask: _mean(_over(x, mask)),
    "std": lambda x, mask: _std(_over(x, mask)),
    "quantile": lambda x, mask, q: _quantile(_over(x, mask), q),
    "least": lambda x, mask: _extreme(_over(x, mask), smaller),
    "greatest": lambda x, mask: _extreme(_over(x, mask), larger),
}
