"""How much longer does one call take than another, when both are measured side by side?

A machine's speed drifts while it measures, and what other programs do comes and goes: within a round every
call is timed once, in an order that changes, and only ratios of two times of one round are trusted. Not here:
which calls (`bench_step`, `bench_loop`).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

Key = TypeVar("Key")

LEAST_SECONDS = 0.03  # of one timing: what is shorter is called several times in a row
MOST_CALLS = 64
SEED = 0


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median and quartiles of one number a round."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Ratio:
        low, median, high = (
            statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [*ratios] * 3
        )
        return cls(median, low, high)

    @classmethod
    def between(cls, these: Sequence[float], those: Sequence[float]) -> Ratio:
        """Of these times to those of the same rounds."""
        return cls.of([this / that for this, that in zip(these, those, strict=True)])


def measured(
    calls: Mapping[Key, Callable[[], object]],
    rounds: int,
    device: torch.device,
    tell: Callable[[str], None] = lambda text: None,
    often: Key | None = None,
) -> dict[Key, list[float]]:
    """Seconds a call of each, by round.

    Every one is called twice before (whatever it compiles or keeps is then there), and `tell` hears of
    progress. `often`: the one that all are compared with is timed between any two others, and has the median
    of a round's times.
    """
    repeats: dict[Key, int] = {}
    for number, (key, call) in enumerate(calls.items(), 1):
        tell(f"preparing {number} of {len(calls)}: {key}")
        _seconds(call, 1, device)
        repeats[key] = max(1, min(MOST_CALLS, round(LEAST_SECONDS / max(_seconds(call, 1, device), 1e-9))))
    order, shuffled = [key for key in calls if key != often], random.Random(SEED)
    taken: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(1, rounds + 1):
        tell(f"round {number} of {rounds}")
        shuffled.shuffle(order)
        between: list[float] = []
        for key in order:
            if often is not None:
                between.append(_seconds(calls[often], repeats[often], device))
            taken[key].append(_seconds(calls[key], repeats[key], device))
        if often is not None:
            taken[often].append(statistics.median(between))
    return taken


def _seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Mean seconds of a call; on a GPU (*not measured on one*) by its own clock, from an idle device to the
    last result.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        began_at, ended_at = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        began_at.record()
        for _ in range(repeats):
            call()
        ended_at.record()
        ended_at.synchronize()
        return float(began_at.elapsed_time(ended_at)) / 1000 / repeats
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats
