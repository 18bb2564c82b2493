"""One thread decodes: the newest request of each page, and then the held-out prompts of its policy.

A newer request of a page takes the place of its older one, also while that runs. Held-out prompts wait while
a request waits, and while their page asks for no figures, since it is closed or hidden.

Not here: a decode (`watched_decode`), the figures (`held_out_run`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from typing import Any

from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...models.denoiser import Denoiser
from ..viewing.page_data import ViewedRun
from .held_out_run import HeldOutRun
from .play_requests import DecodeRequest
from .watched_decode import PolicyTexts, Superseded, WatchedDecode

MOST_TABS = 16
SECONDS_TO_END = 5.0
SECONDS_OF_INTEREST = 2.0  # without a question about the figures
REPLACED: dict[str, Any] = {"status": "replaced"}

log = logging.getLogger("dsldec")


class DecodeJob:
    """A request and, once it is there, its result."""

    def __init__(self, request: DecodeRequest) -> None:
        self.request = request
        self.ended = threading.Event()
        self.result: dict[str, Any] = REPLACED
        self.decode: WatchedDecode | None = None  # while it runs
        self.is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True
        if self.decode is not None:
            self.decode.stop = True

    def end(self, result: dict[str, Any]) -> None:
        self.result = result
        self.ended.set()


class DecodeQueue:
    """Decodes for all pages, one request at a time, in a separate thread."""

    def __init__(self, denoiser: Denoiser, policies: PolicyTexts) -> None:
        self._denoiser, self._policies = denoiser, policies
        self._changed = threading.Condition()
        self._newest: OrderedDict[str, DecodeJob] = OrderedDict()
        self._waiting: OrderedDict[str, DecodeJob] = OrderedDict()
        self._runs: OrderedDict[str, HeldOutRun] = OrderedDict()
        self._asked: dict[str, float] = {}  # by tab: the time of the last question about its figures
        self._shown: dict[str, ViewedRun] = {}  # by tab: its last whole run
        self._pinned: dict[str, ViewedRun] = {}
        self._at_work = ""  # the tab of the running decode
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="dsldec-play", daemon=True)
        self._thread.start()

    def decoded(self, request: DecodeRequest) -> dict[str, Any]:
        """The result of a request. Waits for it; returns earlier if a newer request replaces it."""
        job, tab = DecodeJob(request), request.tab
        with self._changed:
            newest = self._newest.get(tab)
            if self._closed or (newest is not None and newest.request.number > request.number):
                return REPLACED
            if (older := self._waiting.pop(tab, None)) is not None:
                older.end(REPLACED)
            self._newest[tab] = self._waiting[tab] = job
            self._newest.move_to_end(tab)
            if (run := self._runs.get(tab)) is not None and run.key != request.figures_key:
                del self._runs[tab]
            while len(self._newest) > MOST_TABS:
                self._forget(next(iter(self._newest)))
            self._changed.notify_all()
        job.ended.wait()
        return job.result

    def stop(self, tab: str) -> None:
        """Ends the decode of a page; its answer has the text that is written by then."""
        with self._changed:
            if (job := self._newest.get(tab)) is not None:
                job.stop()

    def pin(self, tab: str, pinned: bool) -> bool:
        """Keeps the last run of a page beside its next ones, or no run. Whether the page has a pinned run."""
        with self._changed:
            self._pinned.pop(tab, None)
            if pinned and tab in self._shown:
                self._pinned[tab] = self._shown[tab]
            return tab in self._pinned

    def close(self) -> None:
        """Ends the thread after the step that it makes: a thread inside torch would abort the process."""
        with self._changed:
            self._closed = True
            for tab in [*self._newest]:
                self._forget(tab)
            self._changed.notify_all()
        self._thread.join(SECONDS_TO_END)

    def _forget(self, tab: str) -> None:
        del self._newest[tab]
        self._runs.pop(tab, None)
        for of_tabs in (self._asked, self._shown, self._pinned):
            of_tabs.pop(tab, None)
        if (job := self._waiting.pop(tab, None)) is not None:
            job.end(REPLACED)

    def state(self, tab: str) -> dict[str, Any]:
        """Which page is decoded for (`this`, `other` or an empty text), the progress of this page's decode,
        and its figures.
        """
        with self._changed:
            at_work, run = self._at_work, self._runs.get(tab)
            job = self._newest.get(tab)
            decode = None if job is None else job.decode
            if run is not None:
                self._asked[tab] = time.monotonic()
                self._changed.notify_all()
        working = "" if not at_work else "this" if at_work == tab else "other"
        return {
            "decoding": working,
            "progress": None if decode is None else decode.progress(),
            "held_out": None if run is None else run.figures(),
        }

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._closed or self._waiting or self._unfinished() is not None):
                    self._changed.wait()
                if self._closed:
                    return
                if not self._waiting:
                    job, unfinished = None, self._unfinished()
                else:
                    tab, job = self._waiting.popitem(last=False)
                    self._at_work = tab
            if job is not None:
                self._decode(job)
            elif unfinished is not None:
                self._advance(*unfinished)

    def _unfinished(self) -> tuple[str, HeldOutRun] | None:
        return next(
            ((tab, run) for tab, run in self._runs.items() if not run.ended and self._is_asked_for(tab)), None
        )

    def _is_asked_for(self, tab: str) -> bool:
        return time.monotonic() - self._asked.get(tab, -SECONDS_OF_INTEREST) < SECONDS_OF_INTEREST

    def _advance(self, tab: str, run: HeldOutRun) -> None:
        try:
            run.advance(lambda: self._is_interrupted(tab, run))
        except Exception:
            log.exception("held-out prompts failed")
            with self._changed:
                self._runs.pop(tab, None)

    def _is_interrupted(self, tab: str, run: HeldOutRun) -> bool:
        return bool(self._waiting) or self._runs.get(tab) is not run or not self._is_asked_for(tab)

    def _decode(self, job: DecodeJob) -> None:
        request = job.request

        def superseded() -> bool:
            return self._newest.get(request.tab) is not job

        result = REPLACED
        try:
            policy = self._policies.bound(request)
            with self._changed:
                pinned = self._pinned.get(request.tab)
                job.decode = WatchedDecode(self._denoiser, request, superseded, pinned)
                job.decode.stop = job.is_stopped
            result = job.decode.result(policy)
            if result["status"] == "done":
                with self._changed:
                    if not superseded() and job.decode.run is not None:
                        self._shown[request.tab] = job.decode.run
                    if not superseded() and request.tab not in self._runs:
                        key = request.figures_key
                        self._runs[request.tab] = HeldOutRun(self._denoiser, policy, request.seed, key)
        except Superseded:
            pass
        except PolicyError as wrong:
            result = {"status": "failed", "diagnostics": wrong.diagnostics}
        except UsageError as wrong:
            result = {"status": "failed", "diagnostics": [wrong.diagnostic]}
        except Exception as failure:
            log.exception("a decode failed")
            result = {"status": "failed", "diagnostics": [bug(failure)]}
        finally:
            with self._changed:
                self._at_work, job.decode = "", None
            job.end(result)


def bug(failure: Exception) -> Diagnostic:
    """The diagnostic about a mistake of dsldec. The terminal has the details."""
    message = f"dsldec failed here, and the mistake is in dsldec ({type(failure).__name__})"
    return Diagnostic(
        "E0579", message, help="the terminal of `dsldec play` shows the details: please report them"
    )
