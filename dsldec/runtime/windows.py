"""Where is each row's window now, and where does it go when a step is done?

Shapes: B rows, T window positions. Not here: writing in it (`backends`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..plan import Plan
from .rows import Rows


@dataclass(frozen=True, slots=True)
class Windows:
    """How a policy's windows lie: `shape` as the policy has it, `most` masks in a sliding one."""

    shape: str
    most: int

    def place(self, rows: Rows, canvas: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
        """From where each window was and ended to where it is and ends, `[B]` each."""
        if self.shape == "sliding":
            return _sliding(rows, canvas, end, self.most)
        return start, (start + rows.window).minimum(rows.lengths)

    def skip(self, rows: Rows, canvas: Tensor, start: Tensor) -> Tensor:
        """The first window from `start [B]` on that has a mask, where text that is given may leave some
        without: no forward is for them.
        """
        if not rows.given_inside:
            return start
        offsets = torch.arange(rows.region, device=start.device)
        masks = rows.masks(canvas) & (offsets >= start.unsqueeze(1))
        first = torch.where(masks.any(1), masks.to(torch.uint8).argmax(1), rows.lengths)
        return (
            first
            if self.shape == "until"
            else torch.where(masks.any(1), first - (first - start) % rows.window, first)
        )


def windows_of(plan: Plan) -> Windows:
    """The windows of a plan."""
    return Windows(plan.window, plan.max_masks)


def _sliding(rows: Rows, canvas: Tensor, end: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """From the first mask until `most` masks are in it or it is T long; its end never moves back."""
    masks = rows.masks(canvas)
    start = torch.where(masks.any(1), masks.to(torch.uint8).argmax(1), 0)
    enough = masks.cumsum(1) >= most
    filled = torch.where(enough.any(1), enough.to(torch.uint8).argmax(1) + 1, rows.lengths)
    return start, torch.maximum(filled, end).minimum(start + rows.window).minimum(rows.lengths)
