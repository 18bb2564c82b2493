"""Which policies stay? The ones that no other one beats, and of these the ones far from each other
(NSGA-II, Deb et al. 2002).

Not here: the measures (`racing`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fitness:
    """The measures of a policy. `accuracy` should be high, `forwards` and `size` low."""

    accuracy: float
    forwards: float
    size: int = 0

    @property
    def costs(self) -> tuple[float, float, float]:
        """The three measures, each better when it is lower."""
        return (-self.accuracy, self.forwards, float(self.size))

    def beats(self, other: Fitness) -> bool:
        """Whether no measure is worse, and one is better."""
        pairs = list(zip(self.costs, other.costs, strict=True))
        return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def fronts(all_: Sequence[Fitness]) -> list[list[int]]:
    """The places in fronts: nothing beats the first one, only the first one beats the second, and so on."""
    left = list(range(len(all_)))
    found: list[list[int]] = []
    while left:
        front = [at for at in left if not any(all_[other].beats(all_[at]) for other in left)]
        found.append(front)
        left = [at for at in left if at not in front]
    return found


def crowding(all_: Sequence[Fitness], front: Sequence[int]) -> dict[int, float]:
    """For each place of a front, how far its neighbours are; the ends are infinitely far."""
    distance = dict.fromkeys(front, 0.0)
    for measure in range(3):
        ordered = sorted(front, key=lambda at: (all_[at].costs[measure], at))
        low, high = all_[ordered[0]].costs[measure], all_[ordered[-1]].costs[measure]
        distance[ordered[0]] = distance[ordered[-1]] = math.inf
        if high > low:
            for before, at, after in zip(ordered, ordered[1:], ordered[2:], strict=False):
                gap = all_[after].costs[measure] - all_[before].costs[measure]
                distance[at] += gap / (high - low)
    return distance


def ranked(all_: Sequence[Fitness]) -> list[int]:
    """All places, the best ones first: by their front, then by their distance. Equal ones keep their order."""
    order: list[int] = []
    for front in fronts(all_):
        distance = crowding(all_, front)
        order += sorted(front, key=lambda at: (-distance[at], at))
    return order


def tournament(order: Sequence[int], rng: random.Random) -> int:
    """The better of two random places of an order."""
    return order[min(rng.randrange(len(order)), rng.randrange(len(order)))]
