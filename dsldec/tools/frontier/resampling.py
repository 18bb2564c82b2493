"""Intervals of means over prompts, by the bootstrap of scipy.

Not here: intervals of a share without scipy (`evaluation.intervals`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..evaluation.figures import Interval
from ..evaluation.intervals import RESAMPLES, RESAMPLING_SEED, wilson
from ..extras import require_extra

BCA, WILSON, POINT = "BCa bootstrap", "Wilson", ""
AT_A_TIME = 500  # resamples in memory


def accuracy_interval(scores: Sequence[float]) -> tuple[Interval, str]:
    """The 95 % interval of the mean of scores from 0 to 1, and its method.

    BCa (Efron, 1987), 10,000 resamples of the prompts with a fixed seed. Where all scores are equal the
    resamples say nothing; then Wilson's interval, which is honest about few prompts.
    """
    mean = sum(scores) / max(1, len(scores))
    if len(set(scores)) < 2:
        return wilson(mean, len(scores)), WILSON
    low, high = _bca(scores)
    if not (math.isfinite(low) and math.isfinite(high)):
        return wilson(mean, len(scores)), WILSON
    return (max(0.0, low), min(1.0, high)), BCA


def mean_interval(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of other numbers; the mean itself where all are equal."""
    mean = sum(values) / max(1, len(values))
    if len(set(values)) < 2:
        return mean, mean
    low, high = _bca(values)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else (mean, mean)


def _bca(values: Sequence[float]) -> Interval:
    import numpy as np
    from scipy.stats import bootstrap

    found: Any = bootstrap(
        (np.asarray(values, dtype=float),), np.mean, n_resamples=RESAMPLES, batch=AT_A_TIME, method="BCa",
        random_state=np.random.default_rng(RESAMPLING_SEED), vectorized=True,
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def require_frontier_packages(*, pictures: bool) -> None:
    """Raise `UsageError` (E0515) where a package of the extra `frontier` is missing or cannot be imported."""
    wanted = {"scipy.stats": "scipy", **({"vl_convert": "vl-convert-python"} if pictures else {})}
    require_extra("E0515", "frontier", wanted)
