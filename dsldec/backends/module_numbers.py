"""Operations on numbers, and reductions over a mask, as torch expressions over all rows and positions at
once.

Shapes: B rows, T window positions; inputs as `module` holds them. A result with a fraction is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .numerics import Numerics

LARGEST_INT = 1e18  # of a real made an int; as a double it is exact


def _real(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


def _widely(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Computed in double precision and rounded once, where the form has it: float32 functions differ from one
    machine to the next.
    """
    return lambda form, *inputs: function(*(_real(x).to(form.wide) for x in inputs)).float()


def _are_ints(a: Tensor, b: Tensor) -> bool:
    return not (a.is_floating_point() or b.is_floating_point())


def _by_ints(
    a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor], by_minus_one: Tensor
) -> Tensor:
    """Division by 0 and of the smallest int by -1 would stop the program: both are answered without it."""
    special = (b == 0) | (b == -1)
    whole = function(a, torch.where(special, 1, b))
    return torch.where(b == 0, 0, torch.where(b == -1, by_minus_one, whole))


def _floor_divide(a: Tensor, b: Tensor) -> Tensor:
    if _are_ints(a, b):
        return _by_ints(a, b, lambda a, b: torch.div(a, b, rounding_mode="floor"), -a)
    return torch.true_divide(a, b).floor()


def _remainder(a: Tensor, b: Tensor) -> Tensor:
    if _are_ints(a, b):
        return _by_ints(a, b, torch.remainder, torch.zeros_like(a))
    return a - b * _floor_divide(a, b)


def _whole(rounding: Callable[[Tensor], Tensor]) -> Callable[[Numerics, Tensor], Tensor]:
    def apply(form: Numerics, a: Tensor) -> Tensor:
        if not a.is_floating_point():
            return a
        within = torch.where(a.isnan(), 0.0, a).to(form.wide).clamp(-LARGEST_INT, LARGEST_INT)
        return rounding(within).long()

    return apply


ELEMENTWISE: Mapping[str, Callable[..., Tensor]] = {
    "negate": torch.neg,
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.true_divide,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "equal": torch.eq,
    # What has no value (NaN) is not even different from anything.
    "not_equal": lambda a, b: (a < b) | (a > b),
    "not": torch.logical_not,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "absolute": torch.abs,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "where": torch.where,
    "real": _real,
}
# Called with the form before their inputs.
ELEMENTWISE_IN_FORM: Mapping[str, Callable[..., Tensor]] = {
    "power": _widely(torch.pow),
    "exp": _widely(torch.exp),
    "log": _widely(torch.log),
    "sqrt": _widely(torch.sqrt),
    "cos": _widely(torch.cos),
    "floor": _whole(torch.floor),
    "ceil": _whole(torch.ceil),
    "truncate": _whole(torch.trunc),
}


def _wide_sum(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x.to(form.wide), 0.0).sum(1, keepdim=True)


def _wide_mean(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    return _wide_sum(form, x, mask) / mask.sum(1, keepdim=True)  # 0 / 0 over nothing: no value


def _sum(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    if x.is_floating_point():
        return _wide_sum(form, x, mask).float()
    return torch.where(mask, x, 0).sum(1, keepdim=True)


def _std(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    return _wide_mean(form, (x.to(form.wide) - _wide_mean(form, x, mask)).square(), mask).sqrt().float()


def _or_no_value(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.any(1, keepdim=True), x, float("nan"))


# `[B, T]` to `[B, 1]`, `orelse` to `[B, T]`.
ROWS: Mapping[str, Callable[..., Tensor]] = {
    "orelse": lambda a, b: torch.where(a.any(1, keepdim=True), a, b),
    "any": lambda mask: mask.any(1, keepdim=True),
    "count": lambda mask: mask.sum(1, keepdim=True),
    "least": lambda x, mask: _or_no_value(
        torch.where(mask, _real(x), float("inf")).amin(1, keepdim=True), mask
    ),
    "greatest": lambda x, mask: _or_no_value(
        torch.where(mask, _real(x), float("-inf")).amax(1, keepdim=True), mask
    ),
}
# Called with the form before their inputs.
ROWS_IN_FORM: Mapping[str, Callable[..., Tensor]] = {
    "sum": _sum,
    "mean": lambda form, x, mask: _wide_mean(form, x, mask).float(),
    "std": _std,
}
