"""Runs checks as processes of their own, within a time limit, some side by side.

A check that crashes, or that leaves the GPU unusable, begins again after the part that failed. What a stopped
check has measured until then counts. Not here: which checks (`plan`), what a check prints (`results`).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .results import AFTER, ENDS, Result, begun, read

ROOT = Path(__file__).parent.parent.parent
LEAST_SECONDS = 5.0  # with less time left, a check is not begun
MOST_RESTARTS = 8
GRACE = 4.0  # seconds before its end in which a check begins no part
# Nothing is downloaded, and output is not lost in a buffer.
FOR_ALL = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
# Each of many side by side would start as many compilers and threads as there are cores.
SIDE_BY_SIDE = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Check:
    """A command of its own, and the seconds it may take. `alone`: what it times must not be disturbed by
    others. `figures`: a JSON file that it writes.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    alone: bool = False
    figures: Path | None = None


@dataclass
class Outcome:
    """`state`: passed, failed, stopped (out of time) or left out (no time to begin)."""

    name: str
    state: str
    seconds: float
    lines: list[str]
    figures: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list)


def outcome_of(check: Check, ends_at: float) -> Outcome:
    """Run a check, and stop it when its own time or all of the time is over."""
    began = time.monotonic()
    ends_at = min(began + check.limit, ends_at)
    if ends_at - began < LEAST_SECONDS:
        return Outcome(check.name, "left out", 0.0, ["no time was left"], {})
    result, state, arguments = Result(), "failed", tuple[str, ...]()
    for _ in range(MOST_RESTARTS):
        status, said, complained = _run(check, arguments, ends_at)
        part = read(said)
        result.join(part or Result(status == 0, said.strip().splitlines()[-12:]))
        if status in (0, 1):
            state = "passed" if result.passed and status == 0 else "failed"
            result.lines += _end_of(complained) if status else []
            break
        at = begun(said)
        if status is None:
            state = "stopped"
            result.lines.append(f"stopped after {check.limit:.0f} s" + (f" in `{at}`" if at else ""))
            break
        result.passed = False
        result.lines += [f"ended with status {status}" + (f" in `{at}`" if at else ""), *_end_of(complained)]
        if at is None or ends_at - time.monotonic() < 2 * LEAST_SECONDS:
            break
        arguments = (AFTER, at)
    if check.figures is not None and check.figures.is_file():
        result.figures = json.loads(check.figures.read_text(encoding="utf-8"))
    if state == "passed" and not result.passed:  # it crashed before, and its other parts passed
        state = "failed"
    return Outcome(check.name, state, time.monotonic() - began, result.lines, result.figures, result.rows)


def _end_of(text: str) -> list[str]:
    return text.strip().splitlines()[-12:]


def _run(check: Check, arguments: tuple[str, ...], ends_at: float) -> tuple[int | None, str, str]:
    environment = os.environ | FOR_ALL | ({} if check.alone else SIDE_BY_SIDE) | {ENDS: str(ends_at - GRACE)}
    command = [sys.executable, "-m", *check.command, *arguments]
    return ran_within(ends_at - time.monotonic(), command, environment)


def ran_within(
    seconds: float, command: Sequence[str], environment: Mapping[str, str]
) -> tuple[int | None, str, str]:
    """Exit status (`None`: it was stopped), standard output and standard error of a command and all that it
    starts.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A session of its own: compilers that it has started would go on, and keep its output open.
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(environment),
        text=True,
        errors="replace",
        start_new_session=True,
        **pipes,
    ) as process:
        try:
            said, complained = process.communicate(timeout=seconds)
            return process.returncode, said, complained
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, *process.communicate()


def outcomes(checks: Sequence[Check], ends_at: float) -> Iterator[Outcome]:
    """First those that may run side by side, then one after the other what must be alone."""
    with ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1)) as pool:
        yield from pool.map(
            lambda check: outcome_of(check, ends_at), [check for check in checks if not check.alone]
        )
    for check in checks:
        if check.alone:
            yield outcome_of(check, ends_at)
