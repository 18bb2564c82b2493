"""AUP, accuracy under parallelism: one number for a curve of accuracy and tokens per forward.

The definition is that of the d3LLM leaderboard (github.com/hao-ai-lab/d3LLM, `AUP_leaderboard/aup_utils.py`,
`get_aup`), read in its code and in its authors' description. Not here: the curves (`points`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

ALPHA, LARGEST_LOSS = 3.0, 5.0


def aup(
    tokens_per_forward: Sequence[float], accuracy: Sequence[float], best: float, *, alpha: float = ALPHA
) -> float:
    """The area under the curve of accuracy, in percent, over tokens per forward.

    The area left of the first point counts fully, the area of later parts with the weight exp(-alpha (1 - y /
    best)), at most 1. `best`: the highest accuracy of all methods on the task. Points that lose more than
    five percent points against the first one are left out; the leaderboard's function refuses a curve whose
    last point loses more. 0 without points.
    """
    points = sorted(zip(tokens_per_forward, accuracy, strict=True))
    if not points:
        return 0.0
    first = points[0][1]
    kept = [(rho, y) for rho, y in points if y >= first - LARGEST_LOSS]
    total = kept[0][0] * kept[0][1]
    for (rho_before, before), (rho, y) in itertools.pairwise(kept):
        parts = y * _weight(y, best, alpha) + before * _weight(before, best, alpha)
        total += (rho - rho_before) * parts / 2
    return total


def _weight(y: float, best: float, alpha: float) -> float:
    return min(math.exp(-alpha * (1 - y / best)), 1.0) if best else 1.0
