"""When can a token be put into a streamer? As soon as it and all before it are written, and no step can
change them.

A streamer of transformers takes a column of the batch at a time, `[B]` ids from left to right. A policy that
revokes or edits may change any token until its row ends. Not here: what a streamer does with ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..runtime.trace import StepEvent


def ended(ids: Sequence[int], stop_ids: frozenset[int]) -> list[int]:
    """The ids up to the first that ends an answer, it included."""
    last = next((at for at, one in enumerate(ids) if one in stop_ids), len(ids))
    return list(ids[: last + 1])


class Columns:
    """Puts what is final of `rows` answers into a streamer; what is shorter than others is padded with
    `pad_id`.
    """

    def __init__(self, streamer: Any, rows: int, stop_ids: frozenset[int], pad_id: int, mask_id: int) -> None:
        self.streamer, self.stop_ids, self.pad_id, self.mask_id = streamer, stop_ids, pad_id, mask_id
        self.final: list[list[int]] = [[] for _ in range(rows)]
        self.over = [False] * rows
        self.put = 0

    def watch(self, event: StepEvent) -> None:
        """A step in a row, of a policy that changes nothing once it is written."""
        ids = event.generated.tolist()
        self._known(event.index, ids[: ids.index(self.mask_id)] if self.mask_id in ids else ids, over=False)

    def finish(self, index: int, ids: Sequence[int]) -> None:
        """The whole answer of a row."""
        self._known(index, ids, over=True)

    def _known(self, index: int, ids: Sequence[int], *, over: bool) -> None:
        self.final[index] = ended(ids, self.stop_ids)
        self.over[index] = over or not self.stop_ids.isdisjoint(self.final[index])
        while self._column_is_known():
            column = [row[self.put] if self.put < len(row) else self.pad_id for row in self.final]
            self.streamer.put(torch.tensor(column))
            self.put += 1

    def _column_is_known(self) -> bool:
        known = all(over or self.put < len(row) for over, row in zip(self.over, self.final, strict=True))
        return known and any(self.put < len(row) for row in self.final)
