"""Forwards of a model that reads the finished text and one canvas after it (DiffusionGemma).

The canvases of a row lie side by side, the first one at the first generated position. The input is the canvas
in which the row's window lies; the text before it is finished. Shapes: R rows of the input, C positions of a
canvas, V vocabulary. Not here: the calls of the model (`models.diffusion_gemma`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends.on_device import on_device
from .forward import Forward, WindowBounds, called
from .logits import as_logits
from .rows import Rows
from .session import Session


class CanvasForward(Forward):
    """Calls the denoiser row by row. The session has the temperatures of the step before."""

    waits = True  # the host must know the canvas of every window
    of_windows = False

    def __init__(self, denoiser: Any, rows: Rows, session: Session) -> None:
        super().__init__(denoiser, rows, None)
        self.session, self.length, self.canvases = session, denoiser.canvas_length, denoiser.canvases()

    def admit(self, rows: Sequence[int]) -> None:
        for row in rows:
            self.canvases.admit(row)

    def __call__(
        self, canvases: Tensor, which: Sequence[int], index: Tensor, windows: WindowBounds
    ) -> tuple[Tensor, Tensor | None]:
        """See `Forward`. The logits are those of the canvas in which each window lies."""
        temperatures, firsts, parts = self.session.state.events.temperature, list[int](), list[Tensor]()
        for ids, row, start in zip(canvases, which, windows()[0].tolist(), strict=True):
            begin = self.rows.requests[row].begin
            first = start - (start - begin) % self.length
            temperature = None if temperatures is None else temperatures[row]
            canvas = ids[first : first + self.length]
            parts.append(called(self.canvases.logits, row, ids[:first], canvas, temperature))
            firsts.append(first)
        logits = parts[0].unsqueeze(0) if len(parts) == 1 else torch.stack(parts)
        logits = as_logits(logits, len(parts), logits.shape[1], self.denoiser.vocab_size, ids.device)
        return logits, on_device(firsts, index.device, torch.int64)
