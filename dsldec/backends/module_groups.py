"""The reductions by group as torch expressions: each position with every other in short windows, a sort and a
scan in long ones.

Shapes: B rows, T window positions. Inputs and results are `[B, T]`. A group is an int of 0 or more; positions
below 0 are in no group. Not here: the reductions of a whole row (`module_numbers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .module_geometry import in_pairs
from .numerics import Numerics

NO_GROUP = -1


@dataclass(frozen=True, slots=True)
class _Reduction:
    """A sum or an extreme: of two numbers, of a whole dimension, and of nothing."""

    of_two: Callable[[Tensor, Tensor], Tensor]
    of_all: Callable[[Tensor], Tensor]
    of_none: float


_ADDED = _Reduction(torch.add, lambda x: x.sum(2), 0)
_SMALLEST = _Reduction(torch.minimum, lambda x: x.amin(2), float("inf"))
_LARGEST = _Reduction(torch.maximum, lambda x: x.amax(2), float("-inf"))


def _reduced(form: Numerics, of: _Reduction, x: Tensor, mask: Tensor, group: Tensor) -> Tensor:
    """The reduction of x over the mask in the group of each position; of nothing outside all groups."""
    x = torch.where(mask & (group >= 0), x, of.of_none)
    group = group.clamp(min=NO_GROUP)
    if in_pairs(form, x.shape[1]):
        same = (group.unsqueeze(1) == group.unsqueeze(2)) & (group >= 0).unsqueeze(2)
        return of.of_all(torch.where(same, x.unsqueeze(1), of.of_none))
    return _scanned(of, x, group)


def _scanned(of: _Reduction, x: Tensor, group: Tensor) -> Tensor:
    """As `_reduced`, for a long window: sorted by group, combined in log2(T) doublings, and put back."""
    group, positions = group.sort(dim=1, stable=True)
    x, places = x.gather(1, positions), torch.arange(x.shape[1], device=x.device)
    start = _firsts(group, places)
    end = (x.shape[1] - 1) - _firsts(group.flip(1), places).flip(1)
    reach = 1
    while reach < x.shape[1]:
        x = torch.where(places - reach >= start, of.of_two(x.roll(reach, 1), x), x)
        reach *= 2
    return x.gather(1, end).gather(1, positions.argsort(1))


def _firsts(group: Tensor, places: Tensor) -> Tensor:
    """The first place of the group of each place, for sorted groups."""
    begins = (group != group.roll(1, 1)) | (places == 0)
    return torch.where(begins, places, 0).cummax(1).values


def _count(form: Numerics, mask: Tensor, group: Tensor) -> Tensor:
    return _reduced(form, _ADDED, torch.ones_like(group), mask, group)


def _sum(form: Numerics, x: Tensor, mask: Tensor, group: Tensor) -> Tensor:
    if x.is_floating_point():
        return _reduced(form, _ADDED, x.to(form.wide), mask, group).float()
    return _reduced(form, _ADDED, x, mask, group)


def _mean(form: Numerics, x: Tensor, mask: Tensor, group: Tensor) -> Tensor:
    total = _reduced(form, _ADDED, x.to(form.wide), mask, group)
    return (total / _count(form, mask, group)).float()  # without a position 0 / 0: no value


def _extreme(of: _Reduction) -> Callable[[Numerics, Tensor, Tensor, Tensor], Tensor]:
    def apply(form: Numerics, x: Tensor, mask: Tensor, group: Tensor) -> Tensor:
        found = _reduced(form, of, x if x.is_floating_point() else x.float(), mask, group)
        return torch.where(_count(form, mask, group) > 0, found, float("nan"))

    return apply


# The functions take the form (`Numerics`) before their inputs.
GROUPS_IN_FORM: Mapping[str, Callable[..., Tensor]] = {
    "group_any": lambda form, mask, group: _count(form, mask, group) > 0,
    "group_count": _count,
    "group_sum": _sum,
    "group_mean": _mean,
    "group_least": _extreme(_SMALLEST),
    "group_greatest": _extreme(_LARGEST),
}
