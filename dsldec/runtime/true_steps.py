"""The true steps of a batch: each one becomes the state of the session.

After a step, rows end at stop strings, the session stores the state, and the observer gets the step. Shapes:
B rows. Not here: the step itself (`step_runner`), which steps are made (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..backends.on_device import on_device
from .drafter import Draft, DraftsAhead, accepted
from .forward_output import ForwardOutput
from .ledger import Ledger
from .session import Session
from .step_runner import BatchState, StepResult
from .stops import StopStrings
from .trace import StepObserver


class TrueSteps:
    """Makes steps of a session. `stops`: the stop strings, if a request has any; `refreshes`: whether the
    forward has a cache that the policy's `refresh` computes anew.
    """

    def __init__(
        self,
        session: Session,
        observer: StepObserver,
        stops: StopStrings | None,
        ledger: Ledger,
        *,
        refreshes: bool = False,
    ) -> None:
        self.session, self.observer, self.stops, self.ledger = session, observer, stops, ledger
        self.refreshes = refreshes
        self._open: tuple[tuple[int, ...], Tensor] | None = None  # the rows of the last call

    def alone(self, state: BatchState, seen: ForwardOutput, rows: Sequence[int]) -> Tensor | None:
        """A step in these rows; every other row has ended. Gives the rows `[B]` bool that have ended
        after it; `None` if the host knows that there are none.
        """
        stepped = self.session.runner(state, seen, self._mask(rows))
        following = stepped.after if self.stops is None else self.stops.after(stepped.after, rows)
        self._store(state, stepped, following, rows)
        return None if stepped.steady and following is stepped.after else following.ended

    def along(
        self,
        state: BatchState,
        seen: ForwardOutput,
        open_: Tensor,
        rows: Sequence[int],
        drafts: Sequence[Draft],
        *,
        all_open: bool,
    ) -> tuple[BatchState, Tensor]:
        """A step in the open rows, `[B]` bool, towards the first of the drafts ahead, if there is one: the
        state after it, and the rows that go on from the draft. `all_open`: whether these are all rows that
        have not ended.
        """
        draft = drafts[0] if drafts else None
        ahead = None if draft is None else draft.state
        stepped = self.session.runner(state, seen, open_, ahead)
        following, passes = accepted(state, stepped, ahead, refreshes=self.refreshes)
        if self.stops is not None:
            following = self.stops.after(following, rows)
        stored = following if all_open else following.where(open_, self.session.state)
        self._store(state, stepped, following, rows, stored, DraftsAhead(drafts, passes) if drafts else None)
        return following, passes if draft is None else draft.of(passes)

    def _store(
        self,
        before: BatchState,
        stepped: StepResult,
        following: BatchState,
        rows: Sequence[int],
        stored: BatchState | None = None,
        ahead: DraftsAhead | None = None,
    ) -> None:
        # The state is stored before the observer is called, which may raise. Rows that are not live may have
        # either state.
        self.session.state = following if stored is None else stored
        if self.observer.wanted:
            forwards = {row: self.ledger.forwards_so_far(row) for row in rows}
            self.observer.step(before, stepped, following, forwards, None, None, ahead)

    def _mask(self, rows: Sequence[int]) -> Tensor | None:
        """These rows as `[B]` bool, `None` for every row. They seldom change."""
        every = len(self.session.rows.requests)
        if len(rows) == every:
            return None
        if self._open is None or self._open[0] != tuple(rows):
            mask = on_device([row in rows for row in range(every)], self.session.rows.device)
            self._open = tuple(rows), mask
        return self._open[1]
