"""The loop of a batch under a policy with `branch`: forward all candidates, pick the best, make the next.

A step makes N candidates of the next state. Equal inputs of a row are forwarded once. The scores of `pick by`
come from the observations of the candidates themselves. The best candidate of each row goes on: its canvas,
its state and its logits, from which the next step makes N candidates again. So no canvas is forwarded twice,
and a row takes as many forwards as without the branch. Where a candidate has ended, the row ends with it (the
first of several), without a forward. A step is reported when its candidate is picked.

The host reads all candidates after each step, also on a GPU. Shapes: B rows, N candidates. Not here: how
candidates are made and compared (`brancher`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.on_device import on_device
from .brancher import Brancher, DistinctInputs, chosen
from .decode_loop import DecodeLoop
from .drafter import Draft
from .forward import Forward
from .forward_output import ForwardOutput
from .poll import SyncPoll
from .requests import Request
from .rows import Row
from .session import Session
from .step_runner import BatchState, StepResult
from .stops import StopStrings
from .trace import StepObserver


@dataclass(frozen=True, slots=True)
class UnreportedStep:
    """A step whose candidate is not picked yet: the state before it, its windows and logits, and the forwards
    so far of each row that made it.
    """

    before: BatchState
    stepped: StepResult
    forwards: Mapping[int, int]


class BranchLoop(DecodeLoop):
    """A `DecodeLoop` for policies whose steps make several candidates. `branches`: their number."""

    def __init__(
        self,
        session: Session,
        forward: Forward,
        waiting: Iterable[Request],
        drafts: int,
        max_forwards: Callable[[Request], int],
        observer: StepObserver,
        *,
        branches: int,
        stops: StopStrings | None = None,
    ) -> None:
        super().__init__(session, forward, waiting, drafts, max_forwards, observer, SyncPoll(), stops)
        self.brancher = Brancher(session.runner, branches)
        self.candidates = [session.state]
        self.unreported: UnreportedStep | None = None

    def _rounds(self) -> Iterator[Row]:
        self.forward.admit(self.live)
        while True:
            yield from self._overdue()
            self._admit()
            if not self.live:
                return
            inputs = self.brancher.distinct(self.candidates, self.live)
            self.seen = ForwardOutput(torch.empty(0), torch.empty(0))  # frees the logits
            self._pick(inputs, *self._forwarded(inputs))
            yield from self._stopped()
            yield from self._forked(self.session.state)
            self.forward.keep(self.seen.source)
            self.fresh = []

    def _admit(self) -> None:
        before = self.session.state
        super()._admit()
        if self.session.state is not before:
            self.candidates = [self.session.state.where(self.is_fresh, one) for one in self.candidates]

    # --- the best candidate

    def _forwarded(self, inputs: DistinctInputs) -> tuple[ForwardOutput, list[ForwardOutput]]:
        """The logits of a forward, and for each candidate the same with the rows that it reads."""
        if inputs.one_each:
            seen, _ = self.forward([Draft(self.candidates[0], list(self.live))], self.real)
            return seen, [seen for _ in self.candidates]
        drafts = [Draft(one, rows) for one, rows in zip(self.candidates, inputs.rows, strict=True)]
        seen, sources = self.forward(drafts, self.real)
        same = on_device(inputs.same, self.rows.device, torch.int64)
        every = torch.stack(list(sources)).gather(0, same)
        return seen, [replace(seen, source=source) for source in every.unbind()]

    def _pick(self, inputs: DistinctInputs, seen: ForwardOutput, of_each: Sequence[ForwardOutput]) -> None:
        """The state of the best candidate of each row becomes the state of the session. Its logits are those
        of the next step.
        """
        best, scores = torch.zeros_like(self.rows.begin), None
        if len(self.candidates) > 1:
            best, scores = self.brancher.best(self.candidates, of_each, self._open())
        picked = chosen(self.candidates, best)
        if not inputs.one_each:
            sources = torch.stack([one.source for one in of_each])
            seen = replace(seen, source=sources.gather(0, best.unsqueeze(0)).squeeze(0))
        self.seen, self.session.state = seen, picked
        if self.unreported is not None:
            forwards = {row: n for row, n in self.unreported.forwards.items() if row not in self.fresh}
            self._report(self.unreported, picked, forwards, best, scores)

    def _stopped(self) -> Iterator[Row]:
        """Ends rows whose text has a stop string. Only the text of the picked candidates is read, so that the
        answer is that of a run without stop strings.
        """
        if self.stops is None:
            return
        self.session.state = self.stops.after(self.session.state, self.live)
        ended = self.session.ended.tolist()
        yield from self._finished([row for row in self.live if ended[row]])

    def _open(self) -> Tensor | None:
        """The rows that decode, `[B]` bool; `None` for every row."""
        slots = range(len(self.rows.requests))
        if len(self.live) == len(slots):
            return None
        return on_device([row in self.live for row in slots], self.rows.device)

    # --- the next candidates

    def _forked(self, picked: BatchState) -> Iterator[Row]:
        """Makes the candidates of the next step, and gives the rows that have ended with one of them."""
        made = self.brancher.forked(picked, self.seen, self._open())
        states = [one.after for one in made]
        self.candidates = states
        step = UnreportedStep(picked, made[0], {row: self.ledger.forwards_so_far(row) for row in self.live})
        ended = torch.stack([one.ended for one in states]).tolist()
        last = {
            row: next(number for number, rows in enumerate(ended) if rows[row])
            for row in self.live
            if any(rows[row] for rows in ended)
        }
        if last:
            yield from self._over(step, states, last)
        self.unreported = self._kept(step) if self.observer.wanted else None

    def _over(
        self, step: UnreportedStep, states: Sequence[BatchState], last: Mapping[int, int]
    ) -> Iterator[Row]:
        """Ends rows. `last`: for each of them, the number of the candidate that it ends with."""
        slots, device = range(len(self.rows.requests)), self.rows.device
        which = on_device([last.get(row, 0) for row in slots], device, torch.int64)
        here = on_device([row in last for row in slots], device)
        following = chosen(states, which).where(here, step.before)
        if self.stops is not None:
            following = self.stops.after(following, list(last))
        self.session.state = following
        self._report(step, following, {row: step.forwards[row] for row in last}, which)
        yield from self._finished(list(last))

    # --- reports

    def _report(
        self,
        step: UnreportedStep,
        following: BatchState,
        forwards: Mapping[int, int],
        which: Tensor,
        scores: Tensor | None = None,
    ) -> None:
        forwards = {row: count for row, count in forwards.items() if row in self.live}
        if forwards and self.observer.wanted:
            self.observer.step(step.before, step.stepped, following, forwards, which, scores)

    def _kept(self, step: UnreportedStep) -> UnreportedStep:
        """The step with a copy of its logits, which no later step overwrites."""
        return replace(step, stepped=replace(step.stepped, logits=step.stepped.logits.clone()))
