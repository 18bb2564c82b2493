"""The loop of a batch: forward, verify, draft, until every row is over. Without drafts there is one: the next step.

From what was seen last the step is made several times as if the logits did not change: nested drafts, of which the first is the true next
moment. All are forwarded at once. Then true steps are made along the drafts, each with its own logits, from the moment that the true step
before it gave; as long as one ends in the canvas that the next draft holds, the next draft's logits are those of a true moment. The last
such moment goes on: what its step gave is the next first draft, and what was seen of it makes the others. So no canvas is forwarded twice,
and every step is one that the policy makes without drafts (FreeDave, arXiv:2510.00294, for one-token static decoding).

Shapes: B rows, T window positions, V vocabulary, R rows fed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.vocabulary import OBSERVATIONS, observe
from ..diagnostics import Diagnostic
from .advance import Advance, Moment, Seen, Stepped
from .forward import Forward
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


@dataclass(slots=True)
class _Count:
    """What one row has cost so far: rows fed, drafts made and accepted by how far they were ahead."""

    fed: int
    proposed: list[int]
    accepted: list[int]


class Batch:
    """Some prompts decoded together. The step always sees all rows, so that it compiles for one shape; rows that are over,
    or were never there, have nothing to write. Only rows still decoding are forwarded, and only drafts that are not over.

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
    ) -> None:
        self.advance, self.forward, self.group, self.drafts = advance, forward, group, drafts
        self.rows: Rows = advance.rows
        self.moment = self.next = first  # the last one that was forwarded, and what its step gave
        self.seen = Seen(torch.empty(0), torch.empty(0))
        self.live = list(range(len(group)))
        self.forwards = 0  # every live row took part in all of them
        self.counts = [_Count(0, [0] * (drafts - 1), [0] * (drafts - 1)) for _ in group]
        self.trace: list[list[TraceStep]] | None = [[] for _ in group] if trace else None
        self.on_step = on_step

    def run(self, most: int) -> Iterator[Row]:
        """Decode until no row is live; `most` is the proved bound on forwards."""
        drafts = [self.next]
        while self.live:
            # The checker proved this bound: passing it is a mistake of ours, and must not become an endless loop.
            if self.forwards >= most:
                raise AssertionError(f"more than the proved {most} forwards: please report this policy")
            logits, places = self._forwarded(drafts)
            yield from self._verified(drafts, logits, places)
            drafts = self._drafted()
            # What was seen is as large as all logits, and not read again: it need not lie beside those of the next forward.
            del logits
            self.moment, self.seen = self.next, Seen(torch.empty(0), torch.empty(0))

    # --- forward

    def _forwarded(self, drafts: Sequence[Moment]) -> tuple[Tensor, list[dict[int, int]]]:
        """Logits `[R, L, V]` of all drafts that are not over, and of each draft, by row of the batch, which of them are its."""
        places: list[dict[int, int]] = []
        canvases: list[Tensor] = []
        which: list[int] = []
        for draft in drafts:
            feed = self._open(draft)
            places.append({row: len(which) + n for n, row in enumerate(feed)})
            canvases.append(draft.canvas[feed])
            which += feed
        logits = self.forward(torch.cat(canvases), which)
        self.forwards += 1
        for row in which:
            self.counts[row].fed += self.forward.rows_per_draft
        return logits, places

    def _open(self, moment: Moment) -> list[int]:
        """The live rows that a moment is not the last of."""
        over = moment.over.tolist()
        return [row for row in self.live if not over[row]]

    # --- verify

    def _verified(self, drafts: Sequence[Moment], logits: Tensor, places: Sequence[Mapping[int, int]]) -> Iterator[Row]:
        """Makes true steps along the drafts, gives the rows that are over, and notes the last true moments and what was seen of them."""
        source = torch.zeros(len(self.rows.start), dtype=torch.int64)
        self.moment, open_ = drafts[0], list(self.live)
        for depth, place in enumerate(places):
            source[open_] = torch.tensor([place[row] for row in open_])
            self.seen = Seen(logits, source.to(logits.device))
            ahead = drafts[depth + 1] if depth + 1 < len(drafts) else None
            stepped = self.advance(self.moment, self.seen, self._mask(open_), ahead)
            following, passes = _accepted(self.moment, stepped, ahead)
            self._tell(stepped, following, open_)
            self.next = self._kept(following, open_, self.next)
            flags = torch.stack([following.finished, following.failed, passes], 1).tolist()
            for row in open_:
                finished, failed, accepted = flags[row]
                if ahead is not None:
                    self.counts[row].accepted[depth] += accepted
                if finished or failed:
                    self.live.remove(row)
                    yield self._finish(row, following, self._failure(row, following) if failed else None)
            open_ = [row for row in open_ if flags[row][2] and row in self.live]
            if not open_:
                return
            self.moment = following  # of the rows that go on; no step of this round starts in another

    # --- draft

    def _drafted(self) -> list[Moment]:
        """The next moment and steps from it as if the logits stayed those seen last; none where they cannot go on."""
        drafts, last = [self.next], self.next
        for depth in range(self.drafts - 1):
            open_ = self._open(last)
            if not open_:
                break
            last = self._kept(self.advance(last, self.seen, self._mask(open_)).moment, open_, last)
            # The state of a draft is of use only to a condition that lets it pass; it may be as large as the logits.
            drafts.append(last if "accepted" in last.state else replace(last, state={}))
            for row in open_:
                self.counts[row].proposed[depth] += 1
        return drafts

    # --- rows

    def _mask(self, rows: Sequence[int]) -> Tensor:
        mask = torch.zeros(len(self.rows.start), dtype=torch.bool)
        mask[list(rows)] = True
        return mask.to(self.rows.start.device)

    def _kept(self, new: Moment, rows: Sequence[int], old: Moment) -> Moment:
        """The new moment in some rows, the old one in the others; of rows that are not live either will do."""
        return new if set(self.live) <= set(rows) else new.where(self._mask(rows), old)

    def _failure(self, row: int, moment: Moment) -> Diagnostic:
        bad = int(moment.state["not_finite"][row].nonzero()[0])
        position = int(moment.state["window_start"][row]) + bad
        step = int(moment.state["step"][row])
        message = f"the denoiser gave logits that are not finite in step {step} at generated position {position}"
        return Diagnostic("E0406", message, help="try the model in float32; what was written before this step is kept")

    def _finish(self, row: int, moment: Moment, error: Diagnostic | None) -> Row:
        ids, content = self.rows.finish(moment.canvas, row)
        begin = int(self.rows.prompt_lengths[row])
        if error is not None:
            content = int((ids[begin:] != self.rows.mask_id).sum())
        count, seconds = self.counts[row], self.rows.clock()
        return Row(
            self.group[row], begin, ids, self.forwards, count.fed, tuple(count.proposed), tuple(count.accepted), content, seconds,
            self.trace[row] if self.trace is not None else None, error,
        )  # fmt: skip

    # --- what is told

    def _tell(self, stepped: Stepped, following: Moment, rows: Sequence[int]) -> None:
        """Note what a step wrote, and what the denoiser had said there."""
        if self.trace is None and self.on_step is None:
            return
        mask_id, program = self.rows.mask_id, self.advance.step.program
        before, after = (moment.canvas.gather(1, stepped.columns) for moment in (self.moment, following))
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
    length = following.state.get("window_length", torch.full_like(stepped.window_start, stepped.columns.shape[1]))
    places = torch.arange(stepped.columns.shape[1], device=length.device) < length.unsqueeze(1)
    asked = torch.zeros_like(written).scatter(1, stepped.columns, places)
    lenient = following.state["accepted"] & written.any(1) & ~(written & ~asked).any(1)
    lenient = lenient & ~exact & ~following.failed & ~ahead.failed
    return ahead.where(lenient, following), exact | lenient
