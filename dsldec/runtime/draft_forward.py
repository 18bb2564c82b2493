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

from .drafter import Draft
from .forward import Forward
from .ledger import Ledger
from .step_runner import ForwardOutput, StepRunner


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
        canvases = [draft.state.canvas[index] for draft, index in zip(drafts, inputs, strict=True)]
        which = [row for rows in key for row in rows]
        windows = functools.partial(self._windows, drafts, inputs)
        logits, first = self.forward(torch.cat(canvases), which, torch.cat(inputs), windows)
        open_ = [draft.of(real & ~draft.state.ended) for draft in drafts]
        self.ledger.forward(which, open_, self.forward.rows_per_draft)
        return ForwardOutput(logits, sources[0], first), sources

    def _windows(self, drafts: Sequence[Draft], inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The window of each row of the input: its first column and the column after its last, `[R]` each."""
        placed = [self.runner.placed(draft.state) for draft in drafts]
        start, end = (
            torch.cat([one[side][index] for one, index in zip(placed, inputs, strict=True)])
            for side in (0, 1)
        )
        begin = self.runner.rows.begin[torch.cat(list(inputs))]
        return begin + start, begin + end

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
            inputs.append(torch.tensor(draft, dtype=torch.int64, device=rows.device))
            sources.append(torch.tensor(source, device=rows.device))
        return inputs, sources
