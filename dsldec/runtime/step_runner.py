"""One step of the policy in every row of a batch: from a moment and logits to the next moment.

Shapes: B rows, L canvas length, T window positions, V vocabulary, R rows fed to the denoiser. Pure: nothing
given is changed, so that a step can be made as if (a draft) and made again. Not here: where logits come from
(`forward`), which moments are kept (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.step import Events, Step, StepState
from .rows import Rows
from .windows import Windows


@dataclass(frozen=True, slots=True)
class BatchState:
    """Where the rows of a batch stand between two steps.

    `canvas [B, L + T]` int64 (see `Rows`), `window_end [B]` of the window before it is placed anew, `state` and
    `events` of the step before, `finished [B]` bool: nothing is left to do, `failed [B]` bool: the last logits were
    no numbers, and nothing was written.
    """

    canvas: Tensor
    window_end: Tensor
    state: StepState
    events: Events
    finished: Tensor
    failed: Tensor

    @property
    def ended(self) -> Tensor:
        """`[B]` bool: no step follows."""
        return self.finished | self.failed

    def same(self, other: BatchState) -> Tensor:
        """`[B]` bool: equal canvases, and both are over or neither is. A forward sees no more than the
        canvas.
        """
        return (self.canvas == other.canvas).all(1) & (self.ended == other.ended)

    def where(self, rows: Tensor, other: BatchState) -> BatchState:
        """This moment in the rows `[B]` bool, the other one in the rest."""
        state = {name: _where(rows, value, other.state[name]) for name, value in self.state.items()}
        others = other.events.by_name()
        events = {name: _where(rows, value, others[name]) for name, value in self.events.by_name().items()}
        canvas, window_end = (
            _where(rows, self.canvas, other.canvas),
            _where(rows, self.window_end, other.window_end),
        )
        return BatchState(
            canvas,
            window_end,
            state,
            Events(**events),
            _where(rows, self.finished, other.finished),
            _where(rows, self.failed, other.failed),
        )


def _where(rows: Tensor, this: Tensor, other: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (this.dim() - 1)), this, other)


@dataclass(frozen=True, slots=True)
class ForwardOutput:
    """What the denoiser said: `logits [R, W, V]` of W columns from `first [R]` on, and which of its rows each
    row of the batch looks at, `source [B]`. `first` is `None` where all rows begin at column 0.
    """

    logits: Tensor
    source: Tensor
    first: Tensor | None = None

    def at(self, columns: Tensor) -> Tensor:
        """Logits `[B, T, V]` at columns `[B, T]` of each row; the last column's for those beyond the end."""
        places = columns if self.first is None else columns - self.first[self.source].unsqueeze(1)
        return self.logits[self.source.unsqueeze(1), places.clamp(0, self.logits.shape[1] - 1)]


@dataclass(frozen=True, slots=True)
class StepResult:
    """The moment after a step, and what the step looked at: columns `[B, T]`, which of them are its window's,
    and logits `[B, T, V]`.
    """

    after: BatchState
    window_start: Tensor
    columns: Tensor
    inside: Tensor
    logits: Tensor


class StepRunner:
    """Steps of one policy on one batch, called with a moment and what was seen of its canvas (or of an older
    one: a draft).
    """

    def __init__(self, step: Step, rows: Rows, windows: Windows, *, stop_at_eos: bool) -> None:
        self.step, self.rows, self.windows = step, rows, windows
        self.stop_at_eos = stop_at_eos and rows.eos_id is not None
        self.params: Mapping[str, Tensor] = {
            name: value.to(rows.start.device) for name, value in step.params.items()
        }

    def first(self, keys: Tensor, vocab_size: int) -> BatchState:
        """Before the first step; `keys [B]`: what each row's random numbers start from."""
        batch, device = len(self.rows.start), self.rows.start.device
        state = self.step.start(batch, self.rows.positions, device, vocab_size=vocab_size)
        own = {"key": keys, "generation_length": self.rows.lengths}
        state |= {name: value for name, value in own.items() if name in state}
        state["window_start"] = self.windows.skip(self.rows, self.rows.start, -self.rows.leads)
        nothing = torch.zeros(batch, dtype=torch.bool, device=device)
        events = self.step.no_events(batch, self.rows.positions, device)
        return BatchState(
            self.rows.start, torch.zeros_like(state["window_start"]), state, events, nothing, nothing
        )

    def __call__(
        self, moment: BatchState, seen: ForwardOutput, rows: Tensor, draft: BatchState | None = None
    ) -> StepResult:
        """The step in the rows `[B]` bool; all else stays as it is. `draft`: what `accept` compares with,
        where the policy says it.
        """
        start, end = self.placed(moment)
        columns, inside = self.rows.window_columns(start, end)
        editable = inside & rows.unsqueeze(1)
        logits = seen.at(columns).to(moment.canvas.device)
        before = moment.canvas.gather(1, columns)
        state = moment.state | {"window_start": start}
        if "draft" in state:
            state["draft"] = (moment if draft is None else draft).canvas.gather(1, columns)
        after, done, state, events = self.step(logits, before, editable, state, self.params)
        failed = events.not_finite.any(1)
        after = torch.where(
            editable & ~failed.unsqueeze(1), after, before
        )  # what a failed row wrote does not count
        canvas = moment.canvas.scatter(1, columns, after)
        # The text of an infilling does not end: a window that is left for that has more to write.
        if events.finished is not None:
            done = done & ~(self.rows.infills & events.finished & self._goes_on(after, editable, state))
        following = BatchState(canvas, end, state, events, moment.finished, failed)
        moved = self._moved_on(following, done & rows & ~failed)
        return StepResult(moved, start, columns, inside, logits)

    def _goes_on(self, window: Tensor, editable: Tensor, state: StepState) -> Tensor:
        """`[B]` bool: windows `[B, T]` that have a mask, or that are full and stay."""
        masks = (window == self.rows.mask_id) & editable
        if "window_length" in state:
            masks = masks & (
                torch.arange(window.shape[1], device=window.device) < state["window_length"].unsqueeze(1)
            )
        return masks.any(1) | (state["stays"] > 0 if "stays" in state else False)

    def placed(self, moment: BatchState) -> tuple[Tensor, Tensor]:
        """Where the windows of the next step are and end, `[B]` each."""
        return self.windows.place(self.rows, moment.canvas, moment.state["window_start"], moment.window_end)

    def _moved_on(self, moment: BatchState, done: Tensor) -> BatchState:
        """Windows that are done move on; rows with nothing left to do are finished."""
        rows, state = self.rows, moment.state
        length = state.get("window_length", torch.full_like(state["window_start"], rows.window))
        window_start = state["window_start"] + torch.where(done, length, 0)
        window_start = torch.where(done, self.windows.skip(rows, moment.canvas, window_start), window_start)
        # A sliding window is placed anew before every step: it is done when everything is written.
        finished = ~rows.masks(moment.canvas).any(1) if "inside" in state else window_start >= rows.lengths
        if moment.events.finished is not None:
            finished = finished | (moment.events.finished & done & ~rows.infills)
        if self.stop_at_eos:
            kept = state["stays"] > 0 if "stays" in state else torch.zeros_like(finished)
            finished = finished | (rows.ended(moment.canvas) & ~kept)
        # A finished row's window goes back to the start: it must lie on the canvas as long as others decode.
        state = state | {"window_start": torch.where(finished, 0, window_start)}
        return replace(moment, state=state, finished=finished & ~moment.failed)
