"""Prepares the process of a long verb: signals, the log, and lines on standard error."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def say(line: str) -> None:
    """Print a line to standard error."""
    if sys.stderr is not None:  # closed by `2>&-`: the line would go among the answers
        print(line, file=sys.stderr, flush=True)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Inside, SIGTERM interrupts like Ctrl-C. Signals are set in the main thread only."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def log_on_stderr() -> Iterator[None]:
    """Inside, the log of `dsldec` (such as the choice of the backend) goes to standard error."""
    logger, handler, before = (
        logging.getLogger("dsldec"),
        logging.StreamHandler(),
        logging.getLogger("dsldec").level,
    )
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
