"""Does the floor hold on prompts that the search has not seen?

The setting was chosen because it looked good on the calibration prompts. So its figures there are too good
(the winner's curse), and those of the held-out prompts count. Not here: intervals (`evaluation.intervals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..evaluation.intervals import bootstrap, mcnemar, paired, wilson
from ..measuring.scores import Measurement, PromptScore
from .floor import AccuracyFloor

HOLDS, NOT_SHOWN, FAILS = "holds", "not shown", "fails"

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class HeldOutFigures:
    """The chosen setting and the baseline on the held-out prompts.

    `interval`: Wilson's, of the accuracy. `difference`: accuracy minus the baseline's, on the same prompts;
    `p`: of McNemar's test, None for scores between 0 and 1. `above`: accuracy minus the floor, with its
    interval; of a floor relative to the baseline it is paired. `verdict`: `holds` where the whole interval is
    at the floor or above, `fails` where it is below, else `not shown`.
    """

    prompts: int
    accuracy: float
    interval: Bounds
    forwards: float
    seconds: float
    baseline_accuracy: float
    baseline_forwards: float
    baseline_seconds: float
    difference: float
    difference_interval: Bounds
    p: float | None
    floor: float
    above: float
    above_interval: Bounds
    verdict: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def held_out_figures(chosen: Measurement, baseline: Measurement, floor: AccuracyFloor) -> HeldOutFigures:
    """The figures of two measurements of the same prompts."""
    prompts = len(chosen.scores)
    interval = wilson(chosen.accuracy, prompts)
    least = floor.accuracy(baseline.accuracy)
    difference, p = _difference(chosen.scores, baseline.scores, 1.0)
    if floor.relative:
        above, _ = _difference(chosen.scores, baseline.scores, floor.share)
    else:
        above = (interval[0] - least, interval[1] - least)
    return HeldOutFigures(
        prompts, chosen.accuracy, interval, chosen.forwards, chosen.seconds / prompts,
        baseline.accuracy, baseline.forwards, baseline.seconds / prompts,
        chosen.accuracy - baseline.accuracy, difference, p,
        least, chosen.accuracy - least, above, verdict_of(above),
    )  # fmt: skip


def verdict_of(above: Bounds) -> str:
    """Whether the floor holds, from the interval of accuracy minus floor."""
    return HOLDS if above[0] >= 0 else FAILS if above[1] < 0 else NOT_SHOWN


def _difference(
    chosen: Sequence[PromptScore], baseline: Sequence[PromptScore], factor: float
) -> tuple[Bounds, float | None]:
    """The interval of the accuracy minus `factor` times that of the baseline, and McNemar's p-value."""
    pairs = [(one.right, other.right) for one, other in zip(chosen, baseline, strict=True)]
    if any(score not in (0.0, 1.0) for pair in pairs for score in pair):
        return bootstrap([one - factor * other for one, other in pairs]), None
    both, only, other, neither = (pairs.count(pair) for pair in ((1, 1), (1, 0), (0, 1), (0, 0)))
    return paired(both, only, other, neither, factor), mcnemar(only, other)
