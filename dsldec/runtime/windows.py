"""Where is each row's window now, and where does it go when a step is done?

Shapes: B rows, G positions to generate, T window positions. Not here: writing in it (`backends`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..checks.facts import Facts
from ..checks.values import Value, int_of
from .rows import Rows

Place = Callable[[Rows, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def placing(facts: Facts, parameters: Mapping[str, Value]) -> Place:
    """How a policy's windows are placed: from canvases, where each window was and ended, to where it is and ends, `[B]` each."""
    if facts.window != "sliding":
        return _where_it_was
    most = int_of(facts.window_masks, parameters) or 1
    return lambda rows, canvas, start, end: _sliding(rows, canvas, end, most)


def _where_it_was(rows: Rows, canvas: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    return start, (start + rows.window).clamp(max=rows.gen_length)


def _sliding(rows: Rows, canvas: Tensor, end: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """From the first mask until `most` masks are in it or it is T long; its end never moves back."""
    masks = rows.masks(canvas)
    start = torch.where(masks.any(1), masks.to(torch.uint8).argmax(1), 0)
    enough = masks.cumsum(1) >= most
    filled = torch.where(enough.any(1), enough.to(torch.uint8).argmax(1) + 1, rows.gen_length)
    return start, torch.maximum(filled, end).minimum(start + rows.window).clamp(max=rows.gen_length)
