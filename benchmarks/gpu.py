"""Which goals for a GPU are met? Reads the results of `make gpu`, and writes a table for docs/benchmarks.md.

    make gpu GPU_OPTIONS="--json gpu.json"
    python benchmarks/gpu.py gpu.json          the rows that have goals
    python benchmarks/gpu.py --all gpu.json    every row

Not here: measuring (`tests/gpu`).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bound:
    """The values of a measured number that are good. `pattern`: the names that it holds for."""

    pattern: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float) -> bool:
        return (self.at_most is None or value <= self.at_most) and (
            self.at_least is None or value >= self.at_least
        )

    def __str__(self) -> str:
        return f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"


# The first pattern that matches the whole name counts.
BOUNDS = (
    Bound(r"waits between forwards, .*", at_most=0),
    Bound(r"launches a forward beside model and kernel: .*, (inductor|.*graph)", at_most=10),
    Bound(r"kernel, share of a copy's bytes a second, batch ([89]|\d\d+), .*", at_least=0.8),
    Bound(r"(step's|policy's) share of an 8B (forward|decode): dico, .*, batch 1, .*", at_most=0.05),
    Bound(r"(step's|policy's) share of an 8B (forward|decode): .*, batch 1, .*", at_most=0.03),
    Bound(r"time of a decode as a share of .*", at_most=1),
    Bound(r"graphs of a forward with its step: .*", at_most=1),
)


def bound_of(name: str) -> Bound | None:
    return next((bound for bound in BOUNDS if re.fullmatch(bound.pattern, name)), None)


def merged(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one name as one row: the worst value, which is the largest."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = found.get(row["name"])
        if before is None or row["value"] > before["value"]:
            found[row["name"]] = dict(row)
    return list(found.values())


def number(value: float, unit: str) -> str:
    shown = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{shown} {unit}".strip()


def table(rows: Iterable[Mapping[str, Any]], *, everything: bool = False) -> Iterator[str]:
    """A Markdown table of the rows with goals, or of all rows."""
    yield "| | measured | goal | |"
    yield "|---|---|---|---|"
    for row in merged(rows):
        bound = bound_of(row["name"])
        if bound is not None:
            met = "met" if bound.met(row["value"]) else "missed"
            yield f"| {row['name']} | {number(row['value'], row['unit'])} | {bound} | {met} |"
        elif everything:
            yield f"| {row['name']} | {number(row['value'], row['unit'])} | | |"


def rows_of(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of all checks, in the order in which they ran."""
    return [row for check in results["checks"] for row in check["rows"]]


def about(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items() if value is not None)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/gpu.py", description="Print the table of `make gpu`."
    )
    parser.add_argument("json", metavar="FILE", help="what `make gpu` wrote with `--json FILE`")
    parser.add_argument("--all", action="store_true", help="also the rows without goals")
    options = parser.parse_args(arguments)
    results = json.loads(Path(options.json).read_text(encoding="utf-8"))
    print(about(results["machine"]), "", *table(rows_of(results), everything=options.all), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
