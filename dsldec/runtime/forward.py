"""Canvases to logits: which rows are fed to the denoiser, in how many calls, and whether what it gives can be right.

Shapes: B rows, L canvas length, V vocabulary, R rows fed. Not here: what is done with the logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..diagnostics import Diagnostic, UsageError
from .rows import Rows

PACKINGS = ("batch", "sequential")


class DenoiserFailed(RuntimeError):
    """The denoiser raised something; `__cause__` is what."""


class Forward:
    """Feeds canvases of a batch's rows to the denoiser, steered away from what it says without the prompt where guidance is asked for.

    `packing`: all rows in one call (`batch`), or a call for each (`sequential`).
    """

    def __init__(self, denoiser: Any, rows: Rows, guidance: float | None, packing: str = "batch") -> None:
        self.denoiser, self.rows, self.guidance, self.packing = denoiser, rows, guidance, packing
        self.rows_per_draft = 1 if guidance is None else 2

    def __call__(self, canvases: Tensor, which: Sequence[int], index: Tensor) -> Tensor:
        """Logits `[R, L, V]` of `canvases [R, ...]`, the first of row `which[0]` of the batch, and so on. Raises `DenoiserFailed`.

        `index [R]` is `which` as a tensor where the canvases are.
        """
        lengths = [self.rows.prompt_lengths[row] + self.rows.gen_length for row in which]
        if self.packing == "batch":
            return self._guided(canvases, index, lengths)
        alone = [self._guided(canvases[i : i + 1], index[i : i + 1], lengths[i : i + 1]) for i in range(len(which))]
        longest = max(lengths)
        return torch.cat([torch.nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in alone])

    def _guided(self, canvases: Tensor, index: Tensor, lengths: list[int]) -> Tensor:
        ids = canvases[:, : max(lengths)]
        if self.guidance is None:
            return self._logits(ids, lengths)
        prompt = torch.arange(ids.shape[1], device=ids.device) < self.rows.begin[index].unsqueeze(1)
        without = torch.where(prompt, self.rows.mask_id, ids)
        with_prompt, without_prompt = self._logits(torch.cat([ids, without]), lengths * 2).chunk(2)
        return without_prompt + (self.guidance + 1) * (with_prompt - without_prompt)

    def _logits(self, ids: Tensor, lengths: list[int]) -> Tensor:
        padding = getattr(self.denoiser, "padding", False)
        try:
            with torch.no_grad():
                logits = self.denoiser(ids, lengths=lengths) if padding else self.denoiser(ids)
        # A denoiser is the caller's: it may raise anything, and what was decoded before must not be lost.
        except Exception as error:
            raise DenoiserFailed(f"{type(error).__name__}: {error}") from error
        return _as_logits(logits, ids.shape[0], max(lengths), self.denoiser.vocab_size).detach()


def _as_logits(logits: Any, rows: int, length: int, vocab_size: int) -> Tensor:
    if isinstance(logits, Tensor) and logits.shape == (rows, length, vocab_size):
        return logits
    given = f"a tensor {list(logits.shape)}" if isinstance(logits, Tensor) else f"a `{type(logits).__name__}`"
    message = f"the denoiser gave {given} where logits [{rows}, {length}, {vocab_size}] are needed"
    raise UsageError(Diagnostic("E0408", message, help="return logits of shape [rows, length, vocab_size]"))
