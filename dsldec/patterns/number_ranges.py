"""The regular expression of all integers from one bound to another, without leading zeros."""

from __future__ import annotations

MOST_DIGITS = 18  # of a number without an upper bound


def integers(low: int | None, high: int | None) -> str:
    """The expression of the integers from `low` to `high`; at most 18 digits where a bound is missing."""
    largest = 10**MOST_DIGITS - 1
    low = min(-largest, high or 0) if low is None else low
    high = max(largest, low) if high is None else high
    parts = []
    if low < 0:
        parts += [f"-{part}" for part in _positive(max(1, -high), -low)]
    if high >= 0:
        parts += _positive(max(0, low), high)
    return f"(?:{'|'.join(parts)})"


def _positive(low: int, high: int) -> list[str]:
    """Of the numbers from `low` to `high`, neither below zero: parts of one number of digits each."""
    parts = []
    while low <= high:
        last = min(high, 10 ** len(str(low)) - 1)
        parts += _same_length(str(low), str(last))
        low = last + 1
    return parts


def _same_length(low: str, high: str) -> list[str]:
    """Of the numbers between two of the same number of digits."""
    if not low:
        return [""]
    rest = len(low) - 1
    if set(low[1:]) <= {"0"} and set(high[1:]) <= {"9"}:
        first = low[0] if low[0] == high[0] else f"[{low[0]}-{high[0]}]"
        return [first + {0: "", 1: "[0-9]"}.get(rest, f"[0-9]{{{rest}}}")]
    if low[0] == high[0]:
        return [low[0] + part for part in _same_length(low[1:], high[1:])]
    middle_low, middle_high = int(low[0]), int(high[0])
    parts = []
    if set(low[1:]) - {"0"}:
        parts += [low[0] + part for part in _same_length(low[1:], "9" * rest)]
        middle_low += 1
    ends = []
    if set(high[1:]) - {"9"}:
        ends = [high[0] + part for part in _same_length("0" * rest, high[1:])]
        middle_high -= 1
    if middle_low <= middle_high:
        parts += _same_length(f"{middle_low}{'0' * rest}", f"{middle_high}{'9' * rest}")
    return parts + ends
