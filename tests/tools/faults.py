"""Workers with faults, for the tests of `dsldec batch`: Ray's processes import this file."""

from __future__ import annotations

import os
import signal
from typing import Any

from dsldec.tools.attempts import Attempts
from dsldec.tools.batch_worker import Worker

POISON, BROKEN = "What is 66+66?", "What is 77+77?"


class Fragile:
    """The embedded model, and its tokenizer. One prompt kills the process, another one raises."""

    def __init__(self, denoiser: Any) -> None:
        self._denoiser = denoiser

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def __call__(self, ids: Any, **more: Any) -> Any:
        return self._denoiser(ids, **more)

    def encode(self, text: str) -> list[int]:
        if text == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        if text == BROKEN:
            raise RuntimeError("no such number")
        return list(self._denoiser.encode(text))


class FragileWorker(Worker):
    def _loaded(self) -> Attempts:
        attempts = super()._loaded()
        return Attempts(Fragile(attempts.denoiser), attempts.policy, attempts.options)  # type: ignore[arg-type]


class DyingWorker(Worker):
    """The process dies while it loads the model."""

    def _loaded(self) -> Attempts:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError
