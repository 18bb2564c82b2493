"""The cost of each row of a batch: forwards, rows of input, drafts, seconds; and the bound on its forwards.

Where the host learns late which rows have ended, counts stay on the device until a row ends: reading them
would wait for the device. Else every input row is counted on the host, since its request has not ended.
Shapes: B rows, D drafts beyond the next step. Not here: the forwards (`decode_loop`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .requests import Request
from .rows import Rows


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one row until its end. `proposed`, `accepted`: drafts one step ahead of the next one, two
    steps, ...; `failed`: whether its last logits were not finite.
    """

    forwards: int
    input_rows: int
    proposed: tuple[int, ...]
    accepted: tuple[int, ...]
    failed: bool
    wasted_rows: int
    seconds: float


class Ledger:
    """Counts for the rows of a batch, each from its request's admission on.

    `drafts`: the number verified in one forward, with the next step; `max_forwards`: the proved bound on the
    forwards of a request; `on_device`: the host learns late which rows have ended.
    """

    def __init__(
        self, rows: Rows, drafts: int, max_forwards: Callable[[Request], int], *, on_device: bool = True
    ) -> None:
        self.on_device = on_device
        slots, device = len(rows.requests), rows.device
        self.max_forwards_of, self.total = max_forwards, 0
        # Until a row's end: forwards, and rows of input.
        self.forwards, self.input_rows = torch.zeros(2, slots, dtype=torch.int64, device=device)
        # [D, B]: drafts by their distance from the next step. At least one line, so that the shape is never
        # empty.
        self.ahead = drafts - 1
        self.proposed, self.accepted = torch.zeros(
            2, max(1, drafts - 1), slots, dtype=torch.int64, device=device
        )
        # Counts on the host. They include input rows after a row's end.
        self.launched, self.since, self.began = [0] * slots, [0] * slots, [time.perf_counter()] * slots
        self.max_forwards = [max_forwards(request) for request in rows.requests]

    def admit(self, requests: Mapping[int, Request], new: Tensor) -> None:
        """Starts the counts of requests that take rows. `new [B]` bool: these rows."""
        if self.on_device or self.ahead:
            self.forwards, self.input_rows, self.proposed, self.accepted = (
                torch.where(new, 0, count)
                for count in (self.forwards, self.input_rows, self.proposed, self.accepted)
            )
        for row, request in requests.items():
            self.launched[row], self.since[row], self.began[row] = 0, self.total, time.perf_counter()
            self.max_forwards[row] = self.max_forwards_of(request)

    def forward(self, which: Sequence[int], open_: Sequence[Tensor], rows_per_draft: int) -> None:
        """Counts a forward. `which`: its rows, with one entry for each draft of a row; `open_`: for each
        draft, the rows `[B]` bool that have not ended in it; not read without `on_device`.
        """
        self.launched_one(which, rows_per_draft)
        if self.on_device:
            self.forwards = self.forwards + open_[0]
            for rows in open_:
                self.input_rows = self.input_rows + rows_per_draft * rows

    def launched_one(self, which: Sequence[int], rows_per_draft: int) -> None:
        """Counts a forward on the host alone."""
        self.total += 1
        for row in which:
            self.launched[row] += rows_per_draft

    def forwards_so_far(self, row: int) -> int:
        """Forwards since a row's admission, as counted on the host."""
        return self.total - self.since[row]

    def overdue(self, row: int) -> bool:
        """Whether a row has had as many forwards as its bound allows."""
        return self.forwards_so_far(row) >= self.max_forwards[row]

    def of(self, row: int, failed: Tensor) -> Cost:
        """A row's cost; `failed`, 0-d, is read together with the counts. Waits for the device once."""
        of_device = [self.forwards[row], self.input_rows[row]] if self.on_device else []
        counts = [failed, *self.proposed[:, row], *self.accepted[:, row], *of_device]
        has_failed, *drafts = torch.stack(counts).tolist()
        forwards, input_rows = self.forwards_so_far(row), self.launched[row]
        if self.on_device:
            *drafts, forwards, input_rows = drafts
        half = len(drafts) // 2
        return Cost(
            forwards,
            input_rows,
            tuple(drafts[:half][: self.ahead]),
            tuple(drafts[half:][: self.ahead]),
            bool(has_failed),
            self.launched[row] - input_rows,
            time.perf_counter() - self.began[row],
        )
