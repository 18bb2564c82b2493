"""The loop of a batch: forward, verify, draft, until every row is over. Without drafts there is one: the next step.

From what was seen last the step is made several times as if the logits did not change: nested drafts, of which the first is the true next
moment. All are forwarded at once. Then true steps are made along the drafts, each with its own logits, from the moment that the true step
before it gave; as long as one ends in the canvas that the next draft holds, the next draft's logits are those of a true moment. The last
such moment goes on: what its step gave is the next first draft, and what was seen of it makes the others. So no canvas is forwarded twice,
and every step is one that the policy makes without drafts (FreeDave, arXiv:2510.00294, for one-token static decoding).

Shapes: B rows, T window positions, V vocabulary, R rows fed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..backends.vocabulary import OBSERVATIONS, observe
from ..diagnostics import Diagnostic
from .advance import Advance, Moment, Seen, Stepped
from .forward import Forward
from .poll import AtOnce, Poll, polling
from .rows import Row, Rows, TraceStep


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What one step did in one row, for those who watch.

    `index` is the prompt's, `step` and `forwards` the row's counts so far, `generated` [G] the generation region now,
    `written` the positions this step wrote and `confidence` how sure the denoiser was of each.
    """

    index: int
    step: int
    forwards: int
    generated: Tensor
    written: list[int]
    confidence: dict[int, float]


@dataclass(frozen=True, slots=True)
class Draft:
    """A moment that steps may lead to, and the rows of the batch that it is forwarded for: those that, as far as the host has heard,
    are not over in it."""

    moment: Moment
    rows: list[int]


class Batch:
    """Some prompts decoded together. The step always sees all rows, so that it compiles for one shape; rows that are over,
    or were never there, have nothing to write. Only rows still decoding are forwarded, and only drafts that are not over;
    where the host hears of a row's end later than it came, the row stays as it was then, and what was forwarded for it is surplus.

    `group`: the prompts' places in the run; `drafts`: how many are verified in one forward.
    """

    def __init__(
        self,
        advance: Advance,
        forward: Forward,
        first: Moment,
        group: Sequence[int],
        drafts: int,
        *,
        trace: bool = False,
        on_step: Callable[[StepEvent], None] | None = None,
        poll: Poll | None = None,
    ) -> None:
        self.advance, self.forward, self.group, self.drafts = advance, forward, group, drafts
        self.rows: Rows = advance.rows
        device = self.rows.start.device
        self.poll = poll or polling(device, watched=trace or on_step is not None)
        self.next = first  # what the last true step of each row gave
        self.seen = Seen(torch.empty(0), torch.empty(0))
        self.real = torch.arange(len(self.rows.start), device=device) < len(group)
        self.live = list(range(len(group)))  # as far as the host has heard
        self.forwards = 0
        self.launched = [0] * len(group)  # rows fed for each
        # What each row has cost while it was not over: forwards, rows fed, drafts made and drafts accepted by how far they were ahead.
        self.took, self.fed = torch.zeros(2, len(self.rows.start), dtype=torch.int64, device=device)
        self.proposed, self.accepted = torch.zeros(2, max(1, drafts - 1), len(self.rows.start), dtype=torch.int64, device=device)
        self.indices: tuple[Any, list[Tensor], list[Tensor]] = ((), [], [])
        self.trace: list[list[TraceStep]] | None = [[] for _ in group] if trace else None
        self.on_step = on_step

    def run(self, most: int) -> Iterator[Row]:
        """Decode until no row is live; `most` is the proved bound on forwards."""
        drafts = [Draft(self.next, list(self.live))]
        while self.live:
            if self.forwards >= most:
                yield from self._ended(self.poll.wait())
                # The checker proved this bound: passing it is a mistake of ours, and must not become an endless loop.
                if self.live:
                    raise AssertionError(f"more than the proved {most} forwards: please report this policy")
                return
            logits, sources = self._forwarded(drafts)
            yield from self._verified(drafts, logits, sources)
            drafts = self._drafted()
            # What was seen is as large as all logits, and not read again: it need not lie beside those of the next forward.
            del logits
            self.seen = Seen(torch.empty(0), torch.empty(0))

    def _open(self, moment: Moment) -> Tensor:
        """`[B]` bool: rows of prompts that a moment is not the last of."""
        return self.real & ~moment.over

    # --- forward

    def _forwarded(self, drafts: Sequence[Draft]) -> tuple[Tensor, list[Tensor]]:
        """Logits `[R, L, V]` of all drafts, and of each draft which of them each row looks at, `[B]`."""
        key = [draft.rows for draft in drafts]
        if key != self.indices[0]:
            self.indices = (key, *self._indexed(key))
        _, fed, sources = self.indices
        canvases = [draft.moment.canvas[index] for draft, index in zip(drafts, fed, strict=True)]
        which = [row for rows in key for row in rows]
        logits = self.forward(torch.cat(canvases), which, torch.cat(fed))
        self.forwards += 1
        self.took = self.took + self._open(drafts[0].moment)
        for draft in drafts:
            self.fed = self.fed + self.forward.rows_per_draft * self._open(draft.moment)
        for row in which:
            self.launched[row] += self.forward.rows_per_draft
        return logits, sources

    def _indexed(self, rows_of_drafts: Sequence[Sequence[int]]) -> tuple[list[Tensor], list[Tensor]]:
        """As tensors: the rows fed for each draft, and where in all that is fed each row of the batch finds its own."""
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

    def _verified(self, drafts: Sequence[Draft], logits: Tensor, sources: Sequence[Tensor]) -> Iterator[Row]:
        """Makes true steps along the drafts, gives the rows that are over, and notes the last true moments and what was seen of them."""
        moment, rows, source = drafts[0].moment, drafts[0].rows, sources[0]
        open_ = self._open(moment)
        for depth, at in enumerate(sources):
            source = torch.where(open_, at, source)
            self.seen = Seen(logits, source)
            ahead = drafts[depth + 1].moment if depth + 1 < len(drafts) else None
            stepped = self.advance(moment, self.seen, open_, ahead)
            following, passes = _accepted(moment, stepped, ahead)
            self._tell(moment, stepped, following, rows)
            self.next = self._kept(following, open_, rows, self.next)
            if ahead is not None:
                self.accepted[depth] += passes & open_
            open_ = passes & open_ & ~following.over
            known = self.poll.now(torch.stack([following.over, open_]))
            if known is not None:
                over, goes_on = known
                yield from self._ended([over[row] and row in rows for row in range(len(over))])
                rows = [row for row in rows if goes_on[row]]
                if not rows:
                    return
            moment = following  # of the rows that go on; no step of this round starts in another
        yield from self._ended(self.poll.later(self.next.over))

    # --- draft

    def _drafted(self) -> list[Draft]:
        """The next moment and steps from it as if the logits stayed those seen last; none where they cannot go on."""
        drafts = [Draft(self.next, list(self.live))]
        last = self.next
        for depth in range(self.drafts - 1):
            rows, open_ = drafts[-1].rows, self._open(last)
            if not rows:
                break
            last = self._kept(self.advance(last, self.seen, open_).moment, open_, rows, last)
            self.proposed[depth] += open_
            known = self.poll.now(last.over)
            # The state of a draft is of use only to a condition that lets it pass; it may be as large as the logits.
            kept = last if "accepted" in last.state else replace(last, state={})
            drafts.append(Draft(kept, [row for row in self.live if not (known and known[row])]))
        return drafts

    # --- rows

    def _kept(self, new: Moment, open_: Tensor, rows: Sequence[int], old: Moment) -> Moment:
        """The new moment in the open rows, the old one in the others; of rows that are not live either will do."""
        all_open = isinstance(self.poll, AtOnce) and len(rows) == len(self.live)
        return new if all_open else new.where(open_, old)

    def _ended(self, over: Sequence[bool] | None) -> Iterator[Row]:
        """The rows that are heard to be over."""
        for row in [row for row in self.live if over and over[row]]:
            self.live.remove(row)
            yield self._finish(row)

    def _finish(self, row: int) -> Row:
        moment, begin = self.next, self.rows.prompt_lengths[row]
        costs = [self.took[row], self.fed[row], moment.failed[row], *self.proposed[:, row], *self.accepted[:, row]]
        took, fed, failed, *drafts = torch.stack(costs).tolist()
        proposed, accepted = drafts[: len(drafts) // 2][: self.drafts - 1], drafts[len(drafts) // 2 :][: self.drafts - 1]
        ids, content = self.rows.finish(moment.canvas, row)
        error = self._failure(row, moment) if failed else None
        if error is not None:
            content = int((ids[begin:] != self.rows.mask_id).sum())
        trace, seconds = self.trace[row] if self.trace is not None else None, self.rows.clock()
        return Row(
            self.group[row], begin, ids, took, fed, tuple(proposed), tuple(accepted), content, seconds, trace, error,
            surplus=self.launched[row] - fed,
        )  # fmt: skip

    def _failure(self, row: int, moment: Moment) -> Diagnostic:
        bad = int(moment.state["not_finite"][row].nonzero()[0])
        position = int(moment.state["window_start"][row]) + bad
        step = int(moment.state["step"][row])
        message = f"the denoiser gave logits that are not finite in step {step} at generated position {position}"
        return Diagnostic("E0406", message, help="try the model in float32; what was written before this step is kept")

    # --- what is told

    def _tell(self, moment: Moment, stepped: Stepped, following: Moment, rows: Sequence[int]) -> None:
        """Note what a step wrote, and what the denoiser had said there."""
        if self.trace is None and self.on_step is None:
            return
        mask_id, program = self.rows.mask_id, self.advance.step.program
        before, after = (moment.canvas.gather(1, stepped.columns) for moment in (moment, following))
        token = None if program.facts.deterministic else torch.where(after == mask_id, before, after)
        observed = {name: value.tolist() for name, value in observe(stepped.logits, mask_id, OBSERVATIONS, token).items()}
        starts, steps = stepped.window_start.tolist(), following.state["step"].tolist()
        phases = following.state["ran"].tolist() if "ran" in following.state else [0] * len(starts)
        was, is_, changed = (x.tolist() for x in (before == mask_id, after == mask_id, before != after))
        for row in rows:
            places = [i for i, new in enumerate(changed[row]) if new]
            kinds: dict[tuple[bool, bool], list[int]] = {(True, False): [], (False, True): [], (False, False): []}
            for place in places:
                kinds[was[row][place], is_[row][place]].append(starts[row] + place)
            values = {name: {starts[row] + i: observed[name][row][i] for i in places} for name in OBSERVATIONS}
            written, revoked, edited = kinds.values()
            if self.trace is not None:
                self.trace[row].append(TraceStep(program.phases[phases[row]], written, revoked, edited, self.forwards - 1, values))
            if self.on_step is not None:
                generated = self.rows.generated(following.canvas)[row].cpu().clone()
                self.on_step(StepEvent(self.group[row], steps[row], self.forwards, generated, sorted(written + edited), values["conf"]))


def _accepted(moment: Moment, stepped: Stepped, ahead: Moment | None) -> tuple[Moment, Tensor]:
    """The moment after a step, or the draft ahead where a condition lets it pass; and the rows `[B]` bool that go on from what is ahead.

    A draft let pass brings its own state: so each moment is one that steps of the policy lead to, and the bound on forwards holds.
    """
    following = stepped.moment
    if ahead is None:
        return following, torch.zeros_like(following.finished)
    exact = following.same(ahead) & ~following.failed
    if "accepted" not in following.state:
        return following, exact
    # The condition was asked in the step's window; a draft may have had another, and then nothing was asked of what it wrote there.
    # A draft that writes nothing was not asked anything either.
    written = moment.canvas != ahead.canvas
    places = stepped.inside
    if "window_length" in following.state:
        places = places & (torch.arange(places.shape[1], device=places.device) < following.state["window_length"].unsqueeze(1))
    asked = torch.zeros_like(written).scatter(1, stepped.columns, places)
    lenient = following.state["accepted"] & written.any(1) & ~(written & ~asked).any(1)
    lenient = lenient & ~exact & ~following.failed & ~ahead.failed
    return ahead.where(lenient, following), exact | lenient
