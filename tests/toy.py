"""A toy denoiser whose logits are exact dyadic rationals, so that any correct float32 code gets the same
bits.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
VOCABULARY = 40
MASK = VOCABULARY - 1
WORD = (1 << 64) - 1
NEAR = (0.75, 0.5, 0.25, 0.125)


def mix(*parts: int) -> int:
    """A 64-bit hash of some integers."""
    h = 0
    for part in parts:
        h = (h + 0x9E3779B97F4A7C15 + part) & WORD
        h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & WORD
        h ^= h >> 31
    return h


def unit(*parts: int) -> float:
    """A multiple of 1/4096 from 0 on, below 1."""
    return (mix(*parts) >> 52) / 4096


@cache
def _tables(seed: int, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    vocabulary = range(VOCABULARY)
    base = [
        [2 * (unit(seed, 1, i, v) + unit(seed, 2, i, v) + unit(seed, 3, i, v) - 1.5) for v in vocabulary]
        for i in range(length)
    ]
    target = [mix(seed, 4, i) % MASK for i in range(length)]
    drive = [8 * unit(seed, 5, i) for i in range(length)]
    follow = [[mix(seed, 6, i, u) % MASK for u in vocabulary] for i in range(length)]
    return (
        torch.tensor(base, dtype=torch.float64),
        torch.tensor(target),
        torch.tensor(drive, dtype=torch.float64),
        torch.tensor(follow),
    )


class ToyDenoiser:
    """Ids `[b, L]` to logits `[b, L, 40]`; remembers the shape of every call."""

    mask_id = MASK
    vocab_size = VOCABULARY

    def __init__(self, seed: int, gain: float) -> None:
        self.seed, self.gain = seed, gain
        self.calls: list[tuple[int, ...]] = []

    def __call__(self, ids: Tensor) -> Tensor:
        self.calls.append(tuple(ids.shape))
        rows, length = ids.shape
        base, target, drive, follow = _tables(self.seed, length)
        written = (ids != MASK).double()
        near = torch.zeros(rows, length, dtype=torch.float64)
        for distance, weight in enumerate(NEAR, 1):
            near[:, distance:] += weight * written[:, :-distance]
            near[:, :-distance] += weight * written[:, distance:]
        logits = base.repeat(rows, 1, 1)
        push = (drive + self.gain * near).unsqueeze(2)
        logits.scatter_add_(2, target.expand(rows, length).unsqueeze(2), push)
        previous = ids[:, :-1]
        next_token = follow[1:].expand(rows, -1, -1).gather(2, previous.unsqueeze(2))
        logits[:, 1:].scatter_add_(2, next_token, 1.25 * (previous != MASK).double().unsqueeze(2))
        logits[:, :, MASK] = -64
        return logits.float()


def golden(name: str) -> list[dict[str, Any]]:
    """The cases of a golden file."""
    cases: list[dict[str, Any]] = json.loads((GOLDEN / name).read_text())
    return cases
