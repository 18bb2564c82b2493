"""The logits that a step reads: where they are in the output of the denoiser, and whether they are copied.

Shapes: B rows, T window positions, V vocabulary, R rows of the denoiser's input, W columns of logits. Not
here: the call of the denoiser (`forward`), its rows (`draft_forward`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .windows import Placement

LARGE = 2**20  # logits; a copy of fewer takes less time than an eager step saves with contiguous ones


class WindowBuffer:
    """Memory for copies of large windows: torch would map and clear new memory for each."""

    def __init__(self) -> None:
        self.memory: Tensor | None = None

    def copied(self, windows: Tensor) -> Tensor:
        """A contiguous copy, until the next call."""
        if self.memory is None or (self.memory.shape, self.memory.dtype) != (windows.shape, windows.dtype):
            with torch.inference_mode(False):  # an inference tensor could not be written in other modes
                self.memory = torch.empty(windows.shape, dtype=windows.dtype, device=windows.device)
        return self.memory.copy_(windows.detach())


@dataclass(frozen=True, slots=True)
class ForwardOutput:
    """Logits of the denoiser: `logits [R, W, V]` of W columns from `first [R]` on, and the row of the logits
    that each row of the batch reads, `source [B]`. `first` is `None` where all rows begin at column 0.

    `of_windows`: the logits are those of each row's window already, in the order of the rows; nothing is
    copied. `in_order`: the host knows that each row of the batch reads the row of the logits with its number.
    """

    logits: Tensor
    source: Tensor
    first: Tensor | None = None
    of_windows: bool = False
    in_order: bool = False

    def at(self, columns: Tensor) -> Tensor:
        """Logits `[B, T, V]` at columns `[B, T]` of each row; the last column's for those beyond the end."""
        if self.of_windows:
            return self.logits
        places = columns if self.first is None else columns - self.first[self.source].unsqueeze(1)
        return self.logits[self.source.unsqueeze(1), places.clamp(0, self.logits.shape[1] - 1)]

    def on_cpu(self, placed: Placement, buffer: WindowBuffer | None) -> Tensor:
        """As `at`, for columns on a CPU, without a copy where the windows are one piece of memory. Other
        large windows are copied to the buffer; without one they are not copied. The result is good until the
        next call.
        """
        logits, (batch, positions) = self.logits, placed.columns.shape
        if self.of_windows:
            return logits
        if not self.in_order or self.first is not None or (column := placed.column) is None:
            return self.at(placed.columns)
        if column < 0 or column + positions > logits.shape[1]:
            return self.at(placed.columns)
        windows = logits.narrow(1, column, positions)
        if windows.is_contiguous():
            # A batch of one has the strides of a longer canvas, and a step is compiled for its strides.
            return windows.view(batch, positions, logits.shape[2])
        if windows.numel() < LARGE or (buffer is None and windows.stride(2) != 1):
            return self.at(placed.columns)
        return windows if buffer is None else buffer.copied(windows)
