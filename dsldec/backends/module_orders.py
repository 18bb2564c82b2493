"""Operations on orders as torch expressions: pairwise comparisons in short windows, sorts and scans in long
ones.

Shapes: B rows, T window positions. Masks, scores and conditions are `[B, T]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .module_geometry import in_pairs
from .numerics import Numerics

NO_RUN = -1


@dataclass(frozen=True, slots=True)
class Ranked:
    """An order without a sort: each position is compared with every other.

    `place [B, T]`: the place of each position among the positions of all runs, 1 for the best, 0 outside the
    order. `run [B, T]`: the run of each position; `None` where there is only one run.
    """

    form: Numerics
    place: Tensor
    run: Tensor | None

    def _until(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x as `[B, 1, T]`, and a mask `[B, T, T]`: for each position, the positions of its run up to its own
        place.
        """
        # Stacked, so that a compiler computes x once and not for every pair.
        x, place = torch.stack([x, self.place.to(x.dtype)]).unsqueeze(2).unbind()
        until = (place > 0) & (place <= place.transpose(1, 2))
        return x, until if self.run is None else until & (self.run.unsqueeze(1) == self.run.unsqueeze(2))

    @property
    def rank(self) -> Tensor:
        return self.place.long() if self.run is None else self._until(self.place)[1].sum(2)

    def cumsum(self, x: Tensor) -> Tensor:
        if x.is_floating_point() and not self.form.pairs_only:
            return self._cumsum_of_reals(x)
        x, until = self._until(x)
        return torch.where(until, x, 0).sum(2)

    def _cumsum_of_reals(self, x: Tensor) -> Tensor:
        """The running sum from the best position on; another order of additions may change the last bits."""
        at, ordered = (self.place.long() - 1).clamp(min=0), self._in_order(x).double()
        if self.run is None:
            total = ordered.cumsum(1).gather(1, at)
        else:
            of_run = self._in_order(self.run).unsqueeze(1) == self.run.unsqueeze(2)
            total = (
                torch.where(of_run, ordered.unsqueeze(1), 0).cumsum(2).gather(2, at.unsqueeze(2)).squeeze(2)
            )
        return torch.where(self.place > 0, total, 0).to(x.dtype)

    def _in_order(self, x: Tensor) -> Tensor:
        """x from the best place to the worst, then 0."""
        x, place = torch.stack([x, self.place.to(x.dtype)]).unsqueeze(2).unbind()
        places = torch.arange(1, x.shape[2] + 1, device=x.device, dtype=x.dtype)
        return torch.where(place == places.unsqueeze(1), x, 0).sum(2)

    def cummax(self, x: Tensor) -> Tensor:
        x, until = self._until(x)
        lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
        return torch.where(self.place > 0, torch.where(until, x, lowest).amax(2), 0)

    def prefix(self, condition: Tensor) -> Tensor:
        if self.run is not None:
            failed, until = self._until((~condition).int())
            return (self.place > 0) & ~(until & (failed > 0)).any(2)
        failed = torch.where((self.place > 0) & ~condition, self.place, condition.shape[1] + 1)
        return (self.place > 0) & (self.place < failed.amin(1, keepdim=True))

    def top(self, k: Tensor) -> Tensor:
        return (self.place > 0) & (self.rank <= k)


@dataclass(frozen=True, slots=True)
class Sorted:
    """An order as sorted positions `[B, T]`: run after run, each from best to worst, and positions outside
    the order last.

    `place [B, T]`: the index of each position in this order. The other tensors are in this order.
    `member [B, T]`: whether the position belongs to the order. `start [B, T]`: the index where its run
    begins; `None` where there is only one run.
    """

    positions: Tensor
    place: Tensor
    member: Tensor
    start: Tensor | None

    @property
    def places(self) -> Tensor:
        """0, 1, ... `[T]`."""
        return torch.arange(self.positions.shape[1], device=self.positions.device)

    @property
    def rank(self) -> Tensor:
        return self.unsorted(self._sorted_rank())

    def _sorted_rank(self) -> Tensor:
        """The rank in this order: 1 for the first position of each run."""
        return (self.places + 1 if self.start is None else self.places + 1 - self.start).expand_as(
            self.positions
        )

    def sorted(self, x: Tensor) -> Tensor:
        """x in this order."""
        return x.gather(1, self.positions)

    def unsorted(self, x: Tensor) -> Tensor:
        """x from this order back to its positions; 0 outside the order."""
        # `place` is the inverse permutation, from a second sort. A scatter would also work, but with Inductor
        # 2.13 a later operation may read the memory before the scatter writes it (`rank` times 1 was 0).
        return torch.where(self.member, x, torch.zeros_like(x)).gather(1, self.place)

    def scanned(self, x: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """x in this order, combined with all earlier values of its run, in log2(T) doublings.

        Values of different runs are never combined.
        """
        assert self.start is not None
        reach = 1
        while reach < x.shape[1]:
            x = torch.where(self.places - reach >= self.start, combine(x.roll(reach, 1), x), x)
            reach *= 2
        return x

    def cumsum(self, x: Tensor) -> Tensor:
        x = torch.where(self.member, self.sorted(x), torch.zeros_like(x))
        wide = x.double() if x.is_floating_point() else x
        total = wide.cumsum(1) if self.start is None else self.scanned(wide, torch.add)
        return self.unsorted(total.to(x.dtype))

    def cummax(self, x: Tensor) -> Tensor:
        x = self.sorted(x)
        return self.unsorted(x.cummax(1).values if self.start is None else self.scanned(x, torch.maximum))

    def prefix(self, condition: Tensor) -> Tensor:
        failed = (~self.sorted(condition)).long()
        so_far = failed.cumsum(1)
        if self.start is not None:
            so_far = so_far - (so_far - failed).gather(1, self.start)
        return self.unsorted(so_far == 0)

    def top(self, k: Tensor) -> Tensor:
        return self.unsorted(self._sorted_rank() <= k)


def _order(form: Numerics, mask: Tensor, score: Tensor, run: Tensor | None = None) -> Ranked | Sorted:
    if score.is_floating_point():
        score = torch.where(score == score, score, float("-inf"))
    if run is not None:
        mask = mask & (run >= 0)
    return _ranked(form, mask, score, run) if in_pairs(form, mask.shape[1]) else _sorted(mask, score, run)


def _ranked(form: Numerics, mask: Tensor, score: Tensor, run: Tensor | None) -> Ranked:
    places = torch.arange(mask.shape[1], device=mask.device, dtype=torch.int32)
    score, member = torch.stack([score, mask.to(score.dtype)]).unsqueeze(2).unbind()  # stacked: see `_until`
    mine = score.transpose(1, 2)
    until = (score > mine) | ((score == mine) & (places <= places.unsqueeze(1)))
    until = until & (member * member.transpose(1, 2) > 0)
    return Ranked(form, until.sum(2, dtype=torch.int32), run)


def _sorted(mask: Tensor, score: Tensor, run: Tensor | None) -> Sorted:
    by_score = score.argsort(dim=1, descending=True, stable=True)
    # A second stable sort groups the positions by run; positions outside the mask come last, whatever their
    # score is.
    run_of = torch.where(mask, 0 if run is None else run, NO_RUN)
    sorted_run, together = run_of.gather(1, by_score).sort(dim=1, descending=True, stable=True)
    positions = by_score.gather(1, together)
    return Sorted(
        positions, positions.argsort(1), sorted_run != NO_RUN, None if run is None else _starts(sorted_run)
    )


def _starts(run: Tensor) -> Tensor:
    """The index where the run of each place begins, for sorted `run`."""
    places = torch.arange(run.shape[1], device=run.device)
    begins = (run != run.roll(1, 1)) | (places == 0)
    return torch.where(begins, places, 0).cummax(1).values


def _best(score: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score of each row and the lowest position that has it, `[B]`."""
    if not torch.compiler.is_compiling():
        best, pick = score.max(1)
        return best, pick
    best, last = score.amax(1), score.shape[1] - 1  # no compiler makes one loop of both results of `max`
    places = torch.arange(score.shape[1], device=score.device)
    return best, torch.where(score == best.unsqueeze(1), places, last).amin(1)


def _thin(mask: Tensor, score: Tensor, condition: Tensor, weight: Tensor, at_most: int) -> Tensor:
    """One round for each pick. All rounds run, and the rounds after the first one without a pick are ignored.

    A pick multiplies each score by the weight of its distance, `weight [B, T]`. A score of 0 or less is never
    picked. A score without a value (infinity times 0) becomes 0.
    """
    length = score.shape[1]
    places, rows = (
        torch.arange(length, device=score.device),
        torch.arange(score.shape[0], device=score.device),
    )
    # A view `[B, T, T]` of 2T - 1 numbers a row: row r has the weights for a pick at `length - 1 - r`.
    weights = torch.cat([weight[:, 1:].flip(1), weight], 1).unfold(1, length, 1)
    best: list[Tensor] = []
    pick: list[Tensor] = []
    if at_most < 1:
        return torch.zeros_like(mask)
    score = torch.where(mask & (score > 0), score, 0)
    for round_ in range(picks := min(at_most, length)):
        if round_ > 0:
            score = score * weights[rows, length - 1 - pick[-1]]
            score = torch.where(score > 0, score, 0)
        of_round = _best(score)
        best.append(of_round[0])
        pick.append(of_round[1])
    picked = torch.stack(pick, 1)
    # A pick lies in the mask. Inductor gathers nothing from a constant, such as `while=true`.
    ends = ~((torch.stack(best, 1) > 0) & (condition & mask).gather(1, picked))
    round_of = torch.arange(picks, device=score.device)
    chosen = round_of < torch.where(ends, round_of, picks).amin(1, keepdim=True)
    return ((picked.unsqueeze(2) == places) & chosen.unsqueeze(2)).any(1)


def thin(mask: Tensor, score: Tensor, condition: Tensor, width: Tensor, *, at_most: int) -> Tensor:
    """The word `thin` with `gap`: a pick removes itself and all positions nearer than `width`."""
    distance = torch.arange(mask.shape[1], device=mask.device)
    stays = (distance > 0) & ~(distance < width)
    return _thin(mask, score, condition, stays.expand_as(mask).to(score.dtype), at_most)


def thin_by_kernel(
    form: Numerics, mask: Tensor, score: Tensor, condition: Tensor, width: Tensor, *, at_most: int
) -> Tensor:
    """The word `thin` with `kernel`: a pick multiplies the scores around it by the kernel, and its own score
    by 0.
    """
    distance = torch.arange(mask.shape[1], device=mask.device).to(form.wide)
    # 1 - exp(-d² / width²), without cancellation far inside the width.
    weight = -torch.expm1(-(distance.square() / width.float().to(form.wide).square()))
    return _thin(mask, score.float(), condition, weight.float().expand_as(mask), at_most)


ORDERS: Mapping[str, Callable[..., Any]] = {
    "rank": lambda order: order.rank,
    "cumsum": lambda order, x: order.cumsum(x),
    "cummax": lambda order, x: order.cummax(x),
    "prefix": lambda order, condition: order.prefix(condition),
    "top": lambda order, k: order.top(k),
}
# The functions take the form (`Numerics`) before their inputs.
ORDERS_IN_FORM: Mapping[str, Callable[..., Any]] = {"order": _order}
