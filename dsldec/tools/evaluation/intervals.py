"""How sure are an accuracy and a difference of two accuracies?

Intervals hold 95 % of the probability. Not here: the tables that show them (`table`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z = 1.959963984540054  # the 97.5 % point of the normal distribution
RESAMPLES, RESAMPLING_SEED = 10_000, 0
CHUNK = 1 << 22  # numbers drawn at a time


def wilson(share: float, count: int) -> tuple[float, float]:
    """The score interval of a share of `count` prompts (Wilson, 1927); (0, 1) without prompts.

    For means of several samples a prompt it is too wide, never too narrow: their variance is smaller.
    """
    if not count:
        return 0.0, 1.0
    middle = share + Z * Z / (2 * count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    # Rounding may leave 1e-17 at the ends, where the limits are exact.
    low = 0.0 if share == 0 else max(0.0, (middle - half) / scale)
    high = 1.0 if share == 1 else min(1.0, (middle + half) / scale)
    return low, high


def paired(
    both: int, only_first: int, only_second: int, neither: int, factor: float = 1.0
) -> tuple[float, float]:
    """The interval of the difference (first - factor * second) of two shares on the same prompts.

    Newcombe (1998), method 10: two Wilson intervals, combined with the correlation of the pairs. Unlike
    `difference ± 1.96 standard errors`, it is no point where all pairs agree. With a factor, the second
    interval is scaled before the two are combined.
    """
    count = both + only_first + only_second + neither
    if not count:
        return -factor, 1.0
    first, second = (both + only_first) / count, (both + only_second) / count
    (low1, high1), (low2, high2) = wilson(first, count), wilson(second, count)
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    correlation = 0.0
    if margins:
        excess: float = both * neither - only_first * only_second
        # A continuity correction for a positive correlation.
        excess = max(excess - count / 2, 0.0) if excess > 0 else excess
        correlation = excess / math.sqrt(margins)

    def half(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    difference = first - factor * second
    below, above = factor * (second - low2), factor * (high2 - second)
    return difference - half(first - low1, above), difference + half(high1 - first, below)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of McNemar's test: are both policies right alone equally often?"""
    count, fewer = only_first + only_second, min(only_first, only_second)
    # Whole numbers until the division: floats overflow after a thousand pairs.
    ways = tail = 1
    for k in range(1, fewer + 1):
        ways = ways * (count - k + 1) // k
        tail += ways
    return min(1.0, float(2 * tail / 2**count))


def bootstrap(differences: Sequence[float]) -> tuple[float, float]:
    """The interval of the mean of differences, one a prompt: percentiles of 10,000 resamples of the prompts.
    The seed is fixed, so that the same scores give the same interval.
    """
    if not differences:
        return -1.0, 1.0
    values, generator = np.asarray(differences, dtype=float), np.random.default_rng(RESAMPLING_SEED)
    means: list[float] = []
    while len(means) < RESAMPLES:
        rows = min(RESAMPLES - len(means), max(1, CHUNK // len(values)))
        means += values[generator.integers(len(values), size=(rows, len(values)))].mean(axis=1).tolist()
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """The unbiased estimate of the chance that one of k samples is right (Chen et al., 2021, equation 1)."""
    if samples - right < k:
        return 1.0
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)
