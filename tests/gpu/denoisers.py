"""Denoisers for the checks: exact logits, which are the same bits on every device, and logits that cost
nothing.

Shapes: B rows, L canvas length, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

VOCABULARY = 64
MASK = VOCABULARY - 1
MULTIPLIERS = (2654435761, 40503, 9973)
MODULUS = 2**31 - 1


class HalvesDenoiser:
    """One, two or four equally likely ids at each position, all others impossible: every probability is 1,
    1/2 or 1/4.

    Which ids they are depends on the position, on how much of the row is written, and on `seed`: integer
    arithmetic alone.
    """

    mask_id, eos_id, vocab_size = MASK, MASK - 1, VOCABULARY

    def __init__(self, seed: int, device: str | torch.device = "cpu") -> None:
        self.seed, self.device = seed, torch.device(device)

    def __call__(self, ids: Tensor) -> Tensor:
        """Logits `[B, L, V]` float32 of ids `[B, L]`."""
        rows, length = ids.shape
        written = (ids != MASK).sum(1, keepdim=True)
        place = torch.arange(length, device=ids.device).expand(rows, length)
        mixed = (
            place * MULTIPLIERS[0] + written * MULTIPLIERS[1] + (self.seed + 1) * MULTIPLIERS[2]
        ) % MODULUS
        mixed = (mixed * MULTIPLIERS[1] + 12345) % MODULUS
        count = 1 << (mixed % 3)
        first, stride = (
            (mixed // 3) % (MASK - 1),
            1 + 2 * ((mixed // 512) % 8),
        )  # MASK - 1 = 62 ids that are words
        which = torch.arange(4, device=ids.device)
        chosen = (first.unsqueeze(2) + which * stride.unsqueeze(2)) % (MASK - 1)
        likely = which < count.unsqueeze(2)
        logits = torch.full((rows, length, VOCABULARY), float("-inf"), device=ids.device)
        return logits.scatter_reduce(2, chosen, torch.where(likely, 1.0, float("-inf")), "amax")


class FreeDenoiser:
    """The same logits `[B, T, V]` at every call: what a decode costs is the policy and the loop."""

    selects_columns = True

    def __init__(self, logits: Tensor) -> None:
        self.logits, self.device = logits, logits.device
        self.vocab_size = logits.shape[-1]
        self.mask_id, self.eos_id = self.vocab_size - 1, self.vocab_size - 2

    def __call__(self, ids: Tensor, columns: Tensor | None = None) -> Tensor:
        """Logits of the first rows, and of as many columns as are asked for."""
        width = ids.shape[1] if columns is None else columns.shape[1]
        return self.logits[: ids.shape[0], :width]


def normal_logits(
    rows: int, positions: int, vocabulary: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Random logits `[B, T, V]` with a standard deviation of 3."""
    generator = torch.Generator(device).manual_seed(0)
    shape = (rows, positions, vocabulary)
    return torch.empty(shape, device=device, dtype=dtype).normal_(0.0, 3.0, generator=generator)
