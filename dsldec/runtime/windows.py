"""The place of each row's window, and where it goes when a step is done.

Shapes: B rows, T window positions, C canvas columns. Not here: the writes of a step (`backends`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..plan import Plan
from .rows import Rows


@dataclass(frozen=True)
class Placement:
    """The windows of a batch before a step.

    `start`, `end [B]`: the first position of each window and the position after its last, counted from the
    first generated one; `columns [B, T]` int64 of the canvas; `inside [B, T]` bool: the columns that the step
    may write.
    """

    start: Tensor
    end: Tensor
    columns: Tensor
    inside: Tensor

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """The first column of each window and the column after its last, `[B]` each."""
        first = self.columns[:, 0]
        return first, first + (self.end - self.start)

    # Read values, so only on a CPU: on a GPU this would wait.

    @cached_property
    def column(self) -> int | None:
        """The first column of the windows, if it is the same in all rows."""
        first, *others = self.columns[:, 0].tolist()
        return first if all(one == first for one in others) else None

    @cached_property
    def whole(self) -> bool:
        """Whether the step may write all columns of all rows."""
        return bool(self.inside.all())


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of a policy: `shape` as the policy names it, `most` masks in a sliding one."""

    shape: str
    most: int

    @property
    def follow_masks(self) -> bool:
        """Whether a window gets a new place before every step."""
        return self.shape == "sliding"

    def place(self, rows: Rows, canvas: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """The place of each row's window in the next step: its first position and the position after its
        last, `[B]` each; `start`, `end`: those of the step before.
        """
        if self.follow_masks:
            return _sliding(rows, canvas, end, self.most)
        return start, (start + rows.window).minimum(rows.lengths)

    def skip(self, rows: Rows, canvas: Tensor, start: Tensor) -> Tensor:
        """The start `[B]` of the first window with a mask, from `start [B]` on: given text may fill whole
        windows, and no forward is made for these.
        """
        if not rows.given_inside:
            return start
        position = torch.arange(canvas.shape[1], device=start.device) - rows.begin.unsqueeze(1)
        masks = rows.masks(canvas) & (position >= start.unsqueeze(1))
        first = rows.first(masks, rows.stop)
        if self.shape == "until":
            return first
        return torch.where(masks.any(1), first - (first - start) % rows.window, first)


def windows_of(plan: Plan) -> Windows:
    """The windows of a plan."""
    return Windows(plan.window, plan.max_masks)


def _sliding(rows: Rows, canvas: Tensor, end: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The window from the first mask on: at most `most` masks and T positions. Its end never moves back."""
    masks = rows.masks(canvas)
    nowhere = torch.zeros_like(end)
    start, enough = rows.first(masks, nowhere), masks.cumsum(1) >= most
    filled = rows.first(enough, rows.lengths - 1) + 1
    return start, torch.maximum(filled, end).minimum(start + rows.window).minimum(rows.lengths)
