"""The loop of a batch whose forward and step are one CUDA graph. *Not measured on a GPU.*

A denoiser says with `captures = True` that its call may be recorded: it reads no value, and does nothing on
the host that must happen in each call. Its call is then recorded with the step, once for each set of rows
that are input. Where the recording fails, the loop goes on without one. Not here: the recording
(`captured_round`), the loop without one (`decode_loop`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ..backends.cuda_graphs import CudaRecorder, Recorder
from .captured_round import CapturedRound
from .decode_loop import NOTHING_SEEN, DecodeLoop
from .forward import Forward
from .stops import StopStrings
from .trace import StepObserver

log = logging.getLogger("dsldec")


def recorder_for(
    denoiser: Any, forward: Forward, drafts: int, observer: StepObserver, stops: StopStrings | None
) -> Recorder | None:
    """What records the rounds of a batch; `None` where they are not recorded: without the denoiser's
    `captures`, not on a CUDA GPU, or where a state between two steps is read or stored.
    """
    device = forward.rows.device
    if device.type != "cuda" or getattr(denoiser, "captures", False) is not True:
        return None
    if type(forward) is not Forward or drafts > 1 or observer.wanted or stops is not None:
        log.info("no CUDA graph: drafts, KV caches, stop strings and observers need the state of each step")
        return None
    return CudaRecorder(device)


class CapturedLoop(DecodeLoop):
    """As `DecodeLoop`, without drafts, observers and stop strings. `recorder`: records the rounds."""

    def __init__(self, *given: Any, recorder: Recorder, **how: Any) -> None:
        super().__init__(*given, **how)
        self.captured = CapturedRound(self.session, self.forward.forward, self.ledger, recorder)

    def _rounds(self) -> Iterator[Any]:
        while True:
            yield from self._overdue()
            self._admit()
            if not self.live:
                return
            if not self._launched():
                break
            yield from self._finished(self._completed(self.poll.later(self._flags())))
            self.fresh = []
        yield from super()._rounds()

    def _launched(self) -> bool:
        """Makes one round; false where it cannot be recorded."""
        if self.session.runner.patterns is not None:
            log.info("no CUDA graph: the path of a pattern is computed with other inputs in each batch")
            return False
        try:
            self.session.state = self.captured(self.live, self.occupant)
        # torch has many errors for work that cannot be recorded. An error of the denoiser itself comes again
        # in the loop without recordings.
        except Exception as error:
            why = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
            log.warning("no CUDA graph: the forward and the step cannot be recorded (%s)", why)
            return False
        assert self.captured.logits is not None
        self.seen = replace(NOTHING_SEEN, logits=self.captured.logits)
        return True
