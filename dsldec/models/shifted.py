"""How does a model become a denoiser whose logits at position i predict position i + 1 (Dream and other
models made from autoregressive ones)?

Shapes: b rows, L positions, V vocabulary. A policy never sees the shift: it belongs to the model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .denoiser import capability, columns_keyword


def shifted(logits: Tensor) -> Tensor:
    """Logits `[b, L, V]` of each position itself, from logits of the next position. The first position keeps
    its own.
    """
    return torch.cat([logits[:, :1], logits[:, :-1]], dim=1)


def before(columns: Tensor) -> Tensor:
    """The columns at which an unshifted model computes the logits of these columns."""
    return (columns - 1).clamp(min=0)


class Shifted:
    """A denoiser made from one with shifted logits. All other attributes are those of the other denoiser."""

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser

    def __call__(self, ids: Tensor, columns: Tensor | None = None, **how: Any) -> Tensor:
        """Logits `[b, L, V]` of `ids [b, L]`, or `[b, W, V]` at the columns `[b, W]`, if the other denoiser
        has `selects_columns`.
        """
        if columns is not None:
            logits: Tensor = self.denoiser(ids, **{columns_keyword(self.denoiser): before(columns)}, **how)
            return logits
        return shifted(self.denoiser(ids, **how))

    def __getattr__(self, name: str) -> Any:
        # Its logits would not be shifted. A model loaded with `shift_logits` has another KV cache.
        if name in ("kv_cache", "kept"):
            raise AttributeError(name)
        # Its calls take `columns`, also where the other denoiser still has the former names.
        if name == "selects_columns" and (selects := capability(self.denoiser, name)) is not None:
            return selects
        return getattr(self.denoiser, name)
