"""The slots of a host: requests decoded side by side, with one step of all of them for each forward of the
model.

A host calls the model: the loop of `decode`, a serving engine, a case file. It admits requests into slots,
gives the logits of the canvases that the slots show, and reads the ids that are written:

    session = Session.of(policy, slots=1, columns=len(prompt) + 64, mask_id=mask_id, vocab_size=vocab_size)
    session.admit(0, continued(0, prompt, 64))
    while not session.done.all():
        session.step(denoiser(session.canvas))

A host may show whole canvases, or one block of each at a time (`requests.block_shown`, `Session.show`). It
may store the state of each request, and put the requests into another batch for every step, in any order and
of any size. The tokens are the same, because positions and random numbers depend only on the request's
`begin`, its `key` and the number of its steps. A session only holds the state; the work between two steps is
in `step_runner`. Shapes: N slots, C canvas columns, T window positions, W columns of logits, V vocabulary.
Not here: forwards, caches, drafts (`decode_loop`), the policies that can run by blocks (`block_host`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.on_device import on_device
from ..backends.step import Step, StepOutput, StepState
from ..diagnostics import Diagnostic, UsageError
from ..ir.protocol import EOS_BEFORE, STEP, WINDOW_START
from ..policy import Policy
from .forward_output import ForwardOutput
from .request_parameters import require_one_row, require_own, tensors_of_requests
from .request_patterns import require_pattern
from .requests import NO_REQUEST, Request, next_block
from .rows import Rows
from .shape_buckets import rows_compiled
from .slot_progress import SlotProgress
from .step_runner import BatchState, StepRunner, put_together
from .windows import windows_of


@dataclass(frozen=True, slots=True)
class SlotState:
    """One request and its state, as `Session.take` gives it and `Session.join` takes it."""

    request: Request
    layout: tuple[Tensor, ...]
    state: BatchState


class Session:
    """N slots, each empty or with a request. `state` is a value: `runner(state, ...)` gives the next one and
    changes nothing, for drafts of a host. `slots`: the most states that `join` takes.
    """

    def __init__(
        self, policy: Policy, step: Step, rows: Rows, *, vocab_size: int, stop_at_eos: bool = True
    ) -> None:
        self.policy, self.rows, self.vocab_size, self.slots = policy, rows, vocab_size, len(rows.requests)
        self.runner = StepRunner(step, rows, windows_of(policy.plan(1)), stop_at_eos=stop_at_eos)
        self.runner.show_noise(policy.facts, vocab_size)
        self._shared = dict(self.runner.params)
        self._nothing: SlotState | None = None
        self._known: SlotProgress | None = None  # of the last state
        self._use_parameters()
        self.state = self.runner.first(vocab_size)

    @classmethod
    def of(
        cls,
        policy: Policy,
        *,
        slots: int,
        columns: int,
        mask_id: int,
        vocab_size: int,
        eos_id: int | None = None,
        bos_id: int | None = None,
        pad_id: int | None = None,
        backend: str = "eager",
        device: torch.device | str = "cpu",
        stop_at_eos: bool = True,
        gen_length: int | None = None,
    ) -> Session:
        """Empty slots of one policy.

        `columns`: of each canvas, or of the block that each slot shows; `vocab_size`: of the logits;
        `gen_length`: positions to generate of the longest request, by default `columns`; no window is longer;
        `backend`: as in `dsldec.decode`, without `auto`. Raises `UsageError` (E0404) for a backend that
        cannot run, and (E0450) for a policy that branches: a slot shows one canvas.
        """
        require_one_row(policy)
        step = policy.compile(backend, mask_id=mask_id, eos_id=eos_id, bos_id=bos_id, pad_id=pad_id)
        window = policy.plan(columns if gen_length is None else gen_length).block_length
        sizes = Request(0, (), columns, 0, columns)
        rows = Rows(
            [NO_REQUEST] * slots, window, mask_id, eos_id, torch.device(device), every_request=[sizes]
        )
        return cls(policy, step, rows, vocab_size=vocab_size, stop_at_eos=stop_at_eos)

    # --- values for the host

    @property
    def canvas(self) -> Tensor:
        """`[N, C]` int64: the ids that each slot shows, MASK or `noise uniform` where nothing is written."""
        return self.runner.shown(self.state)[:, : self.rows.longest]

    @property
    def written(self) -> Tensor:
        """`[N, C]` int64: the ids that each slot holds, MASK where nothing is written."""
        return self.state.canvas[:, : self.rows.longest]

    @property
    def ended(self) -> Tensor:
        """`[N]` bool: slots whose request is finished or failed, and empty ones."""
        return self.state.ended

    @property
    def done(self) -> Tensor:
        """`[N]` bool: slots with nothing left to write in the columns they show."""
        return self._progress().done.clone()  # the caller may write into it

    def windows(self) -> tuple[Tensor, Tensor]:
        """The first column of the window of each slot, and the column after its last, `[N]` int64 each."""
        first, end = self.runner.placed(self.state).bounds
        return first.clone(), end.clone()  # the caller may write into them

    def error(self, slot: int, *, half: bool = False) -> Diagnostic | None:
        """Why a slot's request has failed (E0406), `None` if it has not. `half`: of half-precision logits."""
        return failure(self.state, slot, half) if bool(self.state.failed[slot]) else None

    # --- requests come and go

    def admit(
        self,
        slot: int,
        request: Request,
        *,
        window_start: int | None = None,
        step: int = 0,
        eos_before: bool = False,
    ) -> None:
        """Puts a request into a slot, in place of the one before.

        A request that was decoded elsewhere continues with `window_start`, its first unfinished position,
        counted from the first generated one; `step`, the number of its steps so far; and `eos_before`,
        whether an end-of-text token lies before the window. Raises `PolicyError` for parameters that the
        policy does not have (E0403) or that do not fit (E0402), `UsageError` for parameters that all requests
        share (E0450) and for more columns than a slot has (E0409).
        """
        self.admit_all({slot: request})
        given = {WINDOW_START: window_start, STEP: step or None, EOS_BEFORE: eos_before or None}
        self.state = replace(self.state, state=_with(self.state.state, slot, given))

    def admit_all(self, requests: Mapping[int, Request]) -> None:
        """Requests take slots, each at its start. Raises as `admit`."""
        _require_fit(self, requests.values(), first=True)
        self.rows.put(requests)
        self._use_parameters()
        self.state = self.runner.first(self.vocab_size).where(_some(self.rows, requests), self.state)

    def show(self, slot: int, ids: Sequence[int], start: int) -> None:
        """Shows another block of a slot's request: its ids, MASK at each position to write, and its first
        position, counted from the first generated one. The state that the request carries from block to block
        stays.
        """
        self.show_all({slot: (ids, start)})

    def show_all(self, blocks: Mapping[int, tuple[Sequence[int], int]]) -> None:
        """Shows another block of some slots' requests: for each slot its ids and its first position, as
        `show`.
        """
        rows = self.rows
        shown = {slot: next_block(rows.requests[slot], *one, rows.mask_id) for slot, one in blocks.items()}
        _require_fit(self, shown.values())
        state = self.runner.with_patterns_at(self.state, {slot: at for slot, (_, at) in blocks.items()})
        rows.put(shown)
        self.runner.use_patterns(self.policy.constrains, self.vocab_size)
        here = _some(rows, shown)
        canvas = torch.where(here.unsqueeze(1), rows.start, state.canvas)
        begin = self.runner.windows.skip(rows, canvas, -rows.begin)
        placed = torch.where(here & ~state.ended, begin, state.window_start)
        self.state = replace(state, canvas=canvas, state=state.state | {WINDOW_START: placed})

    def evict(self, slot: int) -> None:
        """Empties a slot."""
        self.admit_all({slot: NO_REQUEST})

    def take(self, slots: Sequence[int]) -> list[SlotState]:
        """The states of some slots, one each, for `join`. The slots stay as they are."""
        every = [*map(SlotState, self.rows.requests, self.rows.apart(), self.state.apart())]
        return [every[slot] for slot in slots]

    def opened(self, requests: Sequence[Request]) -> list[SlotState]:
        """The states of requests at their start, one each, for `join`. The slots stay as they are. Raises as
        `admit`.
        """
        _require_fit(self, requests, first=True)
        rows = self.rows.of(requests)
        first = StepRunner(self.runner.step, rows, self.runner.windows, stop_at_eos=False).first
        return list(map(SlotState, requests, rows.apart(), first(self.vocab_size).apart()))

    def join(self, states: Sequence[SlotState], stay: Sequence[int] = ()) -> None:
        """Puts these requests, in this order, into the first slots, after those of the slots that `stay`.
        Empty slots fill the batch up to the next size that steps are compiled for (`shape_buckets`). Each
        state comes from `take` or `opened` of a session of the same policy and sizes, and may be here once.
        """
        count = len(states) + len(stay)
        states = [*states, *_empty(self, _size(self.slots, count) - count)]
        places = on_device(stay, self.rows.device, torch.int64)
        self.rows.put_together([one.request for one in states], [one.layout for one in states], stay, places)
        parts = [one.state for one in states]
        self.state = put_together([self.state.at(places), *parts] if stay else parts)
        self._use_parameters()

    # --- the step

    def step(
        self,
        logits: Tensor,
        first: Tensor | None = None,
        *,
        source: Tensor | None = None,
        only: Sequence[int] | None = None,
        of_windows: bool = False,
    ) -> StepOutput:
        """One step in every slot that is not done, or `only` in some of them.

        `logits [N, W, V]` of any float dtype, of W columns from `first [N]` on; without `first`, of all C
        columns. `source [N]`: the row of the logits that each slot reads, by default the slot's number;
        `of_windows`: the logits `[N, T, V]` are those of each slot's window. Gives `written [N, C]`, `done
        [N]` (see `done`), the state and the events of the step; events of slots that were done before have no
        meaning. A slot with logits that are not finite has failed (see `error`); nothing is written there.
        """
        before, now = self.state, self._progress()
        order = torch.arange(len(now.done), device=logits.device) if source is None else source
        seen = ForwardOutput(logits, order, first, of_windows, in_order=source is None)
        open_ = now.open_ if only is None else now.open_ & _some(self.rows, only)
        every = only is None and now.all_open
        after = self.runner(before, seen, None if every else open_).after
        self.state = after if every else after.where(open_, before)
        return StepOutput(self.written, self.done, self.state.state, self.state.events)

    def _progress(self) -> SlotProgress:
        self._known = SlotProgress.of(self.state, self.rows.stop, self._known, reads=self.runner.reads)
        return self._known

    def _use_parameters(self) -> None:
        self.runner.params = self._shared | tensors_of_requests(self.policy, self.rows)
        self.runner.use_patterns(self.policy.constrains, self.vocab_size)


def _empty(session: Session, count: int) -> list[SlotState]:
    """States of empty slots, to fill a batch."""
    if count and session._nothing is None:
        session._nothing = session.opened([NO_REQUEST])[0]
    return [] if session._nothing is None else [session._nothing] * count


def failure(state: BatchState, row: int, half: bool) -> Diagnostic:
    """Why a row has failed (E0406, E0322). Its last step wrote nothing. `half`: see `Session.error`."""
    if not state.events.not_finite[row].any():
        message = (
            f"what is written before step {int(state.state[STEP][row])} cannot become a match of the pattern"
        )
        help_ = "the canvas was changed from outside: please report this policy if it was not"
        return Diagnostic("E0322", message, help=help_)
    bad = int(state.events.not_finite[row].nonzero()[0])
    position, step = int(state.window_start[row]) + bad, int(state.state[STEP][row])
    message = f"the denoiser gave logits that are not finite in step {step} at generated position {position}"
    help = "they come from the model's weights or code, also in full precision"
    if half:
        help = "try the model in float32"
    return Diagnostic("E0406", message, help=f"{help}; the tokens written before this step stay")


def _require_fit(session: Session, requests: Iterable[Request], *, first: bool = False) -> None:
    """`first`: the requests are at their start."""
    for request in requests:
        if first:
            require_pattern(session.policy, request, session.vocab_size, session.rows.mask_id)
        if request.columns > session.rows.longest:
            message = f"a slot has {session.rows.longest} columns, and the request {request.columns}"
            raise UsageError(Diagnostic("E0409", message, help="make the session with more `columns`"))
        if request.parameters:
            require_own(session.policy, request.parameters)


def _size(slots: int, count: int) -> int:
    """The size of a batch of `count` states."""
    if not 0 < count <= slots:
        message = f"the session has {slots} slots, and {count} states are joined"
        raise UsageError(Diagnostic("E0409", message, help="make the session with more `slots`"))
    return rows_compiled(count, slots)


def _some(rows: Rows, chosen: Collection[int]) -> Tensor:
    """`[N]` bool: these rows."""
    return on_device([row in chosen for row in range(len(rows.requests))], rows.device)


def _with(state: StepState, row: int, given: Mapping[str, int | bool | None]) -> StepState:
    """The state with the given values in one row, as far as it has these fields."""
    state = dict(state)
    for name, value in given.items():
        if value is not None and name in state:
            state[name] = state[name].clone()
            state[name][row] = value
    return state
