"""The meaning of the operations on positions: runs of adjacent positions, distances, shifts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..language.arithmetic import AnyNumber, are_ints, float32, quotient

Bools = Sequence[bool]


def spans(mask: Bools) -> list[tuple[int, int]]:
    """First and last position of each run."""
    firsts = [i for i, chosen in enumerate(mask) if chosen and not (i > 0 and mask[i - 1])]
    lasts = [i for i, chosen in enumerate(mask) if chosen and not (i + 1 < len(mask) and mask[i + 1])]
    return list(zip(firsts, lasts, strict=True))


def _filled(length: int, runs: Iterable[tuple[int, int]]) -> list[bool]:
    """The union of some runs."""
    mask = [False] * length
    for first, last in runs:
        for i in range(first, last + 1):
            mask[i] = True
    return mask


def _cut_back(first: int, last: int, to: Bools) -> list[tuple[int, int]]:
    """The run with both ends cut back to positions of `to`; an empty list if it has no position of `to`."""
    kept = [i for i in range(first, last + 1) if to[i]]
    return [(kept[0], kept[-1])] if kept else []


def _runs(mask: Bools) -> list[int]:
    result = [-1] * len(mask)
    for first, last in spans(mask):
        for i in range(first, last + 1):
            result[i] = first
    return result


def _run_length(mask: Bools) -> list[int]:
    result = [0] * len(mask)
    for first, last in spans(mask):
        for i in range(first, last + 1):
            result[i] = last - first + 1
    return result


def _runs_holding(mask: Bools, seed: Bools) -> list[bool]:
    return _filled(len(mask), [(first, last) for first, last in spans(mask) if any(seed[first : last + 1])])


def _walk(end: int, ahead: Iterable[int], over: Bools, gap: int) -> int:
    """The last position of `over` before more than `gap` other positions in a row."""
    misses = 0
    for position in ahead:
        if over[position]:
            end, misses = position, 0
        else:
            misses += 1
            if misses > gap:
                break
    return end


def _grow(mask: Bools, left: Bools, right: Bools, gap: int, apart: bool, trim: Bools) -> list[bool]:
    runs = spans(mask)
    grown: list[tuple[int, int]] = []
    for n, (first, last) in enumerate(runs):
        lowest = runs[n - 1][1] + 1 if apart and n > 0 else 0
        highest = runs[n + 1][0] - 1 if apart and n + 1 < len(runs) else len(mask) - 1
        begin = _walk(first, range(first - 1, lowest - 1, -1), left, gap)
        end = _walk(last, range(last + 1, highest + 1), right, gap)
        grown += _cut_back(begin, end, trim)
    return _filled(len(mask), grown)


def _trim(mask: Bools, to: Bools) -> list[bool]:
    return _filled(len(mask), [kept for first, last in spans(mask) for kept in _cut_back(first, last, to)])


def _shift(x: Sequence[AnyNumber], n: int) -> list[AnyNumber]:
    nothing = False if isinstance(x[0], bool) else 0 if are_ints(x[0]) else math.nan
    return [x[i - n] if 0 <= i - n < len(x) else nothing for i in range(len(x))]


def _shift_distributions(x: Sequence[Sequence[float]] | None, n: int) -> list[Sequence[float]] | None:
    """`_shift` for T distributions; `None` in a test case that gives divergences instead of logits."""
    if x is None:
        return None
    nothing = [math.nan] * len(x[0])
    return [x[i - n] if 0 <= i - n < len(x) else nothing for i in range(len(x))]


def _distance(mask: Bools) -> list[float]:
    members = [i for i, chosen in enumerate(mask) if chosen]
    return [float(min((abs(i - member) for member in members), default=math.nan)) for i in range(len(mask))]


def _density(mask: Bools, sigma: AnyNumber) -> list[float]:
    sigma = float32(sigma)
    members = [i for i, chosen in enumerate(mask) if chosen]

    def normal(distance: int) -> float:
        return quotient(math.exp(-quotient(distance**2, 2 * sigma**2)), sigma * math.sqrt(2 * math.pi))

    return [float32(sum((normal(i - member) for member in members), 0.0)) for i in range(len(mask))]


GEOMETRY: Mapping[str, Callable[..., Any]] = {
    "runs": _runs,
    "run_count": lambda mask: len(spans(mask)),
    "run_length": _run_length,
    "runs_holding": _runs_holding,
    "grow": _grow,
    "trim": _trim,
    "shift": _shift,
    "shift_distributions": _shift_distributions,
    "distance": _distance,
    "density": _density,
}
