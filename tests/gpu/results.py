"""What a check gives: whether it passed, and figures. Written as JSON, since a check is a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

MARK = "result: "  # begins the line of a check's output that holds its result


@dataclass
class Result:
    """`passed`: nothing differs from what it should be. `lines`: for people. `figures`: for programs."""

    passed: bool
    lines: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def written(result: Result) -> str:
    return MARK + json.dumps(asdict(result))


def read(output: str) -> Result | None:
    """The last result in a check's output; None where there is none, since the check did not come to its end."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    return Result(**json.loads(lines[-1].removeprefix(MARK))) if lines else None


def run(check: Callable[[list[str]], Result]) -> int:
    """Run a check with this process's arguments and print its result; returns the exit status."""
    result = check(sys.argv[1:])
    print(written(result), flush=True)
    return 0 if result.passed else 1
