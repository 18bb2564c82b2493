"""The meaning of the operations on orders: the positions from the best score to the worst, and selections
along them.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..language.arithmetic import AnyNumber, are_ints, float32, int64, larger, less, quotient


@dataclass(frozen=True, slots=True)
class Order:
    """The positions of a window of `length`, from best to worst: one list for each run; one list if there are
    no runs.
    """

    runs: Sequence[Sequence[int]]
    length: int


def _order(mask: Sequence[bool], score: Sequence[AnyNumber], run_of: Sequence[int] | None = None) -> Order:
    """The best score first. Equal scores keep the order of the positions; a score without a value (NaN) is
    the worst.
    """

    def badness(position: int) -> tuple[AnyNumber, int]:
        value = score[position]
        return (math.inf if value != value else -value, position)

    members = sorted((i for i, chosen in enumerate(mask) if chosen), key=badness)
    if run_of is None:
        return Order([members], len(mask))
    runs = sorted({run for run in run_of if run >= 0})
    return Order([[i for i in members if run_of[i] == run] for run in runs], len(mask))


def _rank(order: Order) -> list[int]:
    """The rank of each position, 0 outside the order."""
    ranks = [0] * order.length
    for run in order.runs:
        for rank, position in enumerate(run, 1):
            ranks[position] = rank
    return ranks


def _running(
    order: Order, x: Sequence[AnyNumber], combine: Callable[[AnyNumber, AnyNumber], AnyNumber]
) -> list[AnyNumber]:
    """The values of x, combined from the first position of a run to each position; 0 outside the order."""
    result: list[AnyNumber] = [0 if are_ints(*x) else 0.0] * order.length
    for run in order.runs:
        total: AnyNumber = None
        for position in run:
            total = x[position] if total is None else combine(total, x[position])
            # The running sum stays in double precision; each result is rounded.
            result[position] = int64(total) if are_ints(total) else float32(total)
    return result


def _prefix(order: Order, condition: Sequence[bool]) -> list[bool]:
    chosen = [False] * order.length
    for run in order.runs:
        for position in run:
            if not condition[position]:
                break
            chosen[position] = True
    return chosen


def _top(order: Order, k: int) -> list[bool]:
    chosen = [False] * order.length
    for run in order.runs:
        for position in run[: max(0, k)]:
            chosen[position] = True
    return chosen


ScoresByPosition = dict[int, AnyNumber]


def _driven_out(scores: ScoresByPosition, pick: int, width: AnyNumber) -> ScoresByPosition:
    return {i: score for i, score in scores.items() if not less(abs(i - pick), width)}


def _weakened(scores: ScoresByPosition, pick: int, width: AnyNumber) -> ScoresByPosition:
    def kernel(distance: int) -> float:
        # 1 - exp(-d² / width²), without cancellation far inside the width.
        return float32(-math.expm1(-quotient(distance**2, float32(width) ** 2)))

    return {i: float32(float32(score) * kernel(i - pick)) for i, score in scores.items()}


def thin(
    mask: Sequence[bool],
    score: Sequence[AnyNumber],
    condition: Sequence[bool],
    width: AnyNumber,
    *,
    at_most: int,
    after_pick: Callable[[ScoresByPosition, int, AnyNumber], ScoresByPosition] = _driven_out,
) -> list[bool]:
    """Picks one position after the other. Each pick changes the scores of the remaining positions."""
    chosen = [False] * len(mask)
    running = {i: score[i] for i, may in enumerate(mask) if may}
    for _ in range(at_most):
        hopeful = [i for i in running if running[i] > 0]
        if not hopeful:
            break
        pick = min(hopeful, key=lambda i: (-running[i], i))
        if not condition[pick]:
            break
        chosen[pick] = True
        del running[pick]
        running = after_pick(running, pick, width)
    return chosen


def thin_by_kernel(
    mask: Sequence[bool],
    score: Sequence[AnyNumber],
    condition: Sequence[bool],
    width: AnyNumber,
    *,
    at_most: int,
) -> list[bool]:
    """`thin` with a kernel: a pick lowers the scores around it, so scores are reals."""
    return thin(
        mask, [float32(value) for value in score], condition, width, at_most=at_most, after_pick=_weakened
    )


ORDERS: Mapping[str, Callable[..., Any]] = {
    "order": _order,
    "rank": _rank,
    "cumsum": lambda order, x: _running(order, x, operator.add),
    "cummax": lambda order, x: _running(order, x, larger),
    "prefix": _prefix,
    "top": _top,
}
