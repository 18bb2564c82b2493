"""The loop of a batch: forward, verify, draft, until every row is over. Without drafts there is one: the next
step.

From what was seen last the step is made several times as if the logits did not change: nested drafts, of
which the first is the true next moment. All are forwarded at once. Then true steps are made along the drafts,
each with its own logits, from the moment that the true step before it gave; as long as one ends in the canvas
that the next draft holds, the next draft's logits are those of a true moment. The last such moment goes on:
what its step gave is the next first draft, and what was seen of it makes the others. So no canvas is
forwarded twice, and every step is one that the policy makes without drafts (FreeDave, arXiv:2510.00294, for
one-token static decoding).

Shapes: B rows, T window positions, V vocabulary, R rows fed.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..diagnostics import Diagnostic
from .forward import Forward
from .poll import Poll, SyncPoll, polling
from .requests import Request
from .rows import Row, Rows
from .step_runner import BatchState, ForwardOutput, StepResult, StepRunner
from .trace import StepObserver

NOTHING_SEEN = ForwardOutput(torch.empty(0), torch.empty(0))
NOT_OVER = -2  # where a request's index would be


@dataclass(frozen=True, slots=True)
class Draft:
    """A moment that steps may lead to, and the rows of the batch that it is forwarded for: those that, as far
    as the host has heard, are not over in it; and which rows it was drafted for at all, `[B]` bool (`None`:
    for all that are open).
    """

    moment: BatchState
    rows: list[int]
    made: Tensor | None = None

    def of(self, open_: Tensor) -> Tensor:
        """Those of the open rows, `[B]` bool, that it was drafted for."""
        return open_ if self.made is None else open_ & self.made


class DecodeLoop:
    """Some prompts decoded together, and in the place of each that is over one that waits. The step always
    sees all rows, so that it compiles for one shape; rows that are over, or were never there, have nothing to
    write. Only rows still decoding are forwarded, and only drafts that are not over; where the host hears of
    a row's end later than it came, the row stays as it was then, and what was forwarded for it is surplus.

    `rows`: of those, the first `count` hold requests; `waiting`: those that take their places; `drafts`: how
    many are verified in one forward; `most`: the proved bound on forwards of a request.
    """

    def __init__(
        self,
        advance: StepRunner,
        forward: Forward,
        first: Callable[[], BatchState],
        count: int,
        waiting: Iterable[Request],
        drafts: int,
        most: Callable[[Request], int],
        told: StepObserver,
        poll: Poll | None = None,
    ) -> None:
        self.advance, self.forward, self.first, self.drafts, self.most = advance, forward, first, drafts, most
        self.waiting = deque(waiting)
        self.rows: Rows = advance.rows
        slots, device = len(self.rows.start), self.rows.start.device
        self.told = told
        self.poll = poll or polling(device, watched=told.wanted or forward.waits)
        self.seen = NOTHING_SEEN
        self.live = list(range(count))  # as far as the host has heard
        self.fresh = list(
            self.live
        )  # of those, the ones that nothing was forwarded for yet: nothing can be drafted for them
        self.forwards = 0
        self.is_fresh = torch.ones(slots, dtype=torch.bool, device=device)
        self.next = first()  # what the last true step of each row gave
        # What each row has cost while it was not over: forwards, rows fed, drafts made and drafts accepted by
        # how far they were ahead.
        self.took, self.fed = torch.zeros(2, slots, dtype=torch.int64, device=device)
        self.proposed, self.accepted = torch.zeros(
            2, max(1, drafts - 1), slots, dtype=torch.int64, device=device
        )
        self.bound = [most(request) for request in self.rows.requests]
        self.launched, self.since, self.began = (
            [0] * slots,
            [0] * slots,
            [time.perf_counter()] * slots,
        )  # rows fed, first forward, when
        self.indices: tuple[Any, list[Tensor], list[Tensor]] = ((), [], [])
        self._occupied()

    def run(self) -> Iterator[Row]:
        """Decode until no row is live and no request waits. Whatever is raised: the rows that are over by
        then are given first.
        """
        try:
            yield from self._rounds()
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._over_by_now()
            raise

    def _rounds(self) -> Iterator[Row]:
        self.forward.admit(self.live)
        while True:
            yield from self._overdue()
            self._admit()
            if not self.live:
                return
            drafts = self._drafted()
            # What was seen is as large as all logits, and not read again: it need not lie beside those of the
            # next forward.
            self.seen = NOTHING_SEEN
            yield from self._verified(drafts, *self._forwarded(drafts))
            self.forward.keep(self.seen.source)
            self.fresh = []

    def _overdue(self) -> Iterator[Row]:
        if any(self._late(row) for row in self.live):
            yield from self._ended(self._heard(self.poll.wait()))
        for row in self.live:
            # The checker proved this bound: passing it is a mistake of ours, and must not become an endless
            # loop.
            if self._late(row):
                raise AssertionError(
                    f"more than the proved {self.bound[row]} forwards: please report this policy"
                )

    def _late(self, row: int) -> bool:
        return self.forwards - self.since[row] >= self.bound[row]

    # --- who is here

    def _admit(self) -> None:
        """Requests that wait take the rows of those that are over."""
        free = [row for row in range(len(self.rows.start)) if row not in self.live] if self.waiting else []
        come = {row: self.waiting.popleft() for row, _ in zip(free, list(self.waiting), strict=False)}
        if not come:
            return
        self.rows.put(come)
        new = torch.tensor([row in come for row in range(len(self.rows.start))], device=self.rows.device)
        self.next = self.first().where(new, self.next)
        self.took, self.fed, self.proposed, self.accepted = (
            torch.where(new, 0, count) for count in (self.took, self.fed, self.proposed, self.accepted)
        )
        for row in come:
            self.launched[row], self.since[row], self.began[row] = 0, self.forwards, time.perf_counter()
            self.bound[row] = self.most(come[row])
        self.fresh, self.is_fresh = list(come), new
        self.live = sorted([*self.live, *come])
        self._occupied()
        self.forward.admit(self.fresh)

    def _occupied(self) -> None:
        """Notes for the device which request each row is decoding, as -1 where there is none."""
        indices = [
            self.rows.requests[row].index if row in self.live else -1 for row in range(len(self.rows.start))
        ]
        self.occupant = torch.tensor(indices, device=self.rows.device)
        self.real = self.occupant >= 0

    def _open(self, moment: BatchState) -> Tensor:
        """`[B]` bool: rows of prompts that a moment is not the last of."""
        return self.real & ~moment.ended

    # --- forward

    def _forwarded(self, drafts: Sequence[Draft]) -> tuple[ForwardOutput, list[Tensor]]:
        """What was seen of all drafts, and of each draft which of its rows each row of the batch looks at,
        `[B]`.
        """
        key = [draft.rows for draft in drafts]
        if key != self.indices[0]:
            self.indices = (key, *self._indexed(key))
        _, fed, sources = self.indices
        canvases = [draft.moment.canvas[index] for draft, index in zip(drafts, fed, strict=True)]
        which = [row for rows in key for row in rows]
        windows = functools.partial(self._windows, drafts, fed)
        logits, first = self.forward(torch.cat(canvases), which, torch.cat(fed), windows)
        self.forwards += 1
        self.took = self.took + self._open(drafts[0].moment)
        for draft in drafts:
            self.fed = self.fed + self.forward.rows_per_draft * draft.of(self._open(draft.moment))
        for row in which:
            self.launched[row] += self.forward.rows_per_draft
        return ForwardOutput(logits, sources[0], first), sources

    def _windows(self, drafts: Sequence[Draft], fed: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The first column of the window of each row that is fed, and the column after its last, `[R]` each."""
        placed = [self.advance.placed(draft.moment) for draft in drafts]
        start, end = (
            torch.cat([one[side][index] for one, index in zip(placed, fed, strict=True)]) for side in (0, 1)
        )
        begin = self.rows.begin[torch.cat(list(fed))]
        return begin + start, begin + end

    def _indexed(self, rows_of_drafts: Sequence[Sequence[int]]) -> tuple[list[Tensor], list[Tensor]]:
        """As tensors: the rows fed for each draft, and where in all that is fed each row of the batch finds
        its own.
        """
        device, fed, sources, before = self.rows.start.device, [], [], 0
        for rows in rows_of_drafts:
            source = [0] * len(self.rows.start)
            for n, row in enumerate(rows):
                source[row] = before + n
            before += len(rows)
            fed.append(torch.tensor(rows, dtype=torch.int64, device=device))
            sources.append(torch.tensor(source, device=device))
        return fed, sources

    # --- verify

    def _verified(
        self, drafts: Sequence[Draft], seen: ForwardOutput, sources: Sequence[Tensor]
    ) -> Iterator[Row]:
        """Makes true steps along the drafts, gives the rows that are over, and notes the last true moments
        and what was seen of them.
        """
        moment, rows, source = drafts[0].moment, drafts[0].rows, sources[0]
        open_ = self._open(moment)
        for depth, at in enumerate(sources):
            source = torch.where(open_, at, source)
            self.seen = replace(seen, source=source)
            ahead = drafts[depth + 1].moment if depth + 1 < len(drafts) else None
            stepped = self.advance(moment, self.seen, open_, ahead)
            following, passes = _accepted(moment, stepped, ahead)
            passes = passes if ahead is None else drafts[depth + 1].of(passes)
            self.next = self._kept(
                following, open_, rows, self.next
            )  # before others hear of it: they may raise
            self.told.step(moment, stepped, following, {row: self.forwards - self.since[row] for row in rows})
            if ahead is not None:
                self.accepted[depth] += passes & open_
            open_ = passes & open_ & ~following.ended
            known = self.poll.now(torch.stack([following.ended, open_]))
            if known is not None:
                over, goes_on = known
                yield from self._ended([row for row in rows if over[row]])
                rows = [row for row in rows if goes_on[row]]
                if not rows:
                    return
            moment = following  # of the rows that go on; no step of this round starts in another
        yield from self._ended(self._heard(self.poll.later(self._flags())))

    # --- draft

    def _drafted(self) -> list[Draft]:
        """The next moment and steps from it as if the logits stayed those seen last; none where they cannot
        go on.
        """
        drafts = [Draft(self.next, list(self.live))]
        last = self.next
        for depth in range(self.drafts - 1):
            rows, open_, made = self._may_draft(drafts[-1].rows, last)
            if not rows:
                break
            last = self._kept(self.advance(last, self.seen, open_).after, open_, rows, last)
            self.proposed[depth] += open_
            known = self.poll.now(last.ended)
            # The state of a draft is of use only to a condition that lets it pass; it may be as large as the
            # logits.
            kept = (
                last
                if last.events.accepted is not None
                else replace(last, state={"window_start": last.state["window_start"]})
            )
            drafts.append(Draft(kept, [row for row in rows if not (known and known[row])], made))
        return drafts

    def _may_draft(self, rows: Sequence[int], moment: BatchState) -> tuple[list[int], Tensor, Tensor | None]:
        """Of some rows, those for which the next draft can be made from a moment; the same as `[B]` bool; and
        that if it is not all.
        """
        may, rows = (
            self.forward.may_draft(self.advance.placed(moment)[0]),
            [row for row in rows if row not in self.fresh],
        )
        if may is not None:
            rows = [row for row, able in enumerate(may.tolist()) if able and row in rows]
        if self.fresh:
            may = ~self.is_fresh if may is None else may & ~self.is_fresh
        open_ = self._open(moment)
        return rows, open_ if may is None else open_ & may, may

    # --- rows

    def _kept(self, new: BatchState, open_: Tensor, rows: Sequence[int], old: BatchState) -> BatchState:
        """The new moment in the open rows, the old one in the others; of rows that are not live either will
        do.
        """
        all_open = isinstance(self.poll, SyncPoll) and len(rows) == len(self.live)
        return new if all_open else new.where(open_, old)

    def _flags(self) -> Tensor:
        """`[B]` int64: the index of each row's request that is over. By the time that it is heard another may
        be there.
        """
        return torch.where(self.next.ended, self.occupant, NOT_OVER)

    def _heard(self, flags: Sequence[int] | None) -> list[int]:
        """The rows whose requests are over, as far as flags tell."""
        return [row for row in self.live if flags and flags[row] == self.rows.requests[row].index]

    def _ended(self, rows: Iterable[int]) -> Iterator[Row]:
        for row in rows:
            finished = self._finish(row)  # it may raise, and then the row is still here
            self.live.remove(row)
            yield finished

    def _over_by_now(self) -> list[Row]:
        """The rows that are over and were not given yet, where something was raised; as many as can still be
        read.
        """
        rows: list[Row] = []
        # What was raised is the news: a device that failed has nothing more to say, and says so again.
        with suppress(Exception):
            over = self.next.ended.tolist()
            for row in [row for row in self.live if over[row]]:
                rows += self._ended([row])
        return rows

    def _finish(self, row: int) -> Row:
        moment, request = self.next, self.rows.requests[row]
        costs = [
            self.took[row],
            self.fed[row],
            moment.failed[row],
            *self.proposed[:, row],
            *self.accepted[:, row],
        ]
        took, fed, failed, *drafts = torch.stack(costs).tolist()
        proposed, accepted = (
            drafts[: len(drafts) // 2][: self.drafts - 1],
            drafts[len(drafts) // 2 :][: self.drafts - 1],
        )
        ids, content = self.rows.finish(moment.canvas, row)
        error = self._failure(row, moment) if failed else None
        if error is not None:
            content = self.rows.written(ids.tolist(), row)
        trace, seconds = self.told.trace_of(request.index), time.perf_counter() - self.began[row]
        return Row(
            request.index, request.begin, ids, took, fed, tuple(proposed), tuple(accepted), content, seconds, trace, error,
            wasted_rows=self.launched[row] - fed,
        )  # fmt: skip

    def _failure(self, row: int, moment: BatchState) -> Diagnostic:
        bad = int(moment.events.not_finite[row].nonzero()[0])
        position = int(moment.state["window_start"][row]) + bad
        step = int(moment.state["step"][row])
        message = (
            f"the denoiser gave logits that are not finite in step {step} at generated position {position}"
        )
        half = self.seen.logits.dtype in (torch.float16, torch.bfloat16)
        help = (
            "try the model in float32"
            if half
            else "they come from the model's weights or code, also in full precision"
        )
        return Diagnostic("E0406", message, help=f"{help}; the tokens written before this step stay")


def _accepted(moment: BatchState, stepped: StepResult, ahead: BatchState | None) -> tuple[BatchState, Tensor]:
    """The moment after a step, or the draft ahead where a condition lets it pass; and the rows `[B]` bool
    that go on from what is ahead.

    A draft let pass brings its own state: so each moment is one that steps of the policy lead to, and the
    bound on forwards holds.
    """
    following = stepped.after
    if ahead is None:
        return following, torch.zeros_like(following.finished)
    exact = following.same(ahead) & ~following.failed
    if following.events.accepted is None:
        return following, exact
    # The condition was asked in the step's window; a draft may have had another, and then nothing was asked
    # of what it wrote there. A draft that writes nothing was not asked anything either.
    written = moment.canvas != ahead.canvas
    places = stepped.inside
    if "window_length" in following.state:
        places = places & (
            torch.arange(places.shape[1], device=places.device)
            < following.state["window_length"].unsqueeze(1)
        )
    asked = torch.zeros_like(written).scatter(1, stepped.columns, places)
    lenient = following.events.accepted & written.any(1) & ~(written & ~asked).any(1)
    lenient = lenient & ~exact & ~following.failed & ~ahead.failed
    return ahead.where(lenient, following), exact | lenient
