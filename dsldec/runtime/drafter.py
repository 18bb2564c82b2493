"""Drafts: the states after the next steps, computed with the logits of the last forward; and their
acceptance.

The same `StepRunner` makes drafts and true steps. It is pure, so a draft changes nothing. Shapes: B rows, T
window positions. Not here: the forward of the drafts, the true steps along them (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..ir.protocol import STEP, WINDOW_START
from .forward import Forward
from .forward_output import ForwardOutput
from .ledger import Ledger
from .poll import Poll, SyncPoll
from .step_runner import BatchState, StepResult, StepRunner, within


@dataclass(frozen=True, slots=True)
class Draft:
    """A drafted state, and its rows in the forward: rows that have not ended in it, as far as the host knows.
    `made [B]` bool: the rows that have this draft; `None`: all open rows.
    """

    state: BatchState
    rows: list[int]
    made: Tensor | None = None

    def of(self, open_: Tensor) -> Tensor:
        """The open rows `[B]` bool that have this draft."""
        return open_ if self.made is None else open_ & self.made


@dataclass(frozen=True, slots=True)
class DraftsAhead:
    """The drafts after a true step, the next one first, and the rows `passes [B]` bool that accept it."""

    drafts: Sequence[Draft]
    passes: Tensor

    def refused(self, row: int) -> int:
        """How many drafts of a row its step refused: the next one and those after it, 0 if it accepts."""
        if self.passes[row]:
            return 0
        made = [one.made is None or bool(one.made[row]) for one in self.drafts]
        # A draft of a row that has ended in the draft before it was never made.
        going = [True, *(row in one.rows for one in self.drafts)]
        return next((n for n, both in enumerate(zip(made, going, strict=False)) if not all(both)), len(made))


class Drafter:
    """Makes the drafts of one forward. `drafts`: their number, with the next state."""

    def __init__(self, runner: StepRunner, forward: Forward, drafts: int, ledger: Ledger, poll: Poll) -> None:
        self.runner, self.forward, self.drafts, self.ledger, self.poll = runner, forward, drafts, ledger, poll

    def drafted(
        self, first: Draft, seen: ForwardOutput, open_: Tensor, fresh: Collection[int], is_fresh: Tensor
    ) -> list[Draft]:
        """The next state, and the drafts of the steps after it; fewer if no row can go on.

        `open_ [B]` bool: rows with a request; `fresh`: rows without a forward so far, which have no logits to
        draft from; `is_fresh [B]` bool: the same rows as a tensor.
        """
        drafts, last = [first], first.state
        for depth in range(self.drafts - 1):
            rows = [row for row in drafts[-1].rows if row not in fresh]
            may = self.forward.may_draft(self.runner.placed(last).start, last.events.refresh)
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
    """A draft as it is stored until its verification. Its state continues only if an `accept` condition
    accepts the draft. Otherwise the state is dropped now: it may be as large as the logits.
    """
    if state.events.accepted is not None:
        return state
    # With random ids on the canvas, a forward also reads the number of the step.
    return replace(state, state={name: state.state[name] for name in (WINDOW_START, STEP)})


def accepted(
    before: BatchState, stepped: StepResult, ahead: BatchState | None, *, refreshes: bool
) -> tuple[BatchState, Tensor]:
    """The state after a true step, or the next draft where an `accept` condition accepts it; and the rows
    `[B]` bool that go on from the draft. `refreshes`: see `BatchState.same`.

    A draft that a condition accepts continues with its state. So every state comes from steps of the policy,
    and the bound on forwards holds.
    """
    following = stepped.after
    if ahead is None:
        return following, torch.zeros_like(following.finished)
    exact = following.same(ahead, refreshes=refreshes) & ~following.failed
    if following.events.accepted is None:
        return following, exact
    # The condition was evaluated in the window of the true step. The writes of a draft in another window were
    # not checked, and in a draft without writes nothing was checked: such drafts are rejected.
    written = before.canvas != ahead.canvas
    columns, inside = stepped.placed.columns, stepped.placed.inside
    places = inside & within(following.state, inside.shape[1])
    checked = torch.zeros_like(written).scatter(1, columns, places)
    lenient = following.events.accepted & written.any(1) & ~(written & ~checked).any(1)
    lenient = lenient & ~exact & ~following.failed & ~ahead.failed
    return ahead.where(lenient, following), exact | lenient
