"""Canvases to logits: which rows are the denoiser's input, in how many calls.

Shapes: B rows, L canvas length, W columns of logits, V vocabulary, R rows of the input. Not here: the check
of the logits (`logits`), the step that reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..models.denoiser import capability, columns_keyword
from .logits import as_logits
from .rows import Rows

WindowBounds = Callable[[], tuple[Tensor, Tensor]]


class DenoiserFailed(RuntimeError):
    """The denoiser raised an exception, `__cause__`."""


class Forward:
    """Calls the denoiser with canvases of a batch's rows; with guidance, also without the prompt.

    `guidance`: the scale of classifier-free guidance, or `None`; `packing`: all rows in one call (`batch`),
    or a call for each (`sequential`); `drafts`: the number of windows that steps may read, from the row's
    present window on. Every call gets whole canvases and stores nothing (see `cached_forward`).
    """

    waits = False  # whether the host must know the place of every window before each call
    refreshes = False  # whether it has a cache that the policy's `refresh` computes anew
    of_windows = True  # whether logits with a first column begin with the window of their row

    def __init__(
        self, denoiser: Any, rows: Rows, guidance: float | None, packing: str = "batch", drafts: int = 1
    ) -> None:
        self.denoiser, self.rows, self.guidance, self.packing = denoiser, rows, guidance, packing
        self.rows_per_draft = 1 if guidance is None else 2
        # Columns of logits, from the first column of each window: the window, and the windows that drafts may
        # reach.
        self.ahead = rows.covered if rows.gaps and drafts > 1 else min(rows.covered, rows.positions * drafts)
        self.reach: int | None = (
            self.ahead if capability(denoiser, "selects_columns") and self.ahead < rows.longest else None
        )
        self.pads, self.keyword = bool(capability(denoiser, "pads")), columns_keyword(denoiser)
        self._at: tuple[Tensor | None, Tensor | None] = (None, None)  # of the last call, see `_columns`

    def __call__(
        self, canvases: Tensor, which: Sequence[int], index: Tensor, windows: WindowBounds
    ) -> tuple[Tensor, Tensor | None]:
        """Logits `[R, W, V]` of `canvases [R, ...]`, and their first column `[R]` (`None`: column 0). Canvas
        i belongs to row `which[i]` of the batch. Raises `DenoiserFailed`.

        `index [R]` is `which` as a tensor on the device of the canvases; `windows()` gives the windows' first
        column and the column after the last, `[R]` each.
        """
        lengths = [self.rows.requests[row].columns for row in which]
        first, at = (None, None) if self.reach is None else self._columns(windows()[0])
        if self.packing == "batch":
            return self._guided(canvases, index, lengths, at), first
        one_row = [slice(i, i + 1) for i in range(len(which))]
        alone = [
            self._guided(canvases[i], index[i], lengths[i], None if at is None else at[i]).clone()
            for i in one_row  # the denoiser may write the next logits into the same memory
        ]
        longest = max(logits.shape[1] for logits in alone)
        return torch.cat(
            [torch.nn.functional.pad(one, (0, 0, 0, longest - one.shape[1])) for one in alone]
        ), first

    def _columns(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """The first column of each window, `[R]`, and the columns to select, `[R, W]`. Both are those of the
        call before where no window has moved.
        """
        known, at = self._at
        if at is None or known is not first:
            at = first.unsqueeze(1) + torch.arange(self.reach or 0, device=first.device)
            self._at = first, at
        return first, at

    def forget(self) -> None:
        """Forgets the columns of the last call, which are known by the identity of tensors."""
        self._at = None, None

    def may_draft(self, start: Tensor, refresh: Tensor | None) -> Tensor | None:
        """`[B]` bool: rows that can be drafted from a state whose windows start at `start [B]`; `None`: all.
        `refresh [B]` bool: rows whose next forward computes everything anew; `None` where no row does.
        """
        return None

    def compute_anew(self, rows: Callable[[], Tensor] | None) -> None:
        """Called before a forward. `rows()`: `[R]` bool, the rows of its input that the policy's `refresh`
        wants to be computed anew; `None` for a policy without this statement. Nothing to do without a cache.
        """

    def keep(self, source: Tensor) -> None:
        """Called after the verification. `source [B]`: the row of the last input that each row of the batch
        goes on from.
        """

    def admit(self, rows: Sequence[int]) -> None:
        """Called when rows hold new requests. Raises `DenoiserFailed`."""

    def without_prompt(self, canvases: Tensor, index: Tensor) -> Tensor:
        """Canvases with a MASK in place of every given id."""
        given = self.rows.start[index] != self.rows.mask_id
        return torch.where(given[:, : canvases.shape[1]], self.rows.mask_id, canvases)

    def guided(self, with_prompt: Tensor, without_prompt: Tensor) -> Tensor:
        """Classifier-free guidance: logits pushed away from those without the prompt."""
        guided = without_prompt + ((self.guidance or 0) + 1) * (with_prompt - without_prompt)
        # An id that is never written has the logit -inf in both, and the difference is NaN.
        return torch.where(with_prompt == float("-inf"), with_prompt, guided)

    def _guided(self, canvases: Tensor, index: Tensor, lengths: list[int], at: Tensor | None) -> Tensor:
        ids = canvases[:, : max(lengths)]
        if self.guidance is None:
            return self._logits(ids, lengths, at)
        twice = None if at is None else torch.cat([at, at])
        return self.guided(
            *self._logits(torch.cat([ids, self.without_prompt(ids, index)]), lengths * 2, twice).chunk(2)
        )

    def _logits(self, ids: Tensor, lengths: list[int], at: Tensor | None) -> Tensor:
        how: dict[str, Any] = {"lengths": lengths} if self.pads else {}
        if at is not None:
            how[self.keyword] = at.clamp(max=ids.shape[1] - 1)
        columns = max(lengths) if at is None else at.shape[1]
        return as_logits(
            called(self.denoiser, ids, **how), ids.shape[0], columns, self.denoiser.vocab_size, ids.device
        )


def called(denoiser: Callable[..., Any], *arguments: Any, **how: Any) -> Any:
    """The denoiser's result. Raises `DenoiserFailed`."""
    try:
        with torch.no_grad():
            return denoiser(*arguments, **how)
    # A denoiser is the caller's code and may raise anything, and finished rows must not be lost. A
    # `GeneratorExit` in it must not look like a close of the generator that calls it.
    except (Exception, GeneratorExit) as error:
        raise DenoiserFailed(f"{type(error).__name__}: {error}") from error
