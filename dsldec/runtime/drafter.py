"""Drafts: the states that the next steps lead to, if the logits stay as the last forward gave them; and which
of them come true.

A draft is a step made as if: pure, by the same `StepRunner` as a true one. Shapes: B rows, T window
positions. Not here: the forward of the drafts, the true steps along them (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ir.protocol import WINDOW_START
from .forward import Forward
from .ledger import Ledger
from .poll import Poll, SyncPoll
from .step_runner import BatchState, ForwardOutput, StepResult, StepRunner, within


@dataclass(frozen=True, slots=True)
class Draft:
    """A state that steps may lead to, and the rows that it is forwarded for: those that, as far as the host
    knows, have not ended in it. `made [B]` bool: the rows that it was drafted for at all; `None`: all open
    ones.
    """

    state: BatchState
    rows: list[int]
    made: Tensor | None = None

    def of(self, open_: Tensor) -> Tensor:
        """The open rows, `[B]` bool, that it was drafted for."""
        return open_ if self.made is None else open_ & self.made


class Drafter:
    """Makes the drafts of one forward. `drafts`: how many, the next state among them."""

    def __init__(self, runner: StepRunner, forward: Forward, drafts: int, ledger: Ledger, poll: Poll) -> None:
        self.runner, self.forward, self.drafts, self.ledger, self.poll = runner, forward, drafts, ledger, poll

    def drafted(
        self, first: Draft, seen: ForwardOutput, open_: Tensor, fresh: Collection[int], is_fresh: Tensor
    ) -> list[Draft]:
        """The next state and the steps from it, none where they cannot go on.

        `open_ [B]` bool: rows with a request; `fresh`: rows without a forward so far, of which nothing can be
        drafted, `is_fresh [B]` bool the same.
        """
        drafts, last = [first], first.state
        for depth in range(self.drafts - 1):
            rows = [row for row in drafts[-1].rows if row not in fresh]
            may = self.forward.may_draft(self.runner.placed(last)[0])
            if may is not None:
                rows = [row for row, able in enumerate(may.tolist()) if able and row in rows]
            if fresh:
                may = ~is_fresh if may is None else may & ~is_fresh
            if not rows:
                break
            here = open_ & ~last.ended if may is None else open_ & ~last.ended & may
            after, live = self.runner(last, seen, here).after, len(first.rows)
            last = after if isinstance(self.poll, SyncPoll) and len(rows) == live else after.where(here, last)
            self.ledger.proposed[depth] += here
            known = self.poll.now(last.ended)
            going = [row for row in rows if not (known and known[row])]
            drafts.append(Draft(_without_state(last), going, may))
        return drafts


def _without_state(state: BatchState) -> BatchState:
    """A draft as it is kept until it is verified. Its state is of use only to a condition that lets it pass;
    it may be as large as the logits.
    """
    if state.events.accepted is not None:
        return state
    return replace(state, state={WINDOW_START: state.window_start})


def accepted(before: BatchState, stepped: StepResult, ahead: BatchState | None) -> tuple[BatchState, Tensor]:
    """The state after a true step, or the draft ahead where a condition lets it pass; and the rows `[B]` bool
    that go on from the draft.

    A draft that passes by a condition brings its own state: so each state is one that steps of the policy
    lead to, and the bound on forwards holds.
    """
    following = stepped.after
    if ahead is None:
        return following, torch.zeros_like(following.finished)
    exact = following.same(ahead) & ~following.failed
    if following.events.accepted is None:
        return following, exact
    # The condition was evaluated in the step's window; a draft may have had another, and then what it wrote
    # there was not checked. Nor was anything where a draft writes nothing.
    written = before.canvas != ahead.canvas
    places = stepped.inside & within(following.state, stepped.inside.shape[1])
    checked = torch.zeros_like(written).scatter(1, stepped.columns, places)
    lenient = following.events.accepted & written.any(1) & ~(written & ~checked).any(1)
    lenient = lenient & ~exact & ~following.failed & ~ahead.failed
    return ahead.where(lenient, following), exact | lenient
