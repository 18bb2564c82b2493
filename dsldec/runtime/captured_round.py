"""A forward and the step after it as one CUDA graph. *Not measured on a GPU.*

The state of the batch lives in buffers that each launch advances, so nothing is copied between two launches.
The layout of the rows, the parameters and the counts lie in buffers too; new requests fill them anew. There
is one recording for each set of rows that are input, since the lengths of these rows are numbers of the host.

Only for rounds without drafts, caches and observers: these hold older states, which a launch would write
over. Shapes: B rows, C canvas columns, R rows of the denoiser's input, V vocabulary. Not here: the loop
(`captured_loop`), recordings in general (`backends.cuda_graphs`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..backends.cuda_graphs import Buffers, Recorder, form
from ..lru import LRUCache
from .draft_forward import DraftForward
from .drafter import Draft
from .forward import Forward
from .ledger import Ledger
from .rows import Rows
from .session import Session
from .step_runner import BatchState, StepRunner

# With more sets of rows, the recording with the least recent use is freed.
MOST_RECORDINGS = 32
FORWARDS, INPUT_ROWS, OCCUPANT = "forwards", "input rows", "occupant"
LAYOUT, ENDS, PARAMETER = "layout ", "ends ", "parameter "


class CapturedRound:
    """Advances the state of a session by one forward and one step.

    `logits`: empty, with the dtype of the denoiser's logits; `None` before the first round.
    """

    def __init__(self, session: Session, forward: Forward, ledger: Ledger, recorder: Recorder) -> None:
        self.session, self.forward, self.ledger, self.recorder = session, forward, ledger, recorder
        self.buffers: Buffers | None = None
        self.form: tuple[object, ...] = ()
        self.launches: LRUCache[tuple[object, ...], Callable[[], None]] = LRUCache(MOST_RECORDINGS)
        self.logits: Tensor | None = None

    def __call__(self, which: Sequence[int], occupant: Tensor) -> BatchState:
        """The state after the round. `which`: the rows that are input; `occupant [B]`: the index of each
        row's request, negative where there is none. Raises the errors of the denoiser; `RuntimeError` and
        others where it cannot be recorded: then the session is as before.
        """
        state, rows = self.session.state, self.session.rows
        values = self._values(state, occupant)
        if (found := form(values)) != self.form or self.buffers is None:
            self.buffers, self.form = Buffers(values), found
            self.launches = LRUCache(MOST_RECORDINGS)
        else:
            self.buffers.fill(values)
        lengths = tuple(rows.requests[row].columns for row in which)
        key = (tuple(which), lengths, rows.given_inside)
        self.launches.get_or_make(key, lambda: self._recorded(list(which)))()
        self.buffers.written(self._advanced(state))
        self.ledger.launched_one(which, self.forward.rows_per_draft)
        self.ledger.forwards, self.ledger.input_rows = (
            self.buffers.now[name] for name in (FORWARDS, INPUT_ROWS)
        )
        return state._of(self.buffers.now)

    def _values(self, state: BatchState, occupant: Tensor) -> dict[str, Tensor]:
        """All tensors that a round reads."""
        rows = self.session.rows
        return {
            **state._named(),
            **{LAYOUT + name: value for name, value in _tensors_of(rows).items()},
            **{ENDS + name: value for name, value in _tensors_of(rows.ends).items()},
            **{PARAMETER + name: value for name, value in self.session.runner.params.items()},
            FORWARDS: self.ledger.forwards,
            INPUT_ROWS: self.ledger.input_rows,
            OCCUPANT: occupant,
        }

    def _advanced(self, state: BatchState) -> list[str]:
        """The names of the buffers that a launch writes."""
        return [*state._named(), FORWARDS, INPUT_ROWS]

    def _recorded(self, which: list[int]) -> Callable[[], None]:
        assert self.buffers is not None
        buffers, work = self.buffers, self._work(which)
        # Real errors of the denoiser are raised here.
        dtype = self.recorder.warm_up(work)[1]
        self.logits = torch.empty(0, dtype=dtype)

        def advance() -> None:
            buffers.follow(work()[0])

        return self.recorder.record(advance)[0]

    def _work(self, which: list[int]) -> Callable[[], tuple[dict[str, Tensor], torch.dtype]]:
        """The round as a function of the buffers: the values that it advances, and the dtype of the logits.
        Its objects are made once: their index tensors must exist before a recording.
        """
        assert self.buffers is not None
        now, original = self.buffers.now, self.session.runner
        rows = _rows_in(self.session.rows, now)
        forward = copy.copy(self.forward)
        forward.rows, counts = rows, _RoundCounts()
        runner = StepRunner(original.step, rows, original.windows, stop_at_eos=original.at_eos)
        runner.reads, runner.noise_ids = False, original.noise_ids
        runner.ends_with_window = original.ends_with_window
        runner.params = {name: now[PARAMETER + name] for name in original.params}
        drafts = DraftForward(forward, runner, counts)  # type: ignore[arg-type]
        before = self.session.state._of(now)

        def work() -> tuple[dict[str, Tensor], torch.dtype]:
            # Placements are known by the identity of a tensor, and a buffer has another value in each round.
            runner.forget()
            forward.forget()
            real = now[OCCUPANT] >= 0
            open_ = real & ~before.ended
            seen, _ = drafts([Draft(before, which)], real)
            after = runner(before, seen, open_).after.where(open_, before)
            counted = {
                FORWARDS: now[FORWARDS] + open_,
                INPUT_ROWS: now[INPUT_ROWS] + forward.rows_per_draft * open_,
            }
            return after._named() | counted, seen.logits.dtype

        return work


class _RoundCounts:
    """In place of a ledger: the counts are buffers."""

    on_device, ahead = False, 0

    def forward(self, *given: Any) -> None:
        return None


def _tensors_of(holder: object) -> dict[str, Tensor]:
    """The tensors of an object by the names of their attributes; those of a tuple with their places."""
    found: dict[str, Tensor] = {}
    for name, value in vars(holder).items():
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, tuple) and value and all(isinstance(one, Tensor) for one in value):
            found |= {f"{name} {place}": one for place, one in enumerate(value)}
    return found


def _rows_in(rows: Rows, now: Mapping[str, Tensor]) -> Rows:
    """The rows with their tensors in buffers. The requests stay those of the session."""
    held: Rows = _with_tensors(rows, now, LAYOUT)
    held.ends = _with_tensors(rows.ends, now, ENDS)
    return held


def _with_tensors(holder: Any, now: Mapping[str, Tensor], prefix: str) -> Any:
    held = copy.copy(holder)
    for name, value in vars(holder).items():
        if isinstance(value, Tensor):
            setattr(held, name, now[prefix + name])
        elif isinstance(value, tuple) and value and all(isinstance(one, Tensor) for one in value):
            setattr(held, name, tuple(now[f"{prefix}{name} {place}"] for place in range(len(value))))
    return held
