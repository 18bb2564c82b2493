"""Denoisers whose logits are the same bits on every device, since every number in them is exact.

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
