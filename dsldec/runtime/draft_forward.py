"""One forward of several drafts: which of their rows are input, and which row of the logits each row reads.

Shapes: B rows, C canvas columns, R rows of the denoiser's input, V vocabulary. Not here: the call of the
denoiser (`forward`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends.on_device import on_device
from .drafter import Draft
from .forward import Forward
from .forward_output import ForwardOutput
from .ledger import Ledger
from .step_runner import BatchState, StepRunner


class DraftForward:
    """Forwards drafts, all in one call of `Forward`, and counts them in the ledger."""

    def __init__(self, forward: Forward, runner: StepRunner, ledger: Ledger) -> None:
        self.forward, self.runner, self.ledger = forward, runner, ledger
        self.admit, self.keep = forward.admit, forward.keep
        self._indices: tuple[Any, list[Tensor], list[Tensor]] = ((), [], [])  # of the last call

    def __call__(self, drafts: Sequence[Draft], real: Tensor) -> tuple[ForwardOutput, list[Tensor]]:
        """Logits of all drafts, and one tensor `[B]` for each draft: the row of the logits that each row of
        the batch reads. `real [B]` bool: rows with a request.
        """
        key = [draft.rows for draft in drafts]
        if key != self._indices[0]:
            self._indices = (key, *self._indexed(key))
        _, inputs, sources = self._indices
        if len(key) == 1 and len(key[0]) == len(real):
            return self._of_all(drafts[0].state, key[0], inputs[0], sources, real)
        canvases = [
            self.runner.shown(draft.state)[index] for draft, index in zip(drafts, inputs, strict=True)
        ]
        which = [row for rows in key for row in rows]
        windows = functools.partial(self._windows, drafts, inputs)
        anew = None if drafts[0].state.events.refresh is None else functools.partial(_refresh, drafts, inputs)
        self.forward.compute_anew(anew)
        logits, first = self.forward(_joined(canvases), which, _joined(inputs), windows)
        open_ = [draft.of(real & ~draft.state.ended) for draft in drafts if self.ledger.on_device]
        self.ledger.forward(which, open_, self.forward.rows_per_draft)
        return ForwardOutput(logits, sources[0], first), sources

    def _of_all(
        self, state: BatchState, which: list[int], index: Tensor, sources: list[Tensor], real: Tensor
    ) -> tuple[ForwardOutput, list[Tensor]]:
        """The forward of one state in all rows: each row is the row of the input with its number."""
        placed = self.runner.placed(state)
        # A copy: the denoiser is the caller's code, and may write into its input.
        canvases = self.runner.shown(state).clone()
        refresh = state.events.refresh
        self.forward.compute_anew(None if refresh is None else lambda: refresh)
        logits, first = self.forward(canvases, which, index, lambda: placed.bounds)
        self.ledger.forward(
            which, [real & ~state.ended] if self.ledger.on_device else [], self.forward.rows_per_draft
        )
        # Without further drafts, the denoiser that selects columns has selected those of the windows.
        windows = self.ledger.ahead == 0 and first is not None and self.forward.of_windows
        chosen = windows and logits.shape[1] == placed.columns.shape[1]
        return ForwardOutput(logits, sources[0], first, of_windows=chosen, in_order=True), sources

    def _windows(self, drafts: Sequence[Draft], inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The window of each row of the input: its first column and the column after its last, `[R]` each."""
        bounds = [self.runner.placed(draft.state).bounds for draft in drafts]
        first, end = (
            _joined([one[side][index] for one, index in zip(bounds, inputs, strict=True)]) for side in (0, 1)
        )
        return first, end

    def _indexed(self, rows_of_drafts: Sequence[Sequence[int]]) -> tuple[list[Tensor], list[Tensor]]:
        """Two index tensors for each draft: its rows of the batch, and for each row of the batch `[B]` its
        row of the whole input.
        """
        rows, inputs, sources, before = self.runner.rows, list[Tensor](), list[Tensor](), 0
        for draft in rows_of_drafts:
            source = [0] * len(rows.requests)
            for n, row in enumerate(draft):
                source[row] = before + n
            before += len(draft)
            inputs.append(on_device(draft, rows.device, torch.int64))
            sources.append(on_device(source, rows.device))
        return inputs, sources


def _refresh(drafts: Sequence[Draft], inputs: Sequence[Tensor]) -> Tensor:
    """The rows of the input `[R]` bool that the policy's `refresh` wants to be computed anew."""
    flags = (draft.state.events.refresh for draft in drafts)
    return _joined([flag[index] for flag, index in zip(flags, inputs, strict=True) if flag is not None])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
