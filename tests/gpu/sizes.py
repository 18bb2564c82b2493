"""The sizes that the checks measure: on a GPU those of the goals, on a CPU tiny ones that only try the code.

Shapes: B rows, T window positions, V vocabulary, L canvas length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Sizes:
    """`batches`: B. `window`: T. `lengths`: L. `depth` layers of the transformer use the weights of
    `distinct` layers in turn, so that an 8B forward needs little memory and reads as many bytes. `shallow`:
    the layers of the transformer in whole decodes. `rounds`: how often everything is timed. `moved`: bytes
    that a timed call must go through before it reads a buffer again, so that no cache has it.
    """

    vocabulary: int
    window: int
    batches: tuple[int, ...]
    lengths: tuple[int, ...]
    hidden: int
    heads: int
    key_heads: int
    mlp: int
    depth: int
    distinct: int
    shallow: int
    rounds: int
    moved: int
    dtypes: tuple[torch.dtype, ...] = (torch.bfloat16, torch.float32)
    drafts: tuple[int, ...] = (1, 2, 4, 8)
    policies: tuple[str, ...] = ("static", "threshold", "dico")

    @property
    def dtype(self) -> torch.dtype:
        """Of the transformer."""
        return self.dtypes[0]


FULL = Sizes(
    vocabulary=126464,
    window=32,
    batches=(1, 8, 32),
    lengths=(256, 1024),
    hidden=4096,
    heads=32,
    key_heads=8,
    mlp=14336,
    depth=32,
    distinct=4,
    shallow=4,
    rounds=7,
    moved=512 * 2**20,
)
TINY = Sizes(
    vocabulary=300,
    window=8,
    batches=(1, 2, 3),
    lengths=(32, 40),
    hidden=32,
    heads=4,
    key_heads=2,
    mlp=48,
    depth=3,
    distinct=2,
    shallow=1,
    rounds=2,
    moved=2**16,
)


def sizes_of(device: str | torch.device) -> Sizes:
    return FULL if torch.device(device).type == "cuda" else TINY
