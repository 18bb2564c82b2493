"""Random numbers for a policy: new ones, and ones near a given one. They are short, so that people can read
them.

Not here: where they stand (`generator`, `mutations`).
"""

from __future__ import annotations

import math
import random

from ...language.words import Kind

PROBABILITIES = (0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05)
INTS = (1, 1, 1, 2, 2, 3, 4, 6, 8)
LARGEST_NUMBER = 1000.0
LEAST_DOUBT = 0.001  # of a probability, at both ends


def number_of(kind: Kind, rng: random.Random) -> int | float:
    """A new number of this kind."""
    match kind:
        case Kind.INT:
            return rng.choice(INTS)
        case Kind.PROB:
            return rng.choice(PROBABILITIES)
        case Kind.LOGIT:
            return short(rng.uniform(0.5, 6))
        case Kind.NATS:
            return short(10 ** rng.uniform(-2, 0.3))
        case _:
            return short(10 ** rng.uniform(-1, 0.7))


def near(value: int | float, kind: Kind, rng: random.Random) -> int | float:
    """A number of the same kind near this one, with its sign."""
    if isinstance(value, int):
        steps = (value - 1, value + 1, value + 2, value * 2, value // 2)
        return max(0, rng.choice(steps))
    if kind is Kind.PROB and 0 < value < 1:
        inside = min(max(value, LEAST_DOUBT), 1 - LEAST_DOUBT)
        logit = math.log(inside / (1 - inside)) + rng.gauss(0, 0.7)
        return round(min(max(1 / (1 + math.exp(-logit)), LEAST_DOUBT), 1 - LEAST_DOUBT), 3)
    return short(min(LARGEST_NUMBER, (value or 0.1) * math.exp(rng.gauss(0, 0.5))))


def short(value: float) -> float:
    """The number with two digits."""
    return float(f"{value:.2g}")
