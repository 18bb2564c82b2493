"""One step of the policy in every row of a batch: from the state of the batch and logits to its next state.

All work of a host between two steps is here: it places the windows, sets the host's fields of the state,
discards the writes of rows whose logits are not finite, moves windows on, and ends rows. The runner is pure:
no input is changed, so that a step can be a draft and be made again.

In most steps no window moves and no row ends. On a CPU the host reads this from the flags of the step, and
the next state shares all tensors that such a step does not change. So the next step finds its windows placed.
On a GPU a read would wait: there every step computes everything. Both forms give the same rows that go on.

Shapes: B rows, C canvas columns, T window positions, V vocabulary, R rows of the denoiser's input. Not here:
the source of the logits (`forward`), a host's slots (`session`), the choice of true states (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import is_

import torch
from torch import Tensor

from ..backends.noise import shown_ids
from ..backends.on_device import moved, on_device
from ..backends.step import Events, Step, StepOutput, StepState
from ..checks.facts import Facts
from ..ir.protocol import (
    DRAFT,
    GENERATION_LENGTH,
    INSIDE,
    KEY,
    PATTERN_STATE,
    STAYS,
    STEP,
    WINDOW_LENGTH,
    WINDOW_START,
)
from .forward_output import ForwardOutput, WindowBuffer
from .request_patterns import RowPatterns, first_states
from .rows import Rows
from .windows import Placement, Windows


@dataclass(frozen=True, slots=True)
class BatchState:
    """The rows of a batch between two steps.

    `canvas [B, C]` int64 (see `Rows`); `window_end [B]` of the last step's windows; `state` and `events` of
    the last step; `finished [B]` bool: the row has nothing left to do; `failed [B]` bool: the row's last
    logits were not finite, and nothing was written.
    """

    canvas: Tensor
    window_end: Tensor
    state: StepState
    events: Events
    finished: Tensor
    failed: Tensor

    @property
    def window_start(self) -> Tensor:
        """`[B]` int64: the first position of each window, counted from the first generated one."""
        return self.state[WINDOW_START]

    @property
    def ended(self) -> Tensor:
        """`[B]` bool: no step follows."""
        return self.finished | self.failed

    def same(self, other: BatchState, *, refreshes: bool = False) -> Tensor:
        """`[B]` bool: equal canvases, and both have ended or neither has. A forward reads only the canvas and
        the number of the step, which is equal after equally many steps; if it `refreshes` a cache, it also
        reads whether the policy asks for that.
        """
        same = (self.canvas == other.canvas).all(1) & (self.ended == other.ended)
        mine, others = self.events.refresh, other.events.refresh
        return same if not refreshes or mine is None or others is None else same & (mine == others)

    def where(self, rows: Tensor, other: BatchState) -> BatchState:
        """This state in the rows `[B]` bool, the other one in the rest."""
        others = other._named()
        return self._of(
            {
                name: value if value is others[name] else _where(rows, value, others[name])
                for name, value in self._named().items()
            }
        )

    def at(self, places: Tensor) -> BatchState:
        """The rows at these places, in this order."""
        return self._of({name: value.index_select(0, places) for name, value in self._named().items()})

    def apart(self) -> list[BatchState]:
        """The state of each row, as a batch of one."""
        names, rows = self._named(), zip(*(one.split(1) for one in self._named().values()), strict=True)
        return [self._of(dict(zip(names, row, strict=True))) for row in rows]

    def _named(self) -> dict[str, Tensor]:
        """All tensors by name. Names of events and of the step's fields have a prefix."""
        own = {name: getattr(self, name) for name in OWN}
        events = {EVENT + name: value for name, value in self.events.by_name().items()}
        return own | events | {FIELD + name: value for name, value in self.state.items()}

    def _of(self, named: dict[str, Tensor]) -> BatchState:
        """A state of the same fields from its tensors by name."""
        state = {name: named[FIELD + name] for name in self.state}
        events = {name: named[EVENT + name] for name in self.events.by_name()}
        canvas, window_end, finished, failed = (named[name] for name in OWN)
        return BatchState(canvas, window_end, state, Events(**events), finished, failed)


OWN, EVENT, FIELD = ("canvas", "window_end", "finished", "failed"), "event ", "field "


def put_together(states: Sequence[BatchState]) -> BatchState:
    """Joins several batches into one, in this order."""
    parts = [one._named() for one in states]
    return states[0]._of({name: torch.cat([one[name] for one in parts]) for name in parts[0]})


def within(state: StepState, positions: int) -> Tensor | bool:
    """`[B, T]` bool: which of T positions are in the window, where the policy decides its length."""
    if WINDOW_LENGTH not in state:
        return True
    length = state[WINDOW_LENGTH].unsqueeze(1)
    return torch.arange(positions, device=length.device) < length


def reads_flags(device: torch.device) -> bool:
    """Whether the host reads the flags of a step before it computes the next state."""
    return device.type == "cpu"


def _where(rows: Tensor, this: Tensor, other: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (this.dim() - 1)), this, other)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The state after a step, and the step's inputs: the placement of the windows and logits `[B, T, V]`.
    `done [B]` bool: the window moved on; `steady`: the host knows that no window moved and no row has ended.
    """

    after: BatchState
    placed: Placement
    logits: Tensor
    done: Tensor
    steady: bool = False


class StepRunner:
    """Steps of one policy on one batch, called with a state of the batch and the logits of its canvas (or of
    an older canvas: a draft).

    `params`: the parameters, `[]` each, or `[B, 1]` where requests have different values; `reads`: whether
    the host reads flags of a step, which is for a CPU alone.
    """

    def __init__(self, step: Step, rows: Rows, windows: Windows, *, stop_at_eos: bool) -> None:
        self.step, self.rows, self.windows = step, rows, windows
        self.at_eos = stop_at_eos and rows.eos_id is not None
        self.reads = reads_flags(rows.start.device)
        # A compiled step has code for contiguous logits.
        self.buffer = None if step.backend == "eager" else WindowBuffer()
        self.params: Mapping[str, Tensor] = {
            name: moved(value, rows.start.device) for name, value in step.params.items()
        }
        self.patterns: RowPatterns | None = None  # of the requests, if the policy has a pattern
        self.noise_ids = 0  # the size of the vocabulary that `noise uniform` draws from; 0 without noise
        # Each step accepts anew: an end-of-text id is final when its window is done.
        self.ends_with_window = False
        self._placed: tuple[tuple[object, ...], Placement] | None = None
        self._editable: tuple[Placement, Tensor, Tensor] | None = None

    def show_noise(self, facts: Facts, vocab_size: int) -> None:
        """Shows random ids in place of MASK, and ends texts with windows, where the policy wants it."""
        self.noise_ids = vocab_size if facts.noise else 0
        self.ends_with_window = facts.noise and facts.revises

    def shown(self, batch: BatchState) -> Tensor:
        """The input of the denoiser, `[B, C]` int64: the canvas, with `noise uniform` with random ids in
        place of MASK; in the prompt and after a row, a MASK that is an id stays.
        """
        rows, canvas = self.rows, batch.canvas
        if not self.noise_ids:
            return canvas
        position = torch.arange(canvas.shape[1], device=canvas.device) - rows.begin.unsqueeze(1)
        place = rows.keys[:, None], batch.state[STEP][:, None], position, self.noise_ids, rows.mask_id
        unwritten = rows.masks(canvas) if rows.mask_id < self.noise_ids else canvas == rows.mask_id
        return torch.where(unwritten, shown_ids(*place), canvas)

    def first(self, vocab_size: int) -> BatchState:
        """The state before the first step. Rows with nothing to generate are finished."""
        rows = self.rows
        batch, device = len(rows.start), rows.start.device
        state = self.step.start(batch, rows.positions, device, vocab_size=vocab_size)
        own = {KEY: rows.keys, GENERATION_LENGTH: rows.lengths}
        state |= {name: value for name, value in own.items() if name in state}
        if PATTERN_STATE in state:
            state[PATTERN_STATE] = first_states(rows)
        state[WINDOW_START] = self.windows.skip(rows, rows.start, -rows.leads)
        events = self.step.no_events(batch, rows.positions, device)
        nowhere, none = torch.zeros_like(rows.begin), torch.zeros(batch, dtype=torch.bool, device=device)
        return BatchState(rows.start, nowhere, state, events, rows.lengths == 0, none)

    def __call__(
        self, batch: BatchState, seen: ForwardOutput, rows: Tensor | None, draft: BatchState | None = None
    ) -> StepResult:
        """The step in the rows `[B]` bool, `None` for all; other rows do not change. `draft`: the state that
        `accept` compares with, if the policy has that statement.
        """
        placed = self.placed(batch)
        columns, device = placed.columns, batch.canvas.device
        near = self.reads and seen.logits.device == device
        logits = seen.on_cpu(placed, self.buffer) if near else seen.at(columns).to(device)
        if self.rows.ends.early is not None:
            positions = columns - self.rows.begin.unsqueeze(1)
            logits = self.rows.ends.without_early(logits, positions)
        before = batch.canvas.gather(1, columns)
        state, params = inputs_of_step(self, batch, placed, draft)
        output = self.step(logits, before, self._writable(placed, rows), state, params)
        after = self._steady(batch, before, placed, rows, output) if self.reads else None
        if after is not None:
            return StepResult(after, placed, logits, output.done, steady=True)
        after, done = self._moved(batch, before, placed, rows, output)
        return StepResult(after, placed, logits, done)

    def use_patterns(self, name: str | None, vocab_size: int) -> None:
        """Takes the patterns of the requests that the rows have now, if the policy has one with a name."""
        self.patterns = None if name is None else RowPatterns(name, self.rows, vocab_size)

    def with_patterns_at(self, batch: BatchState, starts: Mapping[int, int]) -> BatchState:
        """The state with the patterns of some rows after the ids before these positions."""
        if self.patterns is None:
            return batch
        to = [max(0, starts.get(row, 0)) for row in range(len(batch.canvas))]
        until = on_device(to, batch.canvas.device, torch.int64)
        fields = self.patterns.moved(batch.state, batch.canvas, until, reads=self.reads)
        return replace(batch, state=batch.state | fields)

    def forget(self) -> None:
        """Forgets the last placement, which is known by the identity of tensors."""
        self._placed = self._editable = None

    def placed(self, batch: BatchState) -> Placement:
        """The windows of the next step. States that share their windows share the placement."""
        rows = self.rows
        # The tensors that a placement is computed from, by identity; new requests replace `begin`.
        key: tuple[object, ...] = (batch.window_start, rows.begin)
        if self.windows.follow_masks:
            key = (*key, batch.canvas, batch.window_end)
        if self._placed is not None and all(map(is_, key, self._placed[0])):
            return self._placed[1]
        start, end = self.windows.place(rows, batch.canvas, batch.window_start, batch.window_end)
        placed = Placement(start, end, *rows.window_columns(start, end))
        self._placed = key, placed
        return placed

    def _writable(self, placed: Placement, rows: Tensor | None) -> Tensor:
        """`[B, T]` bool: the positions that the step may write."""
        if rows is None:
            return placed.inside
        if self._editable is None or self._editable[0] is not placed or self._editable[1] is not rows:
            self._editable = placed, rows, placed.inside & rows.unsqueeze(1)
        return self._editable[2]

    # --- after a step

    def _steady(
        self, batch: BatchState, before: Tensor, placed: Placement, rows: Tensor | None, output: StepOutput
    ) -> BatchState | None:
        """The next state if no window moves and no row ends, else `None`: what `_moved` gives in these rows.
        Reads flags.
        """
        events, layout = output.events, self.rows
        flags = [output.done, *([] if events.finished is None else [events.finished])]
        if any(any((flag if rows is None else flag & rows).tolist()) for flag in flags):
            return None
        if events.not_finite.any():
            return None
        if events.unmatched is not None and _unmatched(events, self._writable(placed, rows)).any():
            return None
        after = output.canvas
        if rows is not None or not placed.whole:
            after = torch.where(self._writable(placed, rows), after, before)
        canvas = batch.canvas.scatter(1, placed.columns, after)
        ends = self.at_eos or layout.ends.stop_ids is not None
        if ends and layout.some_ended(canvas, self.at_eos, rows):
            return None
        if self.windows.follow_masks:
            goes_on = layout.masks(canvas).any(1)
            if not (goes_on if rows is None else goes_on | ~rows).all():
                return None
        state = output.state | {WINDOW_START: placed.start}
        return BatchState(canvas, placed.end, state, events, batch.finished, batch.failed)

    def _moved(
        self, batch: BatchState, before: Tensor, placed: Placement, rows: Tensor | None, output: StepOutput
    ) -> tuple[BatchState, Tensor]:
        """The next state, and the rows `[B]` bool whose windows are done. Reads no value."""
        editable, events = self._writable(placed, rows), output.events
        failed = events.not_finite.any(1)
        if events.unmatched is not None:
            failed = failed | _unmatched(events, editable)
        good = ~failed
        # The writes of a failed row do not count.
        after = torch.where(editable & good.unsqueeze(1), output.canvas, before)
        done = output.done & good if rows is None else output.done & rows & good
        # The text of an infilling does not end: after `finish`, its window still has positions to write.
        if events.finished is not None:
            left = self.rows.infills & events.finished & self._goes_on(after, editable, output.state)
            done = done & ~left
        canvas = batch.canvas.scatter(1, placed.columns, after)
        state = output.state | {WINDOW_START: placed.start}
        return self._moved_on(
            BatchState(canvas, placed.end, state, events, batch.finished, failed), done
        ), done

    def _goes_on(self, window: Tensor, editable: Tensor, state: StepState) -> Tensor:
        """`[B]` bool: windows `[B, T]` that have a mask, or that are full and stay."""
        masks = (window == self.rows.mask_id) & editable & within(state, window.shape[1])
        return masks.any(1) | (state[STAYS] > 0 if STAYS in state else False)

    def _moved_on(self, batch: BatchState, done: Tensor) -> BatchState:
        """Windows that are done move on; rows with nothing left to do are finished."""
        rows, state, start = self.rows, batch.state, batch.window_start
        start = torch.where(done, start + state.get(WINDOW_LENGTH, rows.window), start)
        if rows.given_inside:
            start = torch.where(done, self.windows.skip(rows, batch.canvas, start), start)
        # A sliding window gets a new place before every step. It is done when everything is written.
        finished = ~rows.masks(batch.canvas).any(1) if INSIDE in state else start >= rows.lengths
        if batch.events.finished is not None:
            finished = finished | (batch.events.finished & done & ~rows.infills)
        if self.at_eos or rows.ends.stop_ids is not None:
            ended = rows.ended(batch.canvas, self.at_eos)
            if self.ends_with_window:
                ended = ended & done
            finished = finished | (ended & (state[STAYS] == 0) if STAYS in state else ended)
        # A finished row's window goes back to the start: every window must lie on the canvas while other rows
        # decode.
        state = state | {WINDOW_START: torch.where(finished, rows.home, start)}
        return replace(batch, state=state, finished=finished & ~batch.failed)


def inputs_of_step(
    runner: StepRunner, batch: BatchState, placed: Placement, draft: BatchState | None
) -> tuple[StepState, Mapping[str, Tensor]]:
    """The state and the parameters as a step gets them."""
    state, params = batch.state | {WINDOW_START: placed.start}, runner.params
    if DRAFT in state:
        state[DRAFT] = (batch if draft is None else draft).canvas.gather(1, placed.columns)
    if runner.patterns is not None:
        state |= runner.patterns.fields(state, batch.canvas, placed, reads=runner.reads)
        params = {**params, **runner.patterns.of_windows(placed)}
    return state, params


def _unmatched(events: Events, editable: Tensor) -> Tensor:
    """`[B]` bool: open rows that cannot become a match of their pattern."""
    assert events.unmatched is not None
    return events.unmatched & editable.any(1)
