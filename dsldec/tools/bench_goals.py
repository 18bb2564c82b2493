"""The benchmarks with goals: `dsldec bench overhead`, `peers`, `compile`, `start` and `growth`.

Each measures ratios of two times of one run, and each ratio has a goal: the largest value that is good. The
module of a benchmark has one function `goals(options, report) -> list[Goal]`. Not here: the measurements
(`bench_overhead`, ...), timing (`rounds`), the checked-in table (`benchmarks/check.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from . import bench
from .rounds import Ratio

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class GoalOptions:
    """The options of a benchmark with goals.

    `rounds`: the number of times that everything is timed; `only`: the beginnings of the names to measure,
    all without any; `json`: the file of the results.
    """

    rounds: int = 5
    threads: int | None = 1
    only: tuple[str, ...] = ()
    json: str | None = None

    def wants(self, name: str) -> bool:
        """Whether this name is to be measured."""
        return not self.only or name.startswith(self.only)


@dataclass(frozen=True, slots=True)
class Goal:
    """A measured ratio and the largest value that is good; `None` if the ratio has no goal."""

    name: str
    ratio: Ratio
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median is good; `None` without a goal."""
        return None if self.at_most is None else self.ratio.median <= self.at_most


def bench_goals(name: str, about: str, options: GoalOptions) -> int:
    """Measure the benchmark `name` and print its table; returns the exit status, 0 also for a missed goal.
    Raises `PolicyError` and `UsageError` for the user's mistakes.
    """
    bench.require_writable(options.json)
    bench.use_threads(options.threads)
    found = import_module(f"{__package__}.bench_{name}").goals(options, bench.progress(name))
    device = torch.device("cpu")
    print(f"{about}; smaller is better")
    print(f"median and quartiles of {options.rounds} rounds; {bench.machine_line(device)}\n")
    print(*table(found), sep="\n")
    if options.json is not None:
        bench.write_json(options.json, results(found, bench.machine(device)))
    return 0


def table(found: Sequence[Goal]) -> Iterator[str]:
    """A Markdown table with one row for each ratio."""
    yield "| | ratio | goal | |"
    yield "|---|---|---|---|"
    for one in found:
        ratio = f"{one.ratio.median:.3g} ({one.ratio.low:.3g} to {one.ratio.high:.3g})"
        goal = "" if one.at_most is None else f"at most {one.at_most:g}"
        met = {None: "", True: "met", False: "missed"}[one.met]
        yield f"| {one.name} | {ratio} | {goal} | {met} |"


def results(found: Sequence[Goal], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, for a JSON file."""
    rows = [
        {
            "name": one.name,
            "ratio": one.ratio.median,
            "quartiles": [one.ratio.low, one.ratio.high],
            "at_most": one.at_most,
        }
        for one in found
    ]
    return {"machine": dict(machine), "goals": rows}
