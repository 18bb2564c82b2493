"""Operations on numbers, and reductions over a mask, as torch expressions over all rows and positions at
once.

Shapes: B rows, T window positions; `module` describes the shapes of values. A real result is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .module_geometry import in_pairs
from .module_schedules import cosine_left
from .numerics import Numerics

LARGEST_INT = 1e18  # the largest int that a real is rounded to; exact as a double


def _real(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.float()


def _widely(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function in double precision, rounded once, if the form has doubles.

    The float32 functions differ from one machine to the next.
    """
    return lambda form, *inputs: function(*(_real(x).to(form.wide) for x in inputs)).float()


def _are_ints(a: Tensor, b: Tensor) -> bool:
    return not (a.is_floating_point() or b.is_floating_point())


def _by_ints(
    a: Tensor, b: Tensor, function: Callable[[Tensor, Tensor], Tensor], by_minus_one: Tensor
) -> Tensor:
    """A division of ints without the two cases that end the process: by 0, and of the smallest int by -1."""
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
    # A number without a value (NaN) is neither equal to another number nor different from it.
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
# The functions take the form (`Numerics`) before their inputs.
ELEMENTWISE_IN_FORM: Mapping[str, Callable[..., Tensor]] = {
    "power": _widely(torch.pow),
    "exp": _widely(torch.exp),
    "log": _widely(torch.log),
    "sqrt": _widely(torch.sqrt),
    "cosine_left": cosine_left,
    "floor": _whole(torch.floor),
    "ceil": _whole(torch.ceil),
    "truncate": _whole(torch.trunc),
}


def _wide_sum(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x.to(form.wide), 0.0).sum(1, keepdim=True)


def _wide_mean(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    return _wide_sum(form, x, mask) / mask.sum(1, keepdim=True)  # an empty mask gives 0 / 0: no value


def _sum(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    if x.is_floating_point():
        return _wide_sum(form, x, mask).float()
    return torch.where(mask, x, 0).sum(1, keepdim=True)


def _std(form: Numerics, x: Tensor, mask: Tensor) -> Tensor:
    return _wide_mean(form, (x.to(form.wide) - _wide_mean(form, x, mask)).square(), mask).sqrt().float()


def _ascending(form: Numerics, x: Tensor) -> Callable[[Tensor], Tensor]:
    """A function from places `[B, 1]`, 0 for the smallest, to the numbers of x `[B, T]` at these places."""
    if not in_pairs(form, x.shape[1]):
        ordered = x.sort(1).values
        return lambda place: ordered.gather(1, place)
    at = torch.arange(x.shape[1], device=x.device)
    # Stacked, so that a compiler computes x once and not for every pair.
    one, other = torch.stack([x, x]).unbind()
    one, other = one.unsqueeze(2), other.unsqueeze(1)
    before = (other < one) | ((other == one) & (at < at.unsqueeze(1)))
    places = before.sum(2)
    return lambda place: torch.where(places == place, x, 0).sum(1, keepdim=True)


def _quantile(form: Numerics, x: Tensor, mask: Tensor, q: Tensor) -> Tensor:
    x, q = _real(x), _real(q)
    known = (q >= 0) & (q <= 1) & mask.any(1, keepdim=True) & ~(mask & x.isnan()).any(1, keepdim=True)
    of = _ascending(form, torch.where(mask & ~x.isnan(), x, float("inf")))
    last = (mask.sum(1, keepdim=True) - 1).clamp(min=0)
    place = torch.where(known, q, 0).to(form.wide) * last.to(form.wide)
    below = place.floor()
    part, at = place - below, below.long()
    low, high = of(at).to(form.wide), of((at + 1).minimum(last)).to(form.wide)
    between = torch.where((part == 0) | (low == high), low, low + (high - low) * part).float()
    return torch.where(known, between, float("nan"))


def _or_no_value(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.any(1, keepdim=True), x, float("nan"))


# From `[B, T]` to `[B, 1]`; `orelse` gives `[B, T]`.
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
# The functions take the form (`Numerics`) before their inputs.
ROWS_IN_FORM: Mapping[str, Callable[..., Tensor]] = {
    "sum": _sum,
    "mean": lambda form, x, mask: _wide_mean(form, x, mask).float(),
    "std": _std,
    "quantile": _quantile,
}
