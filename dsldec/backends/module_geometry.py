"""Operations on where positions lie, as torch expressions: scans over indices instead of walks.

Shapes: B rows, T window positions; masks are `[B, T]`, what there is one of in a row `[B, 1]` or 0-d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def _places(mask: Tensor) -> Tensor:
    """0, 1, ... `[T]`."""
    return torch.arange(mask.shape[1], device=mask.device)


def _last_at(mask: Tensor) -> Tensor:
    """The nearest position of the mask at or left of each, -1 if none."""
    return torch.where(mask, _places(mask), -1).cummax(1).values


def _next_at(mask: Tensor) -> Tensor:
    """The nearest position of the mask at or right of each, T if none."""
    return torch.where(mask, _places(mask), mask.shape[1]).flip(1).cummin(1).values.flip(1)


def _next_after(mask: Tensor) -> Tensor:
    """The nearest position of the mask right of each, T if none."""
    return torch.nn.functional.pad(_next_at(mask)[:, 1:], (0, 1), value=mask.shape[1])


def _neighbour(mask: Tensor, right: int) -> Tensor:
    """Whether the position `right` of each (1 or -1) is in the mask."""
    there = _places(mask) + right
    return mask.roll(-right, 1) & (there >= 0) & (there < mask.shape[1])


def _firsts(mask: Tensor) -> Tensor:
    return mask & ~_neighbour(mask, -1)


def _begin(mask: Tensor) -> Tensor:
    """Where the run of each of the mask's positions begins."""
    return _last_at(_firsts(mask))


def _end(mask: Tensor) -> Tensor:
    """Where it ends: its last position."""
    return _next_at(mask & ~_neighbour(mask, 1))


def _reach(mask: Tensor, over: Tensor, gap: Tensor, apart: Tensor) -> Tensor:
    """Where a walk to the right ends that starts at each position; only those of the runs' last positions mean anything."""
    places, length = _places(mask), mask.shape[1]
    ahead = _next_after(over)
    stuck = (ahead == length) | (ahead - places > gap.clamp(0, length) + 1)
    free = torch.where(stuck, places, _next_after(over & stuck))
    # Kept apart, a walk that would have gone on ends on the last pass before the next run.
    fence = torch.where(apart, _next_after(_firsts(mask)) - 1, length - 1)
    before_fence = torch.maximum(_last_at(over).gather(1, fence), places)
    return torch.where(free > fence, before_fence, free)


def _grow(mask: Tensor, left: Tensor, right: Tensor, gap: Tensor, apart: Tensor, trim: Tensor) -> Tensor:
    """Both ends of each run walk and are cut back; what is inside any of them is grown."""
    length = mask.shape[1]
    # One walk for both ends, the left one's on a mirrored window: half the scans.
    masks, over = torch.cat([mask.flip(1), mask]), torch.cat([left.flip(1), right])
    gap, apart = (x.expand(len(mask), 1).repeat(2, 1) for x in (gap, apart))
    to_left, to_right = _reach(masks, over, gap, apart).chunk(2)
    begin, end = length - 1 - to_left.flip(1), to_right.gather(1, _end(mask).clamp(max=length - 1))
    first, last = _next_at(trim).gather(1, begin), _last_at(trim).gather(1, end)
    inside = (first.unsqueeze(2) <= _places(mask)) & (_places(mask) <= last.unsqueeze(2))  # [B, T, T]: of each run's first position
    return (_firsts(mask).unsqueeze(2) & inside).any(1)


def _trim(mask: Tensor, to: Tensor) -> Tensor:
    return mask & (_last_at(to) >= _begin(mask)) & (_next_at(to) <= _end(mask))


def _runs_holding(mask: Tensor, seed: Tensor) -> Tensor:
    return mask & ((_last_at(seed) >= _begin(mask)) | (_next_at(seed) <= _end(mask)))


def _shift(x: Tensor, n: Tensor) -> Tensor:
    length = x.shape[1]
    source = _places(x) - n.clamp(-length, length)
    nothing = float("nan") if x.is_floating_point() else 0
    moved = x.gather(1, source.clamp(0, length - 1).expand_as(x))
    return torch.where((source >= 0) & (source < length), moved, torch.full_like(x, nothing))


def _shift_distributions(x: Tensor, n: Tensor) -> Tensor:
    """As `_shift`, of `x [B, T, V]`."""
    rows, length, ids = x.shape
    source = torch.arange(length, device=x.device) - n.clamp(-length, length).expand(rows, 1)
    moved = x.gather(1, source.clamp(0, length - 1).unsqueeze(2).expand(rows, length, ids))
    return torch.where(((source >= 0) & (source < length)).unsqueeze(2), moved, float("nan"))


def _distance(mask: Tensor) -> Tensor:
    places, length = _places(mask), mask.shape[1]
    last, ahead = _last_at(mask), _next_at(mask)
    to_left = torch.where(last >= 0, places - last, length)
    to_right = torch.where(ahead < length, ahead - places, length)
    return torch.where(mask.any(1, keepdim=True), torch.minimum(to_left, to_right).float(), float("nan"))


def _density(mask: Tensor, sigma: Tensor) -> Tensor:
    places, sigma = _places(mask), sigma.float().double()
    distance = places.double()  # of T kinds only: the exponential is not computed for each pair
    normal = torch.exp(-(distance.square() / (2 * sigma.square()))) / (sigma * math.sqrt(2 * math.pi))
    apart = (places.unsqueeze(1) - places).abs()
    of_pair = normal.expand_as(mask)[:, apart]  # [B, T, T]
    return torch.where(mask.unsqueeze(1), of_pair, 0.0).sum(2).float()


GEOMETRY: Mapping[str, Callable[..., Tensor]] = {
    "runs": lambda mask: torch.where(mask, _begin(mask), -1),
    "run_count": lambda mask: _firsts(mask).sum(1, keepdim=True),
    "run_length": lambda mask: torch.where(mask, _end(mask) - _begin(mask) + 1, 0),
    "runs_holding": _runs_holding,
    "grow": _grow,
    "trim": _trim,
    "shift": _shift,
    "shift_distributions": _shift_distributions,
    "distance": _distance,
    "density": _density,
}
