"""Decodes one prompt for the page, within limits: forwards, seconds, rows of a forward.

A step is called in the eager backend, so that no value of a parameter is compiled. Not here: which request is
next (`decode_queue`), the data of the trace view (`trace_page`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...lru import LRUCache
from ...models.denoiser import Denoiser
from ...options import VALUES, DecodeOptions
from ...policy import Policy, check
from ...runtime.decode import stream_rows
from ...runtime.decoded import text_of
from ...runtime.rows import Row
from ...runtime.trace import StepEvent
from ..viewing.page_data import ViewedRun
from .play_requests import DecodeRequest
from .policy_controls import bound_to
from .trace_page import trace_page

MOST_SECONDS = 20.0
MOST_STEPS = 512
MOST_ROWS = 32  # of one forward of one prompt: drafts or candidates
MOST_POLICIES = 16  # checked texts that are remembered
BACKEND = "eager"


log = logging.getLogger("dsldec")


class Superseded(Exception):
    """A newer request of the same page makes this one useless."""


class PolicyTexts:
    """The policies of texts. Policies of one text share their steps, so a slider makes no new one."""

    def __init__(self) -> None:
        self._policies: LRUCache[str, Policy] = LRUCache(MOST_POLICIES)

    def policy(self, text: str) -> Policy:
        """The policy of a text, with the defaults of its parameters. Raises `PolicyError`."""

        def made() -> Policy:
            found, diagnostics = check(text, "playground")
            if found is None:
                raise PolicyError(diagnostics)
            return found

        return self._policies.get_or_make(text, made)

    def bound(self, request: DecodeRequest) -> Policy:
        """The policy of a request with its values. Raises `PolicyError`, and `UsageError` also for a policy
        that needs more rows than the playground has (E0576).
        """
        policy = bound_to(self.policy(request.text), request.values)
        rows = policy.plan(request.gen_length).rows_per_forward
        if rows > MOST_ROWS:
            message = f"one forward of this policy has {rows} rows, and the playground allows {MOST_ROWS}"
            raise UsageError(Diagnostic("E0576", message, help="make fewer drafts or candidates"))
        return policy


class WatchedDecode:
    """One prompt under one policy. `superseded`: asked after each step; `stop`: end after the next step, and
    keep the written text; `pinned`: a run to be shown beside it; `run`: once it is whole.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        request: DecodeRequest,
        superseded: Callable[[], bool],
        pinned: ViewedRun | None = None,
    ) -> None:
        self._pinned = pinned
        self.run: ViewedRun | None = None
        self._denoiser, self._request, self._superseded = denoiser, request, superseded
        self._end = time.monotonic() + MOST_SECONDS
        self._last: StepEvent | None = None
        self.stop = False

    def progress(self) -> dict[str, int] | None:
        """The last step, and how many positions it left written."""
        if (last := self._last) is None:
            return None
        written = int((last.generated != self._denoiser.mask_id).sum())
        return {"step": last.step, "written": written, "length": len(last.generated)}

    def result(self, policy: Policy) -> dict[str, Any]:
        """The answer of the page. Raises `Superseded`, `UsageError` and `PolicyError`."""
        request, start = self._request, time.monotonic()
        options = DecodeOptions(
            gen_length=request.gen_length, seed=request.seed, backend=BACKEND, batch=1, trace=VALUES
        )
        plan = policy.plan(request.gen_length)
        facts = {"max_forwards": plan.max_forwards, "deterministic": plan.deterministic}
        try:
            row = next(iter(stream_rows(self._denoiser, [request.prompt], policy, options, self._step)))
        except _LimitReached as limit:
            return {"status": "stopped", **facts, **self._partial(), "diagnostics": [limit.diagnostic]}
        except _UserStopped:
            return {"status": "stopped", **facts, **self._partial(), "diagnostics": []}
        if row.error is not None:
            return {"status": "failed", **facts, "diagnostics": [row.error]}
        return {
            "status": "done",
            **facts,
            "text": text_of(self._denoiser, row) or "",
            "forwards": row.forwards,
            "tokens": row.tokens,
            "finish_reason": row.finish_reason,
            "seconds": round(time.monotonic() - start, 3),
            "page": self._page(row, policy.name),
        }

    def _page(self, row: Row, name: str) -> dict[str, Any] | None:
        """The data of the view. A mistake in it does not lose the text: the page then shows that alone."""
        assert row.trajectory is not None
        self.run = ViewedRun(name, row.trajectory, self._request.prompt)
        try:
            return trace_page(self.run, self._pinned)
        except Exception:
            log.exception("the steps cannot be shown")
            return None

    def _step(self, event: StepEvent) -> None:
        self._last = event
        if self._superseded():
            raise Superseded
        if self.stop:
            raise _UserStopped
        if event.step >= MOST_STEPS:
            raise _LimitReached(f"the decode was stopped after {event.step} steps")
        if time.monotonic() > self._end:
            raise _LimitReached(f"the decode was stopped after {MOST_SECONDS:g} seconds")

    def _partial(self) -> dict[str, Any]:
        """The written positions of the last step."""
        if self._last is None:
            return {"text": "", "forwards": 0, "tokens": 0}
        ids = self._last.generated
        written = ids[ids != self._denoiser.mask_id]
        decode_text = getattr(self._denoiser, "decode_text", None)
        text = str(decode_text(written.tolist())) if decode_text is not None else ""
        return {"text": text, "forwards": self._last.forwards, "tokens": len(written)}


class _UserStopped(Exception):
    pass


class _LimitReached(Exception):
    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(
            "E0576", message, help="generate fewer tokens, or write more in each step"
        )
