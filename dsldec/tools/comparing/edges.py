"""The numbers near which two policies may differ: their thresholds, and the numbers beside them.

Thresholds are the values of parameters and the constants of the programs. Not here: distributions with these
numbers (`proposals`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ...language.arithmetic import float32
from ...policy import Policy

MOST_NATS = 2.3  # about the entropy of a vocabulary of ten ids
MOST_LOGIT = 30.0
PARTS = (1, 2, 3, 4)
MOST = 400  # numbers of one kind


@dataclass(frozen=True, slots=True)
class Edges:
    """Numbers near thresholds, float64 `[n]` each: probabilities, nats, and differences of logits."""

    probabilities: Tensor
    nats: Tensor
    logits: Tensor


def edges_of(*policies: Policy) -> Edges:
    """The numbers near the thresholds of some policies."""
    constants = sorted({number for policy in policies for number in _constants(policy)})
    shares = [one for number in constants for one in _shares(number) if 0 < one <= 1] or [0.5]
    nats = [one for number in constants for one in _nats(number) if 0 < one < MOST_NATS] or [0.1]
    logits = [number for number in constants if 0 < number < MOST_LOGIT] or [1.0]
    return Edges(*(_with_neighbours(found, top) for found, top in ((shares, 1.0), (nats, 9), (logits, 99))))


def _constants(policy: Policy) -> Iterator[float]:
    values: list[object] = [one.attribute for one in policy.program.operations if one.name == "number"]
    for value in policy.parameters.values():
        values += value if isinstance(value, tuple) else [value]
    for one in values:
        if isinstance(one, int | float) and not isinstance(one, bool) and 0 < abs(one) < 1e6:
            yield abs(float(one))


def _shares(number: float) -> Iterator[float]:
    """Probabilities at which a product or a sum of a few positions meets the number."""
    for part in PARTS:
        yield from (number / part, 1 - number / part)
    if number < 1:
        yield from ((1 + number) / 2, 1 - (1 - number) / 2)


def _nats(number: float) -> Iterator[float]:
    for part in PARTS:
        yield from (number / part, number * math.log(2) / part)


def _with_neighbours(numbers: Iterable[float], most: float) -> Tensor:
    """Each number as a float32, and the float32 below and above it, as float64."""
    found = torch.tensor([float32(number) for number in numbers][:MOST], dtype=torch.float32)
    below, above = (torch.nextafter(found, torch.tensor(end)) for end in (0.0, most))
    # A number itself is the likeliest place of a difference.
    return torch.cat([found, found, below, above]).double().clamp(max=most)
