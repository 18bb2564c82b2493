"""Prepares the process of a long verb: signals, the log, and lines on standard error."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_listeners: list[Callable[[str], None]] = []


def say(line: str) -> None:
    """Print a line to standard error, or pass it to the function of `said_to`."""
    if _listeners:
        _listeners[-1](line)
    elif sys.stderr is not None:  # closed by `2>&-`: the line would go among the answers
        print(line, file=sys.stderr, flush=True)


@contextmanager
def said_to(take: Callable[[str], None]) -> Iterator[None]:
    """Inside, `take` gets each line of `say`, and of the log of `dsldec` inside `log_on_stderr`. For a
    process whose standard error nobody reads.
    """
    _listeners.append(take)
    try:
        yield
    finally:
        _listeners.remove(take)


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
    logger, handler, before = logging.getLogger("dsldec"), _handler(), logging.getLogger("dsldec").level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _handler() -> logging.Handler:
    return _SaidHandler() if _listeners else logging.StreamHandler()


class _SaidHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record))
