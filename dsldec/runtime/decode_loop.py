"""The loop of a batch: forward, verify, draft, until every row has ended. Without drafts, the one draft is
the next state.

Drafts are steps with the logits of the last forward, each from the draft before. The first draft is the true
next state; the others are guesses. One forward computes the logits of all drafts. Then verification runs true
steps: each one starts from the true state before, and uses the logits of its draft. If its canvas is that of
the next draft, the next draft is accepted, and its logits are those of a true state. The last true state
continues: its step gives the next first draft, and its logits give the other drafts. So no canvas is
forwarded twice, and every step is a step of the policy without drafts (FreeDave, arXiv:2510.00294, for
one-token static decoding).

Shapes: B rows, T window positions, V vocabulary, R rows of the denoiser's input. Not here: a step and the
work between steps (`true_steps`, `step_runner`), how drafts are made (`drafter`), costs (`ledger`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor

from ..backends.on_device import on_device
from .draft_forward import DraftForward
from .drafter import Draft, Drafter
from .forward import Forward
from .forward_output import ForwardOutput
from .ledger import Ledger
from .poll import Poll, SyncPoll, polling
from .requests import NO_REQUEST, Request
from .rows import Row, Rows
from .session import Session, failure
from .stops import StopStrings
from .trace import StepObserver
from .true_steps import TrueSteps

NOTHING_SEEN = ForwardOutput(torch.empty(0), torch.empty(0))
NOT_ENDED = -2  # in the place of a request's index


class DecodeLoop:
    """Decodes the requests of a session. A waiting request takes the row of a request that has ended. The
    step always runs on all rows, so that it compiles for one shape; it writes nothing in rows that are empty
    or have ended. The denoiser's input has only rows that still decode, and drafts that have not ended. A GPU
    reports the end of a row some forwards late. The row does not change in these forwards, and its input rows
    are wasted.

    `drafts`: the number verified in one forward; `max_forwards`: the proved bound on forwards of a request;
    `stops`: the stop strings, if a request has any.
    """

    def __init__(
        self,
        session: Session,
        forward: Forward,
        waiting: Iterable[Request],
        drafts: int,
        max_forwards: Callable[[Request], int],
        observer: StepObserver,
        poll: Poll | None = None,
        stops: StopStrings | None = None,
    ) -> None:
        self.session, self.observer, self.waiting = session, observer, deque(waiting)
        self.rows: Rows = session.rows
        self.stops = stops
        watched = observer.wanted or forward.waits or stops is not None
        self.poll = poll or polling(self.rows.device, watched=watched)
        self.sync = isinstance(self.poll, SyncPoll)
        session.runner.reads &= self.sync  # what the poll may not read, nothing may
        self.ledger = Ledger(self.rows, drafts, max_forwards, on_device=not self.sync)
        self.steps = TrueSteps(session, observer, stops, self.ledger, refreshes=forward.refreshes)
        self.forward = DraftForward(forward, session.runner, self.ledger)
        self.drafter = Drafter(session.runner, forward, drafts, self.ledger, self.poll)
        self.seen = NOTHING_SEEN
        self.fresh: list[int]
        self.is_fresh: Tensor
        self.occupant: Tensor
        self.real: Tensor
        requests = enumerate(self.rows.requests)
        self.live = [
            row for row, request in requests if request is not NO_REQUEST
        ]  # as far as the host knows
        self._new(list(self.live))

    def run(self) -> Iterator[Row]:
        """Decode until no row is live and no request waits. Before an exception, the rows that have ended by
        then are given.
        """
        try:
            yield from self._rounds()
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._completed_by_now()
            raise

    def _rounds(self) -> Iterator[Row]:
        self.forward.admit(self.live)
        while True:
            yield from self._overdue()
            self._admit()
            if not self.live:
                return
            first = Draft(self.session.state, list(self.live))
            drafts = self.drafter.drafted(first, self.seen, self.real, self.fresh, self.is_fresh)
            # Frees the logits before the next forward: they are large, and nothing reads them again.
            self.seen = NOTHING_SEEN
            yield from self._verified(drafts, *self.forward(drafts, self.real))
            self.forward.keep(self.seen.source)
            self.fresh = []

    def _overdue(self) -> Iterator[Row]:
        if any(map(self.ledger.overdue, self.live)):
            yield from self._finished(self._completed(self.poll.wait()))
        for row in self.live:
            # The checker proved this bound. More forwards are a mistake in dsldec, which must not become an
            # endless loop.
            if self.ledger.overdue(row):
                bound = self.ledger.max_forwards[row]
                raise AssertionError(f"more than the proved {bound} forwards: please report this policy")

    # --- requests that come

    def _admit(self) -> None:
        """Waiting requests take the rows of requests that have ended."""
        free = [row for row in range(len(self.rows.requests)) if row not in self.live] if self.waiting else []
        come = {row: self.waiting.popleft() for row, _ in zip(free, list(self.waiting), strict=False)}
        if not come:
            return
        self.session.admit_all(come)
        self.live = sorted([*self.live, *come])
        self._new(list(come))
        self.ledger.admit(come, self.is_fresh)
        self.forward.admit(self.fresh)

    def _new(self, rows: list[int]) -> None:
        """These rows hold new requests. They had no forward yet, so nothing can be drafted for them."""
        everywhere, device = range(len(self.rows.requests)), self.rows.device
        self.fresh = rows
        if self.stops is not None:
            self.stops.admit(rows)
        self.is_fresh = on_device([row in rows for row in everywhere], device)
        # For the device: the request that each row decodes, -1 where there is none.
        indices = [self.rows.requests[row].index if row in self.live else -1 for row in everywhere]
        self.occupant = on_device(indices, device)
        self.real = self.occupant >= 0

    # --- verify

    def _verified(
        self, drafts: Sequence[Draft], seen: ForwardOutput, sources: Sequence[Tensor]
    ) -> Iterator[Row]:
        """Makes true steps along the drafts, gives the rows that have ended, and stores the last true states
        and their logits.
        """
        state, rows, source, self.seen = drafts[0].state, drafts[0].rows, sources[0], seen
        if len(drafts) == 1 and self.sync:
            ended = self.steps.alone(state, seen, rows)
            flags = None if ended is None else self.poll.now(ended)
            yield from self._finished([row for row in rows if flags and flags[row]])
            return
        open_ = self.real & ~state.ended
        for depth, at in enumerate(sources):
            source = torch.where(open_, at, source)
            self.seen = replace(seen, source=source)
            ahead = drafts[depth + 1 :]
            all_open = self.sync and len(rows) == len(self.live)
            following, passes = self.steps.along(state, self.seen, open_, rows, ahead, all_open=all_open)
            if ahead:
                self.ledger.accepted[depth] += passes & open_
            open_ = passes & open_ & ~following.ended
            known = self.poll.now(torch.stack([following.ended, open_]))
            if known is not None:
                ended, goes_on = known
                yield from self._finished([row for row in rows if ended[row]])
                rows = [row for row in rows if goes_on[row]]
                if not rows:
                    return
            state = following  # read only in rows that go on
        yield from self._finished(self._completed(self.poll.later(self._flags())))

    # --- rows that have ended

    def _flags(self) -> Tensor:
        """`[B]` int64: the index of each row's request if it has ended. When the host reads it, the row may
        already have another request.
        """
        return torch.where(self.session.ended, self.occupant, NOT_ENDED)

    def _completed(self, flags: Sequence[int] | None) -> list[int]:
        """The rows whose requests have ended, according to the flags."""
        return [row for row in self.live if flags and flags[row] == self.rows.requests[row].index]

    def _finished(self, rows: Iterable[int]) -> Iterator[Row]:
        for row in rows:
            finished = self._finish(row)  # if it raises, the row stays live
            self.live.remove(row)
            yield finished

    def _completed_by_now(self) -> list[Row]:
        """After an exception: the rows that have ended and were not given yet, if they can still be read."""
        rows: list[Row] = []
        # Only the first exception is reported: a failed device fails again at every read.
        with suppress(Exception):
            ended = self.session.ended.tolist()
            for row in [row for row in self.live if ended[row]]:
                rows += self._finished([row])
        return rows

    def _finish(self, row: int) -> Row:
        state, request = self.session.state, self.rows.requests[row]
        cost = self.ledger.of(row, state.failed[row])
        stop = self.stops.ends.get(row) if self.stops is not None else None
        error = None if stop is None else stop.error
        stopped = None if stop is None or error is not None else stop.tokens
        ids, content, reason = self.rows.finish(state.canvas, row, stopped)
        if cost.failed:
            error = failure(state, row, half=self.seen.logits.dtype in (torch.float16, torch.bfloat16))
            content = self.rows.written(ids.tolist(), row)
        return Row(
            request.index, request.begin, ids, cost.forwards, cost.input_rows, cost.proposed, cost.accepted,
            content, cost.seconds, error=error, wasted_rows=cost.wasted_rows, sample=request.sample,
            finish_reason=reason if error is None else "error", text=None if stop is None else stop.text,
            stop_ids=request.stop_ids, **self.observer.recorded(request, ids),
        )  # fmt: skip
