"""Operations on orders as torch expressions: sorts, ranks and scans instead of loops over positions.

Shapes: B rows, T window positions; masks, scores and conditions are `[B, T]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NO_RUN = -1


@dataclass(frozen=True, slots=True)
class Order:
    """Positions `[B, T]` from best to worst, run after run, what is in no order last; `place [B, T]`: where each stands in it.

    In this order: `member [B, T]`, which are in it; `start [B, T]`, the place where the run begins, or `None` where all
    are one.
    """

    positions: Tensor
    place: Tensor
    member: Tensor
    start: Tensor | None

    @property
    def places(self) -> Tensor:
        """0, 1, ... `[T]`."""
        return torch.arange(self.positions.shape[1], device=self.positions.device)

    def rank(self) -> Tensor:
        """In this order: 1 for the first of each run, and on."""
        return (self.places + 1 if self.start is None else self.places + 1 - self.start).expand_as(self.positions)

    def sorted(self, x: Tensor) -> Tensor:
        """x in this order."""
        return x.gather(1, self.positions)

    def unsorted(self, x: Tensor) -> Tensor:
        """x, given in this order, back at its positions; 0 where there is no member."""
        # A sort of a permutation is its inverse. Scattering would do as well, but Inductor 2.13 lets what comes after a
        # scatter read the memory before it (seen as `rank` times 1 that was 0).
        return torch.where(self.member, x, torch.zeros_like(x)).gather(1, self.positions.argsort(dim=1))

    def scanned(self, x: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """x, given in this order, combined with all before it in its run, in log2(T) doublings: a run never meets another's numbers."""
        assert self.start is not None
        reach = 1
        while reach < x.shape[1]:
            x = torch.where(self.places - reach >= self.start, combine(x.roll(reach, 1), x), x)
            reach *= 2
        return x


def _order(mask: Tensor, score: Tensor, run: Tensor | None = None) -> Order:
    if score.is_floating_point():
        score = torch.where(score.isnan(), float("-inf"), score)
    by_score = score.argsort(dim=1, descending=True, stable=True)
    # A second stable sort puts the positions together that belong together, whatever score the others have.
    run_of = torch.zeros_like(score, dtype=torch.int64) if run is None else run
    run_of = torch.where(mask & (run_of >= 0), run_of, NO_RUN)
    sorted_run, together = run_of.gather(1, by_score).sort(dim=1, descending=True, stable=True)
    positions = by_score.gather(1, together)
    return Order(positions, positions.argsort(1), sorted_run != NO_RUN, None if run is None else _starts(sorted_run))


def _starts(run: Tensor) -> Tensor:
    """The place where each run begins, `run` sorted."""
    places = torch.arange(run.shape[1], device=run.device)
    begins = (run != run.roll(1, 1)) | (places == 0)
    return torch.where(begins, places, 0).cummax(1).values


def _cumsum(order: Order, x: Tensor) -> Tensor:
    x = torch.where(order.member, order.sorted(x), torch.zeros_like(x))
    wide = x.double() if x.is_floating_point() else x
    total = wide.cumsum(1) if order.start is None else order.scanned(wide, torch.add)
    return order.unsorted(total.to(x.dtype))


def _cummax(order: Order, x: Tensor) -> Tensor:
    x = order.sorted(x)
    return order.unsorted(x.cummax(1).values if order.start is None else order.scanned(x, torch.maximum))


def _prefix(order: Order, condition: Tensor) -> Tensor:
    failed = (~order.sorted(condition)).long()
    so_far = failed.cumsum(1)
    if order.start is not None:
        so_far = so_far - (so_far - failed).gather(1, order.start)
    return order.unsorted(so_far == 0)


def _thin(
    mask: Tensor,
    score: Tensor,
    condition: Tensor,
    width: Tensor,
    at_most: int,
    after_pick: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]],
) -> Tensor:
    """One round a pick; a round without a pick changes nothing, and so no later one has a pick."""
    places = torch.arange(mask.shape[1], device=mask.device)
    chosen = torch.zeros_like(mask)
    left = mask
    for _ in range(min(at_most, mask.shape[1])):
        hopeful = left & (score > 0)
        best = torch.where(hopeful, score, 0).amax(1, keepdim=True)
        pick = torch.where(hopeful & (score == best), places, mask.shape[1]).amin(1, keepdim=True)
        picked = (places == pick) & condition
        stays, weaker = after_pick((places - pick).abs(), score, width)
        goes_on = picked.any(1, keepdim=True)
        chosen, left = chosen | picked, left & ~picked & (stays | ~goes_on)
        score = torch.where(goes_on, weaker, score)
    return chosen


def _driven_out(distance: Tensor, score: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    return ~(distance < width), score


def _weakened(distance: Tensor, score: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    # 1 - exp(-d² / width²), without cancellation far inside the width.
    kernel = -torch.expm1(-(distance.double().square() / width.double().square()))
    return torch.ones_like(distance, dtype=torch.bool), score * kernel.float()


def thin(mask: Tensor, score: Tensor, condition: Tensor, width: Tensor, *, at_most: int) -> Tensor:
    """See `words.thin`; a pick drives out what is nearer than the width."""
    return _thin(mask, score, condition, width, at_most, _driven_out)


def thin_by_kernel(mask: Tensor, score: Tensor, condition: Tensor, width: Tensor, *, at_most: int) -> Tensor:
    """The same; a pick weakens the scores around it."""
    return _thin(mask, score.float(), condition, width.float(), at_most, _weakened)


ORDERS: Mapping[str, Callable[..., Any]] = {
    "order": _order,
    "rank": lambda order: order.unsorted(order.rank()),
    "cumsum": _cumsum,
    "cummax": _cummax,
    "prefix": _prefix,
    "top": lambda order, k: order.unsorted(order.rank() <= k),
}
