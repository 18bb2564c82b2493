"""Measures the start of programs: `dsldec run` to its first answer, and verbs that need no torch.

Every program runs in a process, and once before it is timed, so its files are in the system's memory. Not
here: the table of the goals (`bench_goals`).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .bench_goals import Goal, GoalOptions, Report
from .rounds import SEED, Ratio

PROMPT = "Eva has 14 candles. Rob has 5 more candles than Eva. How many candles do they have together?"
CommandLine = tuple[str, ...]  # the arguments of Python
BARE: CommandLine = ("-c", "pass")
TORCH: CommandLine = ("-c", "import torch")
RUN: CommandLine = ("-m", "dsldec", "run", "--no-live", PROMPT)


@dataclass(frozen=True, slots=True)
class Seconds:
    """Of one process, from its start: until its first line of output (`None` without any), and its end."""

    line: float | None
    end: float


@dataclass(frozen=True, slots=True)
class StartUp:
    """A number for each round: `program` over TORCH as a ratio, or seconds more than BARE where `more`.

    `line`: the time until the first line of output counts, not that until the end.
    """

    name: str
    program: CommandLine
    line: bool = False
    more: bool = False
    at_most: float | None = None

    @property
    def base(self) -> CommandLine:
        return BARE if self.more else TORCH

    def goal(self, taken: Mapping[CommandLine, Sequence[Seconds]]) -> Goal:
        ends = [(one.line if self.line else one.end) or one.end for one in taken[self.program]]
        bases = [one.end for one in taken[self.base]]
        pairs = list(zip(ends, bases, strict=True))
        numbers = [this - base if self.more else this / base for this, base in pairs]
        return Goal(self.name, Ratio.of(numbers), self.at_most)


def _verb(name: str, *arguments: str, at_most: float | None = None) -> StartUp:
    return StartUp(f"{name}: seconds more than `python -c pass`", ("-m", "dsldec", *arguments), more=True, at_most=at_most)  # fmt: skip


MEASURED = (
    StartUp("run: first answer, to the import of torch", RUN, line=True, at_most=1.3),
    StartUp("run: whole process, to the import of torch", RUN),
    StartUp("from_pretrained: whole process, to the import of torch", ("-c", "import dsldec; dsldec.from_pretrained()")),
    _verb("check", "check", "dico", at_most=0.25),
    _verb("help", "--help"),
    _verb("explain", "explain", "dico"),
    _verb("show", "show", "dico", "--stage", "ir"),
)  # fmt: skip


def goals(options: GoalOptions, report: Report) -> list[Goal]:
    """The ratios of start-up. Raises `RuntimeError` with the output of a program that fails."""
    wanted = [one for one in MEASURED if options.wants(one.name)]
    programs = list(dict.fromkeys(program for one in wanted for program in (one.base, one.program)))
    taken = _timed(programs, options, report)
    return [one.goal(taken) for one in wanted]


def _timed(
    programs: Iterable[CommandLine], options: GoalOptions, report: Report
) -> Mapping[CommandLine, Sequence[Seconds]]:
    """The times of every program in each round."""
    order, shuffled = list(programs), random.Random(SEED)
    taken: dict[CommandLine, list[Seconds]] = {program: [] for program in order}
    # `-m` looks into the working folder first: an empty one holds no other modules.
    with TemporaryDirectory() as folder:
        environment = _environment(options.threads)
        for program in order:
            report(f"preparing: python {' '.join(program)[:60]}")
            _started(program, folder, environment)
        for number in range(1, options.rounds + 1):
            report(f"round {number} of {options.rounds}")
            shuffled.shuffle(order)
            for program in order:
                taken[program].append(_started(program, folder, environment))
    return taken


def _environment(threads: int | None) -> dict[str, str]:
    places = [str(Path(__file__).parent.parent.parent), os.environ.get("PYTHONPATH", "")]
    more = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    return os.environ | more | {"PYTHONPATH": os.pathsep.join(filter(None, places))}


def _started(program: CommandLine, folder: str, environment: Mapping[str, str]) -> Seconds:
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *program],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        line = time.perf_counter() - begun if first else None
        rest, errors = process.communicate()
    end = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError(f"python {' '.join(program)} fails: {(first + rest + errors).decode()}")
    return Seconds(line, end)
