"""Which slots of a session are done.

Shapes: N slots. Not here: the slots (`session`).
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import is_

from torch import Tensor

from .step_runner import BatchState


@dataclass(frozen=True, slots=True)
class SlotProgress:
    """The slots that are done and the slots that are not, `[N]` bool. `all_open`: the host knows that none is
    done.
    """

    done: Tensor
    open_: Tensor
    all_open: bool
    made_of: tuple[Tensor, ...]

    @classmethod
    def of(cls, state: BatchState, stop: Tensor, known: SlotProgress | None, *, reads: bool) -> SlotProgress:
        """Of slots that show positions up to `stop [N]`. `known`: of another state, which is the answer if no
        window has moved and no request has ended since; `reads`: whether the host may read values.
        """
        made_of = (state.finished, state.failed, state.window_start, stop)
        if known is not None and all(map(is_, made_of, known.made_of)):
            return known
        done = state.ended | (state.window_start >= stop)
        return cls(done, ~done, reads and not done.any(), made_of)
