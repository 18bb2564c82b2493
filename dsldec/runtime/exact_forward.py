"""The `exact` cache on a GPU: the host reads no place of a window. *Not measured on a GPU.*

The input of every row has the same number of columns, the most that it can need: from the last stored column
to the end of the block in which the windows end. Where it begins and how much of it counts are tensors on the
device, and so is the last stored column of each row. On a CPU, where a read costs nothing, the input has only
the columns that are needed (`cached_forward`). Shapes: B rows, R rows of the input. Not here: requests with
given text between their masks, whose windows may jump over many columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends.on_device import on_device
from ..models.kv_cache import InputRows
from .cached_forward import CachedForward, RowInput
from .forward import Forward, WindowBounds, called
from .rows import Rows


class ExactForwardOnDevice(CachedForward):
    """`CachedForward` of the kind `exact`, without reads between two forwards."""

    waits = False

    def __init__(self, denoiser: Any, rows: Rows, guidance: float | None, drafts: int) -> None:
        super().__init__(denoiser, rows, guidance, drafts, "exact")
        # A window moves by at most its length with each true step. The input begins and ends with a block.
        moves, block = drafts * rows.positions, self.block_length
        self.width = min(rows.longest, -(-(block - 1 + moves + self.looks) // block) * block)
        self.stored = torch.zeros_like(rows.begin)  # `[B]`: the column after the last stored one
        self.last: tuple[Tensor, Tensor] | None = None  # of the last call: `index`, and see `final`

    def __call__(
        self, canvases: Tensor, which: Sequence[int], index: Tensor, windows: WindowBounds
    ) -> tuple[Tensor, Tensor | None]:
        """See `Forward`."""
        rows, block, (start, _) = self.rows, self.block_length, windows()
        at = start.unsqueeze(1) + torch.arange(self.looks, device=start.device)
        length, stored = rows.columns[index], self.stored[index]
        final = start - start % block  # the blocks before this column do not change any more
        # The window of a finished row is back at the start of the row, and nothing reads its logits.
        begin = stored.minimum(final)
        until = (start + self.looks).minimum((rows.begin + rows.lengths)[index])
        until = ((until + block - 1) // block * block).minimum(length).maximum(begin + 1)
        inputs = InputRows(begin, (until - begin).clamp(max=self.width), index, begin, length, length)
        self.last = index, final
        return self._logits_of(canvases, inputs, self.width, at.minimum(until.unsqueeze(1) - 1)), start

    def keep(self, source: Tensor) -> None:
        if self.last is None:
            return
        index, final = self.last
        # A row that was not in the input has the source 0, which belongs to another row.
        mine = index[source] == torch.arange(len(source), device=source.device)
        end = torch.where(mine, final[source].maximum(self.stored), self.stored)
        for cache in self.views:
            called(cache.store, source, self.stored, end)
        self.stored, self.last = end, None

    def admit(self, rows: Sequence[int]) -> None:
        super().admit(rows)
        new = on_device([row in rows for row in range(len(self.window))], self.rows.device)
        begin = self.rows.begin
        self.stored = torch.where(new, begin - begin % self.block_length, self.stored)

    def _input(self, row: int, start: int, end: int) -> RowInput:
        raise AssertionError("the host does not know the windows")


def forwarding(
    denoiser: Any, rows: Rows, guidance: float | None, packing: str, drafts: int, cache: str
) -> Forward:
    """The forward for the rows of a batch. `cache`: as `resolve_cache` gives it."""
    if cache == "none":
        return Forward(denoiser, rows, guidance, packing, drafts)
    if cache == "exact" and keeps_places(rows):
        return ExactForwardOnDevice(denoiser, rows, guidance, drafts)
    return CachedForward(denoiser, rows, guidance, drafts, cache)


def keeps_places(rows: Rows) -> bool:
    """Whether the places of windows stay on the device."""
    return rows.device.type == "cuda" and not rows.gaps
