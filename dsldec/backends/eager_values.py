"""The calls of an eager step for operations on numbers and masks, with as few calls as torch allows.

The results equal those of `module_numbers`, bit for bit. Shapes: see `eager_graph`. Not here: orders
(`eager_orders`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..ir.nodes import Operation
from ..language.words import Extent
from .eager_graph import EagerGraph, EagerNode
from .module_numbers import ELEMENTWISE
from .step import DTYPES

BOOL, INT, REAL, DOUBLE = torch.bool, torch.int64, torch.float32, torch.float64


def dtype_of(operation: Operation) -> torch.dtype:
    return DTYPES.get(operation.kind, REAL)


# --- calls


def as_int(x: Tensor) -> Tensor:
    return x.long()


def any_of(mask: Tensor) -> Tensor:
    return mask.any(1)


def count_of(mask: Tensor) -> Tensor:
    return mask.sum(1)


def sum_of(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x.sum(1, dtype=dtype)


def least_of(x: Tensor) -> Tensor:
    return x.amin(1)


def greatest_of(x: Tensor) -> Tensor:
    return x.amax(1)


def floor_divided(a: Tensor, b: Tensor) -> Tensor:
    return torch.div(a, b, rounding_mode="floor")


def selected(condition: Tensor, then: Tensor, otherwise: Tensor) -> Tensor:
    """`where` with a condition per row. `eager_schedule` replaces it."""
    raise NotImplementedError


# --- conditions


def not_(g: EagerGraph, x: EagerNode) -> EagerNode:
    if x.number is not None:
        return g.number(not x.number, BOOL)
    if x.function is torch.logical_not:
        inner: EagerNode = x.args[0]
        return inner
    return g.call(torch.logical_not, x, extent=x.extent, dtype=BOOL)


def and_(g: EagerGraph, a: EagerNode, b: EagerNode) -> EagerNode:
    for one, other in ((a, b), (b, a)):
        if one.number is not None:
            return other if one.number else one
        if one in other.inside:
            return other
    for one, other in ((a, b), (b, a)):
        if other.function is torch.logical_not:  # a and not b, in one call
            return g.elementwise(torch.gt, one, other.args[0], dtype=BOOL, within=one.inside)
    return g.elementwise(torch.logical_and, a, b, dtype=BOOL, within=a.inside | b.inside)


def or_(g: EagerGraph, a: EagerNode, b: EagerNode) -> EagerNode:
    for one, other in ((a, b), (b, a)):
        if one.number is not None:
            return one if one.number else other
        if other in one.inside:
            return other
    for one, other in ((a, b), (b, a)):
        if other.function is torch.logical_not:
            return g.elementwise(torch.ge, one, other.args[0], dtype=BOOL)
    return g.elementwise(torch.logical_or, a, b, dtype=BOOL, within=a.inside & b.inside)


def any_(g: EagerGraph, mask: EagerNode) -> EagerNode:
    if mask.number is not None:
        return mask
    return g.call(any_of, g.full(mask), extent=Extent.ROW, dtype=BOOL)


def count(g: EagerGraph, mask: EagerNode) -> EagerNode:
    if mask.number is not None:
        return g.number(g.length if mask.number else 0, INT)
    return g.call(count_of, g.full(mask), extent=Extent.ROW, dtype=INT)


# --- a choice of two values


def where(
    g: EagerGraph, condition: EagerNode, then: EagerNode, otherwise: EagerNode, dtype: torch.dtype
) -> EagerNode:
    if condition.number is not None:
        return g.cast(then if condition.number else otherwise, dtype)
    then, otherwise = g.cast(then, dtype), g.cast(otherwise, dtype)
    if then is otherwise:
        return then
    if dtype is BOOL and (then.number is not None or otherwise.number is not None):
        return _of_conditions(g, condition, then, otherwise)
    if dtype is INT and (then.number, otherwise.number) == (1, 0):
        return g.call(as_int, condition, extent=condition.extent, dtype=INT)
    if condition.extent is not Extent.ROW or condition.constant is not None:
        return g.elementwise(torch.where, condition, then, otherwise, dtype=dtype)
    if _changes_nothing_else(condition, then, otherwise):
        return then
    extent, within = max(then.extent, otherwise.extent, Extent.ROW), then.inside & otherwise.inside
    return g.call(selected, condition, then, otherwise, extent=extent, dtype=dtype, within=within)


def _of_conditions(g: EagerGraph, condition: EagerNode, then: EagerNode, otherwise: EagerNode) -> EagerNode:
    """A choice between a known condition and another one."""
    if then.number is not None:
        if then.number:
            return or_(g, condition, otherwise)
        return and_(g, otherwise, not_(g, condition))
    if otherwise.number:
        return or_(g, then, not_(g, condition))
    return and_(g, condition, then)


def _changes_nothing_else(condition: EagerNode, then: EagerNode, otherwise: EagerNode) -> bool:
    """Whether `then` is `otherwise` with writes, and the rows without the condition have none."""
    return (
        then.function is torch.where
        and then.args[2] is otherwise
        and condition.function is any_of
        and condition.args[0] in then.args[0].inside
    )


# --- operations


def _arithmetic(function: Callable[..., Tensor]) -> Callable[..., EagerNode]:
    def made(g: EagerGraph, operation: Operation, *operands: EagerNode) -> EagerNode:
        natural = REAL if any(x.is_real for x in operands) else INT
        return g.cast(g.elementwise(function, *operands, dtype=natural), dtype_of(operation))

    return made


def _add(g: EagerGraph, operation: Operation, a: EagerNode, b: EagerNode) -> EagerNode:
    for one, other in ((a, b), (b, a)):
        if other.function is as_int and one.dtype is INT:  # a condition counts as 1
            return g.cast(g.elementwise(torch.add, one, other.args[0], dtype=INT), dtype_of(operation))
    return _arithmetic(torch.add)(g, operation, a, b)


def _divide(g: EagerGraph, operation: Operation, a: EagerNode, b: EagerNode) -> EagerNode:
    return g.elementwise(torch.true_divide, a, b, dtype=REAL)


def _quotient(name: str, of_positive: Callable[..., Tensor]) -> Callable[..., EagerNode]:
    """A division of ints, with fewer calls if the divisor is surely 1 or more."""

    def made(g: EagerGraph, operation: Operation, a: EagerNode, b: EagerNode) -> EagerNode:
        ints = a.dtype is INT and b.dtype is INT
        function = of_positive if ints and _positive(b) else ELEMENTWISE[name]
        return _arithmetic(function)(g, operation, a, b)

    return made


def _positive(x: EagerNode) -> bool:
    if x.number is None and x.function is torch.maximum:
        return any(isinstance(a, EagerNode) and a.number is not None and a.number >= 1 for a in x.args)
    return x.number is not None and x.number >= 1


def _comparison(function: Callable[..., Tensor]) -> Callable[..., EagerNode]:
    return lambda g, operation, a, b: g.elementwise(function, a, b, dtype=BOOL)


def _not_equal(g: EagerGraph, operation: Operation, a: EagerNode, b: EagerNode) -> EagerNode:
    if not (a.is_real or b.is_real):  # an int always has a value
        return g.elementwise(torch.ne, a, b, dtype=BOOL)
    less, greater = g.elementwise(torch.lt, a, b, dtype=BOOL), g.elementwise(torch.gt, a, b, dtype=BOOL)
    return g.elementwise(torch.logical_or, less, greater, dtype=BOOL)


def _wide_sum(g: EagerGraph, x: EagerNode, mask: EagerNode, dtype: torch.dtype) -> EagerNode:
    assert x.dtype is not None
    chosen = g.elementwise(torch.where, g.full(mask), x, g.number(0, x.dtype), dtype=x.dtype)
    return g.call(sum_of, chosen, dtype, extent=Extent.ROW, dtype=dtype)


def _sum(g: EagerGraph, operation: Operation, x: EagerNode, mask: EagerNode) -> EagerNode:
    if x.dtype is INT:
        return _wide_sum(g, x, mask, INT)
    return g.cast(_wide_sum(g, x, mask, DOUBLE), REAL)


def _mean(g: EagerGraph, operation: Operation, x: EagerNode, mask: EagerNode) -> EagerNode:
    mean = g.elementwise(torch.true_divide, _wide_sum(g, x, mask, DOUBLE), count(g, mask), dtype=DOUBLE)
    return g.cast(mean, REAL)


def _extreme(function: Callable[..., Tensor], worst: float) -> Callable[..., EagerNode]:
    def made(g: EagerGraph, operation: Operation, x: EagerNode, mask: EagerNode) -> EagerNode:
        mask = g.full(mask)
        chosen = g.elementwise(torch.where, mask, g.cast(x, REAL), g.number(worst, REAL), dtype=REAL)
        found = g.call(function, chosen, extent=Extent.ROW, dtype=REAL)
        return g.elementwise(torch.where, any_(g, mask), found, g.number(float("nan"), REAL), dtype=REAL)

    return made


def _write(
    g: EagerGraph, operation: Operation, canvas: EagerNode, mask: EagerNode, ids: EagerNode
) -> EagerNode:
    return where(g, g.full(mask), ids, canvas, INT)


VALUES: Mapping[str, Callable[..., EagerNode]] = {
    "negate": _arithmetic(torch.neg),
    "absolute": _arithmetic(torch.abs),
    "add": _add,
    "subtract": _arithmetic(torch.sub),
    "multiply": _arithmetic(torch.mul),
    "minimum": _arithmetic(torch.minimum),
    "maximum": _arithmetic(torch.maximum),
    "divide": _divide,
    "floor_divide": _quotient("floor_divide", floor_divided),
    "remainder": _quotient("remainder", torch.remainder),
    "less": _comparison(torch.lt),
    "less_equal": _comparison(torch.le),
    "greater": _comparison(torch.gt),
    "greater_equal": _comparison(torch.ge),
    "equal": _comparison(torch.eq),
    "not_equal": _not_equal,
    "not": lambda g, operation, x: not_(g, x),
    "and": lambda g, operation, a, b: and_(g, a, b),
    "or": lambda g, operation, a, b: or_(g, a, b),
    "where": lambda g, operation, c, a, b: where(g, c, a, b, dtype_of(operation)),
    "real": lambda g, operation, x: g.cast(x, REAL),
    "orelse": lambda g, operation, a, b: where(g, any_(g, a), g.full(a), g.full(b), BOOL),
    "any": lambda g, operation, mask: any_(g, mask),
    "count": lambda g, operation, mask: count(g, mask),
    "sum": _sum,
    "mean": _mean,
    "least": _extreme(least_of, float("inf")),
    "greatest": _extreme(greatest_of, float("-inf")),
    "write": _write,
    "erase": lambda g, operation, canvas, mask: where(g, g.full(mask), g.number(g.mask_id, INT), canvas, INT),
    "is_mask": lambda g, operation, canvas: g.elementwise(
        torch.eq, canvas, g.number(g.mask_id, INT), dtype=BOOL
    ),
}
