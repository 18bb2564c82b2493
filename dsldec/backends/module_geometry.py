"""Operations on positions and their distances, as torch expressions: scans over indices instead of loops.

Shapes: B rows, T window positions. Masks are `[B, T]`; a value per row is `[B, 1]`, a value per run is 0-d.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .numerics import Numerics

# In windows up to this length, every position is compared with every other. A compiled step does this in one
# of its loops, while each sort or scan is a library call. An eager step writes T * T numbers, so its limit is
# lower.
LONGEST_PAIRED, LONGEST_PAIRED_EAGER = 256, 64


def in_pairs(form: Numerics, length: int) -> bool:
    """Whether every position of a window of this length is compared with every other."""
    return form.pairs_only or length <= (
        LONGEST_PAIRED if torch.compiler.is_compiling() else LONGEST_PAIRED_EAGER
    )


def _places(mask: Tensor) -> Tensor:
    """0, 1, ... `[T]`, as int32: a vector register holds more of them."""
    return torch.arange(mask.shape[-1], device=mask.device, dtype=torch.int32)


def _last_at(form: Numerics, mask: Tensor) -> Tensor:
    """For each position: the nearest mask position at or left of it, -1 if there is none. The masks are
    `[..., T]`.
    """
    places = _places(mask)
    if not in_pairs(form, mask.shape[-1]):
        return torch.where(mask, places, -1).cummax(-1).values
    return torch.where(mask.unsqueeze(-2) & (places <= places.unsqueeze(1)), places, -1).amax(-1)


def _next_at(form: Numerics, mask: Tensor) -> Tensor:
    """For each position: the nearest mask position at or right of it, T if there is none. The masks are
    `[..., T]`.
    """
    places, length = _places(mask), mask.shape[-1]
    if not in_pairs(form, length):
        return torch.where(mask, places, length).flip(-1).cummin(-1).values.flip(-1)
    return torch.where(mask.unsqueeze(-2) & (places >= places.unsqueeze(1)), places, length).amin(-1)


def _last_before(form: Numerics, mask: Tensor) -> Tensor:
    """For each position: the nearest mask position strictly left of it, below 0 if there is none.

    The number is -2 for the first position.
    """
    places = _places(mask)
    if in_pairs(form, mask.shape[-1]):
        return torch.where(mask.unsqueeze(-2) & (places < places.unsqueeze(1)), places, -2).amax(-1)
    return torch.nn.functional.pad(_last_at(form, mask)[..., :-1], (1, 0), value=-2)


def _run_count(mask: Tensor) -> Tensor:
    starts = mask & ~(mask.roll(1, 1) & (_places(mask) > 0))
    return starts.sum(1, keepdim=True)


def _run_length(form: Numerics, mask: Tensor) -> Tensor:
    return torch.where(mask, _next_at(form, ~mask) - _last_at(form, ~mask) - 1, 0).long()


def _grow(
    form: Numerics, mask: Tensor, left: Tensor, right: Tensor, gap: Tensor, apart: Tensor, trim: Tensor
) -> Tensor:
    """The union of all runs after they grew: each end of a run moves outwards, and is then cut back to
    `trim`.

    The right ends are mirrored, so both ends move to the left, and the masks are `[2, B, T]`. The order of
    the runs does not change. So a position lies in a grown run if more runs begin at or before it than end
    before it.
    """
    places, most = _places(mask), gap.clamp(0, mask.shape[1]).int() + 1
    over, masks, trims = (_mirrored(*two) for two in ((left, right), (mask, mask), (trim, trim)))
    last_over, last_mask, last_trim = _last_before(form, torch.stack([over, masks, trims])).unbind()
    # The positions from which the next position of `over` is too far, or does not exist.
    stuck = (last_over < 0) | (places - last_over > most)
    # With `apart`, an end that could reach another run stops at the last accepted position before that run.
    to = torch.maximum(_last_at(form, stuck), torch.where(apart, last_mask + 1, 0))
    reached = _reached(form, over, to)
    ends = masks & (last_mask != places - 1)
    counts = _ends_within(form, ends, reached, torch.where(trims, places, last_trim))
    begun, not_ended = counts[0], counts[1].flip(1)
    return begun + not_ended > ends[0].sum(1, keepdim=True)


def _mirrored(left: Tensor, right: Tensor) -> Tensor:
    return torch.stack([left, right.flip(1)])


def _reached(form: Numerics, over: Tensor, to: Tensor) -> Tensor:
    """For each position: the lowest position of `over` from `to` on, or the position itself if that is
    lower.
    """
    places, length = _places(over), over.shape[-1]
    if in_pairs(form, length):
        far = torch.where(over.unsqueeze(-2) & (places >= to.unsqueeze(-1)), places, length).amin(-1)
    else:
        far = _next_at(form, over).gather(-1, to.long())
    return torch.minimum(far, places)


def _ends_within(form: Numerics, ends: Tensor, reached: Tensor, least: Tensor) -> Tensor:
    """For each position: the number of `ends` whose reached position is at most `least`. The reached
    positions of `ends` ascend.
    """
    if in_pairs(form, ends.shape[-1]):
        return (ends.unsqueeze(-2) & (reached.unsqueeze(-2) <= least.unsqueeze(-1))).sum(-1)
    ascending = torch.where(ends, reached, -1).cummax(-1).values
    at = torch.searchsorted(ascending, least.contiguous(), right=True)
    return torch.nn.functional.pad(ends.cumsum(-1), (1, 0)).gather(-1, at)


def _in_run_of(form: Numerics, mask: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
    """Whether the mask's run of each position contains a position of `of` at or left of it, and at or right
    of it.
    """
    masks = torch.stack([of, ~mask])
    (last, last_outside), (ahead, next_outside) = (
        _last_at(form, masks).unbind(),
        _next_at(form, masks).unbind(),
    )
    return last > last_outside, ahead < next_outside


def _trim(form: Numerics, mask: Tensor, to: Tensor) -> Tensor:
    left, right = _in_run_of(form, mask, to)
    return mask & left & right


def _runs_holding(form: Numerics, mask: Tensor, seed: Tensor) -> Tensor:
    left, right = _in_run_of(form, mask, seed)
    return mask & (left | right)


def _shift(x: Tensor, n: Tensor) -> Tensor:
    length = x.shape[1]
    source = _places(x).long() - n.clamp(-length, length)
    nothing = float("nan") if x.is_floating_point() else 0
    # Of one value for the row, nothing moves. Inductor gathers nothing from a constant.
    moved = x if x.stride(1) == 0 else x.gather(1, source.clamp(0, length - 1).expand_as(x))
    return torch.where((source >= 0) & (source < length), moved, torch.full_like(x, nothing))


def _shift_distributions(x: Tensor, n: Tensor) -> Tensor:
    """`_shift` for `x [B, T, N]`."""
    rows, length, ids = x.shape
    source = torch.arange(length, device=x.device) - n.clamp(-length, length).expand(rows, 1)
    moved = x.gather(1, source.clamp(0, length - 1).unsqueeze(2).expand(rows, length, ids))
    return torch.where(((source >= 0) & (source < length)).unsqueeze(2), moved, float("nan"))


def _distance(form: Numerics, mask: Tensor) -> Tensor:
    places, length = _places(mask), mask.shape[1]
    last, ahead = _last_at(form, mask), _next_at(form, mask)
    to_left = torch.where(last >= 0, places - last, length)
    to_right = torch.where(ahead < length, ahead - places, length)
    return torch.where(mask.any(1, keepdim=True), torch.minimum(to_left, to_right).float(), float("nan"))


def _density(form: Numerics, mask: Tensor, sigma: Tensor) -> Tensor:
    places, sigma = _places(mask), sigma.float().to(form.wide)
    distance = places.to(form.wide)  # T distances: one exponential for each, not for each pair
    normal = torch.exp(-(distance.square() / (2 * sigma.square()))) / (sigma * math.sqrt(2 * math.pi))
    apart = (places.unsqueeze(1) - places).abs().long()
    of_pair = normal.expand_as(mask)[:, apart]  # [B, T, T]
    return torch.where(mask.unsqueeze(1), of_pair, 0.0).sum(2).float()


GEOMETRY: Mapping[str, Callable[..., Tensor]] = {
    "run_count": _run_count,
    "shift": _shift,
    "shift_distributions": _shift_distributions,
}
# The functions take the form (`Numerics`) before their inputs.
GEOMETRY_IN_FORM: Mapping[str, Callable[..., Tensor]] = {
    "runs": lambda form, mask: torch.where(mask, _last_at(form, ~mask) + 1, -1).long(),
    "run_length": _run_length,
    "runs_holding": _runs_holding,
    "grow": _grow,
    "trim": _trim,
    "distance": _distance,
    "density": _density,
}
