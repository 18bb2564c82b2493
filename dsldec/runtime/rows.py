"""The rows of one batch: canvases, windows and ends.

Shapes: B rows, L canvas length, C canvas columns, T window positions. Not here: forwards and steps
(`decode_loop`), the prompts (`requests`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..backends.on_device import on_device
from ..diagnostics import Diagnostic
from ..renamed import former
from ..trace_step import Logprobs, TraceStep
from ..trajectory import Trajectory
from .ends import Ends
from .requests import Request


@dataclass(slots=True)
class Row:
    """One prompt's result, or that of one of its samples.

    Attributes:
        index: The place in the results: prompt by prompt, the samples of a prompt side by side.
        prompt_length: The number of ids before the first generated one.
        ids: `[prompt + generated]` int64. After an end-of-text or stop id, the end-of-text id replaces the
            masks; after the token that completes a stop string, it replaces all ids. Of a denoiser without an
            end-of-text id, `ids` ends there.
        forwards: Forwards until the row's end.
        rows: Rows of the denoiser's input for it, with drafts.
        proposed: Drafts one step ahead of the next one, two steps, ...
        accepted: Accepted drafts, by the same distance.
        tokens: Ids before the end-of-text or stop id, or up to the token that completes a stop string; for an
            infilling, the written masks.
        seconds: From admission to the end.
        trace: The steps, if traced.
        error: The reason why the row has no answer; `ids` then has masks where nothing was written.
        wasted_rows: Input rows after the row's end, before the host learned of it (0 on a CPU). `rows` does
            not count them.
        sample: The number of the sample of its prompt.
        finish_reason: `stop`: the text ends at an end-of-text id, a stop id or a stop string; `length`: at
            the number of tokens to generate, and always for an infilling; `error`: there is no answer.
        text: The text before a stop string; `None` if no stop string ended it.
        stop_ids: The stop ids of the prompt.
        trajectory: The steps with the prompt and the ids, if traced.
        logprobs: The confidence of each generated token, with `logprobs=True`.
    """

    index: int
    prompt_length: int
    ids: Tensor
    forwards: int = 0
    rows: int = 0
    proposed: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()
    tokens: int = 0
    seconds: float = 0.0
    trace: list[TraceStep] | None = None
    error: Diagnostic | None = None
    wasted_rows: int = 0
    sample: int = 0
    finish_reason: str = "length"
    text: str | None = None
    stop_ids: tuple[int, ...] = ()
    trajectory: Trajectory | None = None
    logprobs: Logprobs | None = None
    surplus = former("wasted_rows")

    @property
    def generated(self) -> Tensor:
        """The ids after the prompt alone; of an infilling, those from its first mask on."""
        return self.ids[self.prompt_length :]


class Rows:
    """The layout of the canvases of a batch, `[B, C]`. C is L plus T spare columns, so that every window has
    T columns.

    `spare`: the least number of spare columns. `every_request`: all requests that may ever have a row; they
    determine the size of the canvases.

    Attributes:
        window: Positions of a window.
        positions: T, the positions of the step: at least `window`.
        requests: One for each row, on the host.
        begin: `[B]`, the column of the first generated position; negative where a host shows only columns
            after it.
        lengths: `[B]`, the positions of the generation regions.
        leads: `[B]`, the columns between the start of the first window and the region.
        columns: `[B]`, the number of columns that are shown.
        keys: `[B]`, of random numbers.
        infills: `[B]` bool, see `Request`.
        start: `[B, C]`, the canvases before the first step.
        generating: `[B, C]` bool, the columns of the region that are shown.
        ending: `[B, C]` bool, those of them at which a text can end.
        stop: `[B]`, the generated position after the last one shown.
        home: `[B]`, the first generated position shown.
        gaps: Whether at least one request has given text between its masks.
        ends: The ids that end a row.
    """

    # The tensors with one entry for each request.
    PER_ROW = ("start", "begin", "lengths", "leads", "columns", "keys", "infills")
    begin: Tensor
    lengths: Tensor
    leads: Tensor
    columns: Tensor
    keys: Tensor
    infills: Tensor

    def __init__(
        self,
        requests: Sequence[Request],
        window: int,
        mask_id: int,
        eos_id: int | None,
        device: torch.device,
        positions: int | None = None,
        every_request: Sequence[Request] | None = None,
        spare: int = 0,
    ) -> None:
        ever = requests if every_request is None else every_request
        self.window, self.positions, self.mask_id, self.eos_id = window, positions or window, mask_id, eos_id
        self.device = device
        self.longest = max(request.columns for request in ever)
        self.covered = max(request.windows for request in ever)  # by the windows of a row
        self.gaps = any(request.gaps for request in ever)
        self.given_inside = self.gaps or any(request.lead > 0 for request in ever)  # in some window
        self.requests = list(requests)
        width = self.longest + max(self.positions, spare)
        self.start = torch.full((len(requests), width), mask_id, dtype=torch.int64, device=device)
        self._lay_out(range(len(requests)))

    def put(self, requests: Mapping[int, Request]) -> None:
        """Puts requests into some rows."""
        for row, request in requests.items():
            self.requests[row] = request
            self.given_inside |= request.gaps or request.lead > 0
        self.start = self.start.clone()  # the states of other rows share the old tensor
        self._lay_out(requests)

    def apart(self) -> list[tuple[Tensor, ...]]:
        """The layout of each row, for `put_together`: a tensor `[1, ...]` for each name of `PER_ROW`."""
        return list(zip(*(getattr(self, name).split(1) for name in self.PER_ROW), strict=True))

    def put_together(
        self,
        requests: Sequence[Request],
        layouts: Sequence[tuple[Tensor, ...]],
        stay: Sequence[int],
        places: Tensor,
    ) -> None:
        """Replaces all rows by the rows `stay`, `places` as a tensor, and by these requests after them.
        Each layout comes from `apart`.
        """
        self.requests = [*(self.requests[row] for row in stay), *requests]
        self.given_inside |= any(request.gaps or request.lead > 0 for request in requests)
        parts = list(zip(*layouts, strict=True)) or [()] * len(self.PER_ROW)
        for name, more in zip(self.PER_ROW, parts, strict=True):
            these = (getattr(self, name).index_select(0, places),) if stay else ()
            setattr(self, name, torch.cat([*these, *more]))
        self._derive()

    def of(self, requests: Sequence[Request]) -> Rows:
        """Rows of the same sizes with other requests."""
        rows = copy.copy(self)
        rows.requests = list(requests)
        rows.given_inside |= any(request.gaps or request.lead > 0 for request in requests)
        rows.start = self.start.new_full((len(requests), self.start.shape[1]), self.mask_id)
        rows._lay_out(range(len(requests)))
        return rows

    def _lay_out(self, changed: Sequence[int] | Mapping[int, Request]) -> None:
        for row in changed:
            canvas = self.requests[row].canvas(self.mask_id)
            self.start[row] = self.mask_id
            self.start[row, : len(canvas)] = on_device(canvas, self.device, torch.int64)
        names = ("begin", "length", "lead", "columns", "key", "infills")
        for target, name in zip(self.PER_ROW[1:], names, strict=True):
            values = [getattr(request, name) for request in self.requests]
            setattr(self, target, on_device(values, self.device))
        self._derive()

    def _derive(self) -> None:
        column = torch.arange(self.start.shape[1], device=self.device)
        shown = self.columns - self.begin
        self.ends = Ends(self.requests, self.mask_id, self.eos_id, self.device)
        self.stop, self.home = self.lengths.minimum(shown), (-self.begin).clamp(min=0)
        position = column - self.begin.unsqueeze(1)
        self.generating = (position >= 0) & (position < self.stop.unsqueeze(1))
        self.ending = self.generating & ~self.infills.unsqueeze(1)

    def window_columns(self, window_start: Tensor, window_end: Tensor) -> tuple[Tensor, Tensor]:
        """Canvas columns `[B, T]` of each row's window, and `[B, T]` bool: the columns that the step may
        write. The last window may be short, and given text is never written.
        """
        offsets = window_start.unsqueeze(1) + torch.arange(self.positions, device=window_start.device)
        columns, inside = self.begin.unsqueeze(1) + offsets, offsets < window_end.unsqueeze(1)
        if self.given_inside:
            inside = inside & (offsets >= 0) & (self.start.gather(1, columns) == self.mask_id)
        return columns, inside

    def masks(self, canvas: Tensor) -> Tensor:
        """`[B, C]` bool: columns of the generation regions that are not written yet."""
        return (canvas == self.mask_id) & self.generating

    def first(self, columns: Tensor, otherwise: Tensor) -> Tensor:
        """The first generated position `[B]` of some columns, `[B, C]` bool; `otherwise [B]` where there is
        none.
        """
        return torch.where(columns.any(1), columns.to(torch.uint8).argmax(1) - self.begin, otherwise)

    def ended(self, canvas: Tensor, at_eos: bool = True) -> Tensor:
        """`[B]` bool: the row has a stop id, or with `at_eos` an end-of-text id, and nothing is masked before
        it.
        """
        end = self.ends.on(canvas, at_eos)
        if end is None:
            return torch.zeros(len(self.begin), dtype=torch.bool, device=canvas.device)
        return self._closed(end & self.ending, canvas)

    def some_ended(self, canvas: Tensor, at_eos: bool, rows: Tensor | None) -> bool:
        """Whether `ended` is true in one of these rows, `[B]` bool, `None` for all. Reads values: most
        canvases have no id that ends a text.
        """
        end = self.ends.on(canvas, at_eos)
        if end is None or not (end := end & self.ending).any():
            return False
        ended = self._closed(end, canvas)
        return bool((ended if rows is None else ended & rows).any())

    def _closed(self, end: Tensor, canvas: Tensor) -> Tensor:
        """`[B]` bool: the row has a column in `end [B, C]`, and nothing is masked before it."""
        first = (end | self.masks(canvas)).to(torch.uint8).argmax(1, keepdim=True)
        return end.gather(1, first).squeeze(1)

    def written(self, ids: Sequence[int], row: int) -> int:
        """The number of a row's masks that are written in these ids."""
        return sum(ids[at] != self.mask_id for at in self.requests[row].to_write(self.mask_id))

    def finish(self, canvas: Tensor, row: int, stopped: int | None = None) -> tuple[Tensor, int, str]:
        """The ids of a row, its number of content tokens, and its `finish_reason`, as `Row` has them.
        `stopped`: the generated ids up to a stop string.
        """
        request = self.requests[row]
        ids: list[int] = canvas[row, : request.columns].tolist()
        if request.infills:
            return torch.tensor(ids), self.written(ids, row), "length"
        after = ids[request.begin + request.length :]
        generated, content, reason = self.ends.closed(ids[request.region], request, stopped)
        return torch.tensor([*ids[: request.begin], *generated, *after]), content, reason
