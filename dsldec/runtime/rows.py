"""The rows of one batch: their canvases, windows and ends.

Shapes: B rows, L canvas length, T window positions, G positions of the longest generation region. Not here:
forwards and steps (`decode_loop`), which prompts there are (`requests`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..diagnostics import Diagnostic
from ..renamed import former
from .requests import Request


@dataclass(slots=True)
class TraceStep:
    """One step of one row, positions counted from 0 for the first one after the prompt.

    `forward` counts from 0; steps that were drafted and accepted share one.

    `observations` holds what the policy saw at the committed positions: `conf`, `entropy`, ... by position.
    """

    phase: str
    committed: list[int]
    revoked: list[int]
    edited: list[int]
    forward: int
    observations: Mapping[str, Mapping[int, float]] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """One prompt's result.

    `ids` [prompt + generated] int64, masks left after the end-of-text token filled with it; `forwards` the
    forwards the row took part in, `rows` the rows fed for it; `proposed`, `accepted`: how many drafts were
    made and how many accepted one step ahead of the next one, two steps, ...; `tokens` generated before the
    end-of-text token (of an infilling: masks that were written); `seconds` from its first forward to its end;
    `error` says why it stopped early, and then `ids` holds masks where nothing was written. `wasted_rows`:
    rows fed for it after its end, before the host heard of it, and not counted in `rows`: 0 on a CPU.
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
    surplus = former("wasted_rows")

    @property
    def generated(self) -> Tensor:
        """The ids after the prompt alone; of an infilling, those from its first mask on."""
        return self.ids[self.prompt_length :]


class Rows:
    """How the canvases of a batch are laid out, `[B, L + T]`: the T spare columns let every window be sliced
    alike.

    A window has `window` positions, and the step sees `positions` (T), no fewer and unless given no more. A
    row is a request's until another takes its place: `requests` are known to the host; `begin [B]` and
    `lengths [B]` of the generation regions, `infills [B]` and `start`, what the canvases hold before the
    first step, to the device. `all_requests`: those that may ever be here, which size the canvases. `gaps`:
    in some text is given between masks; `leads [B]`: how far before the region the first window begins.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        window: int,
        mask_id: int,
        eos_id: int | None,
        device: torch.device,
        positions: int | None = None,
        all_requests: Sequence[Request] | None = None,
    ) -> None:
        ever = requests if all_requests is None else all_requests
        self.window, self.positions, self.mask_id, self.eos_id = window, positions or window, mask_id, eos_id
        self.device = device
        self.longest = max(request.columns for request in ever)
        self.region = max(request.length for request in ever)
        self.covered = max(request.windows for request in ever)  # by the windows of a row
        self.gaps = any(request.gaps for request in ever)
        self.given_inside = self.gaps or any(request.lead for request in ever)  # in some window
        self.requests = list(requests)
        self.start = torch.full(
            (len(requests), self.longest + self.positions), mask_id, dtype=torch.int64, device=device
        )
        self._lay_out(range(len(requests)))

    def put(self, requests: Mapping[int, Request]) -> None:
        """Other requests in some rows."""
        for row, request in requests.items():
            self.requests[row] = request
        self.start = self.start.clone()  # moments of the rows that stay share it
        self._lay_out(requests)

    def _lay_out(self, changed: Sequence[int] | Mapping[int, Request]) -> None:
        for row in changed:
            canvas = self.requests[row].canvas(self.mask_id)
            self.start[row] = self.mask_id
            self.start[row, : len(canvas)] = torch.tensor(canvas, dtype=torch.int64)
        self.begin = torch.tensor([request.begin for request in self.requests], device=self.device)
        self.lengths = torch.tensor([request.length for request in self.requests], device=self.device)
        self.leads = torch.tensor([request.lead for request in self.requests], device=self.device)
        self.infills = torch.tensor([request.infills for request in self.requests], device=self.device)

    def window_columns(self, window_start: Tensor, window_end: Tensor) -> tuple[Tensor, Tensor]:
        """Canvas columns `[B, T]` of each row's window, and in which of them it may write: the last window is
        short, and what is given stays.
        """
        offsets = window_start.unsqueeze(1) + torch.arange(self.positions, device=window_start.device)
        columns, inside = self.begin.unsqueeze(1) + offsets, offsets < window_end.unsqueeze(1)
        if self.given_inside:
            inside = inside & (offsets >= 0) & (self.start.gather(1, columns) == self.mask_id)
        return columns, inside

    def generated(self, canvas: Tensor) -> tuple[Tensor, Tensor]:
        """The generation regions `[B, G]`, and which of it each row has: not all are as long as the longest."""
        offsets = torch.arange(self.region, device=canvas.device)
        columns = (self.begin.unsqueeze(1) + offsets).clamp(max=canvas.shape[1] - 1)
        return canvas.gather(1, columns), offsets < self.lengths.unsqueeze(1)

    def masks(self, canvas: Tensor) -> Tensor:
        """`[B, G]` bool: which positions of the generation regions are not written yet."""
        generated, there = self.generated(canvas)
        return (generated == self.mask_id) & there

    def ended(self, canvas: Tensor) -> Tensor:
        """`[B]` bool: the row has an end-of-text token and nothing is masked before it."""
        if self.eos_id is None:
            return torch.zeros(len(self.begin), dtype=torch.bool, device=canvas.device)
        generated, there = self.generated(canvas)
        end = (generated == self.eos_id) & there & ~self.infills.unsqueeze(1)
        first = (end | ((generated == self.mask_id) & there)).to(torch.uint8).argmax(1, keepdim=True)
        return end.gather(1, first).squeeze(1)

    def written(self, ids: Sequence[int], row: int) -> int:
        """How many of a row's masks are written in these ids."""
        return sum(ids[at] != self.mask_id for at in self.requests[row].asked(self.mask_id))

    def finish(self, canvas: Tensor, row: int) -> tuple[Tensor, int]:
        """A row's ids, masks left after the end-of-text token filled with it, and its count of content
        tokens.
        """
        request, mask_id, eos_id = self.requests[row], self.mask_id, self.eos_id
        ids: list[int] = canvas[row, : request.columns].tolist()
        end = request.begin + request.length
        generated = ids[request.region]
        if request.infills:
            return torch.tensor(ids), self.written(ids, row)
        content = generated.index(eos_id) if eos_id is not None and eos_id in generated else len(generated)
        if eos_id is not None and content < len(generated) and mask_id not in generated[:content]:
            generated = [eos_id if id_ == mask_id else id_ for id_ in generated]
        return torch.tensor([*ids[: request.begin], *generated, *ids[end:]]), content
