"""When can a token be put into a streamer? As soon as it and all tokens before it are written, and neither a
step nor a stop string can remove them.

A streamer of transformers takes one column of the batch at a time, `[B]` ids from left to right. A policy
that revokes or edits may change any token until its row ends. Not here: the streamer's use of the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...runtime.trace import StepEvent
from .answer_ends import AnswerEnds


class Columns:
    """Puts the final tokens of `rows` answers into a streamer. Shorter answers are padded with `pad_id`."""

    def __init__(self, streamer: Any, rows: int, ends: AnswerEnds, pad_id: int, mask_id: int) -> None:
        self.streamer, self.ends, self.pad_id, self.mask_id = streamer, ends, pad_id, mask_id
        self.final: list[list[int]] = [[] for _ in range(rows)]
        self.row_ended = [False] * rows
        self.put = 0

    def watch(self, event: StepEvent) -> None:
        """Take a step of a row. The policy must not change written tokens."""
        ids = event.generated.tolist()
        ids = self.ends.certain(ids[: ids.index(self.mask_id)] if self.mask_id in ids else ids)
        self._update(event.index, ids, is_ended=not self.ends.stop_ids.isdisjoint(ids))

    def finish(self, index: int, answer: list[int]) -> None:
        """Take the whole answer of a row."""
        self._update(index, answer, is_ended=True)

    def _update(self, index: int, final: Sequence[int], *, is_ended: bool) -> None:
        self.final[index], self.row_ended[index] = list(final), is_ended
        while self._column_is_complete():
            column = [row[self.put] if self.put < len(row) else self.pad_id for row in self.final]
            self.streamer.put(torch.tensor(column))
            self.put += 1

    def _column_is_complete(self) -> bool:
        complete = all(
            has_ended or self.put < len(row)
            for has_ended, row in zip(self.row_ended, self.final, strict=True)
        )
        return complete and any(self.put < len(row) for row in self.final)
