"""The meaning of `logits constrain(...)`: the likeliest full text of a window that can still become a match.

Slow loops over plain numbers, for one row. Shapes: T window positions, V vocabulary, S states, C classes. A
path has an id at each position of the window: the written one where one is written. It begins in the
pattern's state before the window, and ends in a state that `ends` allows. Of all paths, the best one has the
largest sum of scores over the positions that are not written. Not here: tensors (`paths`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The gain of an id in the sum of a path: the difference to the best id that a match may contain, but not less
# than LEAST; for an id without a probability, NONE. So a path takes an id without a probability only where
# every path does, and then the fewest. All are exact numbers of a double.
LEAST, NONE = -(2.0**20), -(2.0**40)


@dataclass(frozen=True, slots=True)
class PatternOfRow:
    """`following`: for each class the state after each state, S where there is none; `class_of`: the class of
    each id; `ends`: for each state, whether a path may end there.
    """

    following: Sequence[Sequence[int]]
    class_of: Sequence[int]
    ends: Sequence[bool]


def likeliest_path(
    pattern: PatternOfRow, state: int, scores: Sequence[Sequence[float]], written: Sequence[int | None]
) -> list[int] | None:
    """The ids of the best path, `None` if there is none. `scores`: of each id at each position; `written`:
    the id that is written there, or `None`.

    Of equal paths, the one with the lower id at the first position where they differ.
    """
    dead = len(pattern.ends)
    gains = [_gains(pattern, row, id_) for row, id_ in zip(scores, written, strict=True)]
    # best[t][s]: the largest sum from position t on, in state s before it.
    best = [[0.0 if may else -math.inf for may in pattern.ends] + [-math.inf]]
    for gain in reversed(gains):
        rest = best[0]
        best.insert(
            0, [max((of + rest[to[s]] for to, of, _ in gain), default=-math.inf) for s in range(dead + 1)]
        )
    if state >= dead or best[0][state] == -math.inf:
        return None
    path = []
    for gain, now, rest in zip(gains, best, best[1:], strict=False):
        id_, state = min((id_, to[state]) for to, of, id_ in gain if of + rest[to[state]] == now[state])
        path.append(id_)
    return path


def _gains(
    pattern: PatternOfRow, scores: Sequence[float], written: int | None
) -> list[tuple[Sequence[int], float, int]]:
    """For each class that has an id here: its transitions, its gain, and its best id, the lower of equal
    ones.
    """
    if written is not None:
        known = 0 <= written < len(pattern.class_of)
        return [(pattern.following[pattern.class_of[written]], 0.0, written)] if known else []
    highest: dict[int, int] = {}
    for id_, class_ in enumerate(pattern.class_of):
        if class_ and (class_ not in highest or scores[id_] > scores[highest[class_]]):
            highest[class_] = id_
    top = max((scores[id_] for id_ in highest.values()), default=0.0)
    return [
        (pattern.following[class_], _gain(scores[id_], top), id_) for class_, id_ in sorted(highest.items())
    ]


def _gain(score: float, top: float) -> float:
    return NONE if score == -math.inf or score != score else max(LEAST, score - top)
