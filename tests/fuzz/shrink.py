"""Makes a failing text smaller: removes lines, then characters, while it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable

MOST_TRIES = 400


def shrunk(text: str, fails: Callable[[str], bool]) -> str:
    """The smallest text found that still fails."""
    tries = [MOST_TRIES]
    for joint in ("\n", ""):
        parts = text.split(joint) if joint else list(text)
        text = joint.join(_fewer(parts, lambda some, joint=joint: fails(joint.join(some)), tries))  # type: ignore[misc]
    return text


def _fewer(parts: list[str], fails: Callable[[list[str]], bool], tries: list[int]) -> list[str]:
    size = max(1, len(parts) // 2)
    while True:
        at = 0
        while at < len(parts) and tries[0] > 0:
            some = parts[:at] + parts[at + size :]
            tries[0] -= 1
            if some and fails(some):
                parts = some
            else:
                at += size
        if size == 1 or tries[0] <= 0:
            return parts
        size //= 2
