"""Measures ratios of the times of calls, side by side.

The speed of a machine drifts during a measurement, and other programs disturb it. So each round times every
call once, in a changing order, and only ratios of two times of one round count. Not here: the calls
(`bench_step`, `bench_loop`).
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

LEAST_SECONDS = 0.03  # of one timing: a shorter call is repeated
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
        """The ratio of these times to those of the same rounds."""
        return cls.of([this / that for this, that in zip(these, those, strict=True)])


def measured(
    calls: Mapping[Key, Callable[[], object]],
    rounds: int,
    device: torch.device,
    report: Callable[[str], None] = lambda text: None,
    often: Key | None = None,
) -> dict[Key, list[float]]:
    """Seconds per call of each, by round.

    Every call runs twice before (it may compile or fill caches). `report` gets progress lines. `often`: the
    call that all others are compared with. It is timed between any two others, and gets the median of a
    round's times.
    """
    repeats: dict[Key, int] = {}
    for number, (key, call) in enumerate(calls.items(), 1):
        report(f"preparing {number} of {len(calls)}: {key}")
        _seconds(call, 1, device)
        repeats[key] = max(1, min(MOST_CALLS, round(LEAST_SECONDS / max(_seconds(call, 1, device), 1e-9))))
    order, shuffled = [key for key in calls if key != often], random.Random(SEED)
    taken: dict[Key, list[float]] = {key: [] for key in calls}
    for number in range(1, rounds + 1):
        report(f"round {number} of {rounds}")
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
    """Mean seconds of a call. On a GPU (*not measured on one*) by its own clock, from an idle device to the
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
