"""The calls of an eager step for operations on orders: one maximum instead of a sort where the best position
is enough, else two sorts.

The results equal those of `module_orders`, bit for bit. Shapes: see `eager_graph`. Not here: orders in runs
and orders by ints, which an eager step computes like a compiled step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..language.words import Extent
from .eager_graph import EagerGraph, EagerNode
from .eager_values import BOOL, DOUBLE, INT, REAL, any_, where

# Keys lower than any score: of positions without a value, and of positions outside the order. No float32 is
# between -inf and the lowest finite one, so scores that may be negative are compared as doubles.
NO_VALUE, OUTSIDE = -1.0, -2.0
NO_VALUE_WIDE, OUTSIDE_WIDE = -1e300, float("-inf")


@dataclass(frozen=True, slots=True)
class EagerOrder:
    """The positions of a mask by a score. `whole` makes the order of `module_orders`."""

    mask: EagerNode
    score: EagerNode
    run: EagerNode | None
    whole: Callable[[], EagerNode]

    @property
    def by_key(self) -> bool:
        """Whether one number for each position decides the order."""
        return self.run is None and self.score.is_real


# --- calls


def with_value(score: Tensor) -> Tensor:
    return score.nan_to_num(NO_VALUE, float("inf"))


def with_value_wide(score: Tensor) -> Tensor:
    return score.nan_to_num(NO_VALUE_WIDE, float("inf"), NO_VALUE_WIDE)


def best_of(key: Tensor) -> Tensor:
    """The first of the best positions, `[B, 1]`."""
    return key.argmax(1, keepdim=True)


def sorted_positions(key: Tensor) -> Tensor:
    return key.sort(dim=1, descending=True, stable=True)[1]


def inverse(positions: Tensor) -> Tensor:
    return positions.argsort(1)


def in_order(x: Tensor, positions: Tensor) -> Tensor:
    return x.gather(1, positions)


def running_sum(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.cumsum(1, dtype=dtype)


def running_max(x: Tensor) -> Tensor:
    return x.cummax(1)[0]


# --- parts of an order


def _key(g: EagerGraph, order: EagerOrder) -> EagerNode:
    """A score for each position, without NaN, and lower outside the order than inside."""
    score = g.full(order.score)
    if order.score.nonnegative:
        valued = g.call(with_value, score, extent=Extent.POSITION, dtype=REAL)
        outside = g.number(OUTSIDE, REAL)
    else:
        valued = g.call(with_value_wide, g.cast(score, DOUBLE), extent=Extent.POSITION, dtype=DOUBLE)
        outside = g.number(OUTSIDE_WIDE, DOUBLE)
    assert valued.dtype is not None
    return g.elementwise(torch.where, order.mask, valued, outside, dtype=valued.dtype)


def _positions(g: EagerGraph, order: EagerOrder) -> EagerNode:
    """The positions from the best to the worst; those outside the order last."""
    return g.call(sorted_positions, _key(g, order), extent=Extent.POSITION, dtype=INT)


def _place(g: EagerGraph, order: EagerOrder) -> EagerNode:
    """The place of each position, 0 for the best."""
    return g.call(inverse, _positions(g, order), extent=Extent.POSITION, dtype=INT)


def _is_sorted(g: EagerGraph, order: EagerOrder) -> bool:
    key = _key(g, order)
    return (sorted_positions, (EagerNode, key), INT) in g.known


def _best(g: EagerGraph, order: EagerOrder) -> EagerNode:
    """The best position of each row, none in a row without positions."""
    if _is_sorted(g, order):
        is_best = g.elementwise(torch.eq, _place(g, order), g.number(0, INT), dtype=BOOL)
    else:
        best = g.call(best_of, _key(g, order), extent=Extent.POSITION, dtype=INT)
        is_best = g.call(torch.eq, g.places(), best, extent=Extent.POSITION, dtype=BOOL)
    return _inside(g, order, is_best)


def _inside(g: EagerGraph, order: EagerOrder, chosen: EagerNode) -> EagerNode:
    within = order.mask.inside
    return g.elementwise(torch.logical_and, chosen, order.mask, dtype=BOOL, within=within)


# --- operations


def top(g: EagerGraph, order: EagerOrder, k: EagerNode) -> EagerNode | None:
    if not order.by_key:
        return None
    if k.number is not None and k.number <= 0:
        return g.number(False, BOOL)
    if k.number is not None and k.number >= g.length:
        return order.mask
    if k.number == 1:
        return _best(g, order)
    return _inside(g, order, g.elementwise(torch.lt, _place(g, order), k, dtype=BOOL))


def rank(g: EagerGraph, order: EagerOrder) -> EagerNode | None:
    if not order.by_key:
        return None
    rank = g.elementwise(torch.add, _place(g, order), g.number(1, INT), dtype=INT)
    return g.elementwise(torch.where, order.mask, rank, g.number(0, INT), dtype=INT)


def prefix(g: EagerGraph, order: EagerOrder, condition: EagerNode) -> EagerNode | None:
    """The positions before the first one that fails."""
    if not order.by_key:
        return None
    place, mask = _place(g, order), order.mask
    fails = g.elementwise(torch.gt, mask, condition, dtype=BOOL)
    failed = g.elementwise(torch.where, fails, place, g.number(g.length, INT), dtype=INT)
    first = g.call(least_place, failed, extent=Extent.POSITION, dtype=INT)
    before = g.call(torch.lt, place, first, extent=Extent.POSITION, dtype=BOOL)
    return _inside(g, order, before)


def least_place(x: Tensor) -> Tensor:
    return x.amin(1, keepdim=True)


def cumsum(g: EagerGraph, order: EagerOrder, x: EagerNode) -> EagerNode | None:
    if not order.by_key:
        return None
    assert x.dtype is not None
    members = g.elementwise(torch.where, order.mask, x, g.number(0, x.dtype), dtype=x.dtype)
    total = _scanned(g, order, members, running_sum, DOUBLE if x.is_real else INT)
    return _or_zero(g, order, g.cast(total, x.dtype))


def cummax(g: EagerGraph, order: EagerOrder, x: EagerNode) -> EagerNode | None:
    if not order.by_key:
        return None
    return _or_zero(g, order, _scanned(g, order, g.full(x), running_max, x.dtype))


def _scanned(
    g: EagerGraph, order: EagerOrder, x: EagerNode, scan: Callable[..., Tensor], dtype: torch.dtype | None
) -> EagerNode:
    """x combined with all better positions."""
    ordered = g.call(in_order, x, _positions(g, order), extent=Extent.POSITION, dtype=x.dtype)
    more = [dtype] if scan is running_sum else []
    scanned = g.call(scan, ordered, *more, extent=Extent.POSITION, dtype=dtype)
    return g.call(in_order, scanned, _place(g, order), extent=Extent.POSITION, dtype=dtype)


def _or_zero(g: EagerGraph, order: EagerOrder, x: EagerNode) -> EagerNode:
    assert x.dtype is not None
    return g.elementwise(torch.where, order.mask, x, g.number(0, x.dtype), dtype=x.dtype)


def at_least_one(g: EagerGraph, chosen: EagerNode, order: EagerOrder) -> EagerNode | None:
    """`chosen`, and in rows without any the best position of the order."""
    if not order.by_key:
        return None
    return where(g, any_(g, chosen), chosen, _best(g, order), BOOL)


ORDERS_EAGER: Mapping[str, Callable[..., EagerNode | None]] = {
    "rank": rank,
    "top": top,
    "prefix": prefix,
    "cumsum": cumsum,
    "cummax": cummax,
}
