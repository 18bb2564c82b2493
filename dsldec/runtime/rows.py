"""The rows of one batch: their canvases, windows and ends.

Shapes: B rows, T window positions, G positions to generate. Not here: forwards and steps (`decode`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..diagnostics import Diagnostic


@dataclass(slots=True)
class TraceStep:
    """One step of one row, positions counted from 0 for the first generated one.

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

    `ids` [prompt + generated] int64, masks left after the end-of-text token filled with it; `forwards` the forwards the row
    took part in, `rows` the rows fed for it; `proposed`, `accepted`: how many drafts were made and how many accepted one step
    ahead of the next one, two steps, ...; `tokens` generated before the end-of-text token; `seconds` from its first
    forward to its end; `error` says why it stopped early, and then `ids` holds masks where nothing was written. `surplus`: rows fed for
    it after its end, before the host heard of it, and not counted in `rows`: 0 on a CPU.
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
    surplus: int = 0

    @property
    def generated(self) -> Tensor:
        """The generated ids alone."""
        return self.ids[self.prompt_length :]


class Rows:
    """How the canvases of a batch are laid out, `[B, longest + T]`: the T spare columns let every window be sliced alike.

    A window has `window` positions, and the step sees `positions` (T), no fewer and unless given no more. `start` is what the
    canvases hold before the first step; `prompt_lengths` are known to the host, and `begin [B]` to the device.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        gen_length: int,
        window: int,
        mask_id: int,
        eos_id: int | None,
        device: torch.device,
        positions: int | None = None,
    ) -> None:
        positions = positions or window
        self.gen_length, self.window, self.positions, self.mask_id, self.eos_id = gen_length, window, positions, mask_id, eos_id
        self.prompt_lengths = [len(p) for p in prompts]
        self.begin = torch.tensor(self.prompt_lengths, device=device)
        self.longest = max(self.prompt_lengths) + gen_length
        self.start = torch.full((len(prompts), self.longest + positions), mask_id, dtype=torch.int64, device=device)
        for row, prompt in enumerate(prompts):
            self.start[row, : len(prompt)] = torch.tensor(list(prompt), dtype=torch.int64)
        self.started = time.perf_counter()

    def clock(self) -> float:
        """Seconds since the batch began."""
        return time.perf_counter() - self.started

    def window_columns(self, window_start: Tensor, window_end: Tensor) -> tuple[Tensor, Tensor]:
        """Canvas columns `[B, T]` of each row's window, and which of them lie in it (the last window is short)."""
        offsets = window_start.unsqueeze(1) + torch.arange(self.positions, device=window_start.device)
        return self.begin.unsqueeze(1) + offsets, offsets < window_end.unsqueeze(1)

    def generated(self, canvas: Tensor) -> Tensor:
        """The generation regions `[B, G]`."""
        return canvas.gather(1, self.begin.unsqueeze(1) + torch.arange(self.gen_length, device=canvas.device))

    def masks(self, canvas: Tensor) -> Tensor:
        """`[B, G]` bool: which generated positions are not written yet."""
        return self.generated(canvas) == self.mask_id

    def ended(self, canvas: Tensor) -> Tensor:
        """`[B]` bool: the row has an end-of-text token and nothing is masked before it."""
        if self.eos_id is None:
            return torch.zeros(len(self.begin), dtype=torch.bool, device=canvas.device)
        generated = self.generated(canvas)
        open_or_end = (generated == self.mask_id) | (generated == self.eos_id)
        first = open_or_end.to(torch.uint8).argmax(1, keepdim=True)
        return generated.gather(1, first).squeeze(1) == self.eos_id

    def finish(self, canvas: Tensor, row: int) -> tuple[Tensor, int]:
        """A row's ids `[prompt + G]` masks left after the end-of-text token filled with it, and its count of content tokens."""
        begin, mask_id, eos_id = self.prompt_lengths[row], self.mask_id, self.eos_id
        ids = canvas[row, : begin + self.gen_length].tolist()
        generated = ids[begin:]
        content = generated.index(eos_id) if eos_id in generated else self.gen_length
        if content < self.gen_length and mask_id not in generated[:content]:
            generated = [eos_id if id_ == mask_id else id_ for id_ in generated]
        return torch.tensor(ids[:begin] + generated), content
