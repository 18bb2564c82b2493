"""The result of a check: whether it passed, lines, figures and measured rows. A check is a process of its own
and prints its result as JSON.

A check has parts. A part that fails does not stop the next one, and the result so far is printed after every
part, so that a check that is stopped or crashes loses only its last part. Not here: the process
(`__main__`), goals (`benchmarks/gpu.py`).
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

MARK = "result: "  # begins the line of a check's output that has its result
BEGUN = "part: "  # begins the line that names a part which begins
AFTER = "--after"  # an argument: only the parts after this one
ENDS = "DSLDEC_GPU_ENDS"  # a variable: the time of `time.monotonic` at which the check is stopped
UNUSABLE = 70  # exit status: the GPU cannot be used any more in this process


@dataclass
class Result:
    """`passed`: nothing differs from what it should be. `lines`: for people. `figures`: for programs. `rows`:
    measured numbers with a name, a value and a unit, which may have goals.
    """

    passed: bool = True
    lines: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def row(self, name: str, value: float, unit: str) -> None:
        """Adds a measured number."""
        self.rows.append({"name": name, "value": value, "unit": unit})

    def fail(self, line: str) -> None:
        self.passed = False
        self.lines.append(line)

    def join(self, other: Result) -> None:
        """Adds the result of later parts."""
        self.passed = self.passed and other.passed
        self.lines += other.lines
        self.figures |= other.figures
        self.rows += other.rows


@dataclass(frozen=True)
class Part:
    """A part of a check. `seconds`: with less time left, the part is not begun."""

    name: str
    call: Callable[[Result], None]
    seconds: float = 3.0


def written(result: Result) -> str:
    return MARK + json.dumps(asdict(result))


def read(output: str) -> Result | None:
    """The last result in a check's output; `None` if there is none."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            try:
                return Result(**json.loads(line.removeprefix(MARK)))
            except (ValueError, TypeError):  # a line that was cut off
                continue
    return None


def begun(output: str) -> str | None:
    """The name of the part that began last."""
    names = [line.removeprefix(BEGUN) for line in output.splitlines() if line.startswith(BEGUN)]
    return names[-1] if names else None


def seconds_left() -> float:
    """Until the check is stopped; infinite without a limit."""
    return float(os.environ[ENDS]) - time.monotonic() if ENDS in os.environ else float("inf")


def run(parts: Callable[[list[str]], Iterable[Part]]) -> int:
    """Run the parts of a check with this process's arguments, and print the result after each; returns the
    exit status.
    """
    arguments, after = sys.argv[1:], None
    if AFTER in arguments:
        place = arguments.index(AFTER)
        after = arguments[place + 1]
        del arguments[place : place + 2]
    logging.getLogger("dsldec").setLevel(logging.ERROR)  # the same hints at every decode
    result = Result()
    for part in _remaining(parts(arguments), after):
        attempt(part, result)
        print(written(result), flush=True)
        if not usable():
            return UNUSABLE
    print(written(result), flush=True)
    return 0 if result.passed else 1


def _remaining(parts: Iterable[Part], after: str | None) -> Iterator[Part]:
    for part in parts:
        if after is None:
            yield part
        elif part.name == after:
            after = None


def attempt(part: Part, result: Result) -> None:
    """Run a part. An exception is a failure of this part alone."""
    if seconds_left() < part.seconds:
        result.lines.append(f"{part.name}: left out, as no time was left")
        return
    print(BEGUN + part.name, flush=True)
    began = time.monotonic()
    try:
        part.call(result)
    except Exception as error:  # anything may fail on a machine that nobody has seen
        first = (str(error).strip().splitlines() or [""])[0]
        result.fail(f"{part.name}: {type(error).__name__}: {first[:300]}")
        traceback.print_exc()
    result.figures[f"seconds of {part.name}"] = round(time.monotonic() - began, 1)
    free()


def free() -> None:
    """Frees the memory of a part for the next one."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def usable() -> bool:
    """Whether the GPU still takes work: after an illegal access every call of this process fails."""
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        traceback.print_exc()
        return False
    return True
