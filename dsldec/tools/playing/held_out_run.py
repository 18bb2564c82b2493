"""The accuracy and the forwards of a policy on held-out prompts, counted while they are decoded.

Not here: when the run goes on (`decode_queue`), the scores (`models.tasks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...models.denoiser import Denoiser
from ...models.tasks import TASKS, Example
from ...options import DecodeOptions
from ...policy import Policy
from ...runtime.decode import stream_rows
from ...runtime.decoded import text_of
from ...runtime.rows import Row
from ...runtime.trace import StepEvent
from ..evaluate import LENGTHS, held_out
from .watched_decode import BACKEND, MOST_STEPS

TASK = "word_problems"
PROMPTS = 20
BATCH = 5


class HeldOutRun:
    """A policy on the first held-out prompts of the task. Finished prompts stay if the run is interrupted.
    `key`: of the requests that have the same figures.
    """

    def __init__(self, denoiser: Denoiser, policy: Policy, seed: int, key: str = "") -> None:
        self.key = key
        self._denoiser, self._policy, self._seed = denoiser, policy, seed
        self._waiting: dict[int, Example] = dict(enumerate(held_out(TASK, PROMPTS)))
        self._right = self._answered = self._forwards = self._tokens = 0
        self._wrong: Diagnostic | None = None

    @property
    def ended(self) -> bool:
        return not self._waiting or self._wrong is not None

    def advance(self, interrupted: Callable[[], bool]) -> None:
        """Decode the waiting prompts until all are answered, or `interrupted()` is true after a step."""

        def step(event: StepEvent) -> None:
            if interrupted():
                raise _Interrupted
            if event.step >= MOST_STEPS:
                raise UsageError(_too_long())

        while self._waiting and self._wrong is None and not interrupted():
            group = dict(list(self._waiting.items())[:BATCH])
            options = DecodeOptions(
                gen_length=LENGTHS[TASK],
                seed=self._seed,
                backend=BACKEND,
                batch=BATCH,
                request_ids=list(group),
            )
            prompts, ids = [one.prompt for one in group.values()], list(group)
            try:
                for row in stream_rows(self._denoiser, prompts, self._policy, options, step):
                    self._add(row, self._waiting.pop(ids[row.index]))
            except _Interrupted:
                return
            except UsageError as wrong:
                self._wrong = wrong.diagnostic
            except PolicyError as wrong:
                self._wrong = wrong.diagnostics[0]

    def _add(self, row: Row, example: Example) -> None:
        self._answered += 1
        if row.error is None:
            text = text_of(self._denoiser, row) or ""
            self._right += bool(TASKS[TASK].score(example, text).answer)
            self._forwards += row.forwards
            self._tokens += row.tokens

    def figures(self) -> dict[str, Any]:
        """The figures of the answered prompts: counts, and means per prompt and per forward."""
        return {
            "prompts": PROMPTS,
            "answered": self._answered,
            "right": self._right,
            "forwards": self._forwards / self._answered if self._answered else None,
            "tokens_per_forward": self._tokens / self._forwards if self._forwards else None,
            "ended": self.ended,
            "diagnostics": [] if self._wrong is None else [self._wrong],
        }


class _Interrupted(Exception):
    pass


def _too_long() -> Diagnostic:
    message = f"a held-out prompt needs more than {MOST_STEPS} steps"
    return Diagnostic("E0576", message, help="write more in each step, or use `dsldec evaluate`")
