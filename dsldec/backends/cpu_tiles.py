"""Tiles of the logits, for eager steps on a CPU: some positions at a time, so that intermediate results stay
in the cache and in memory that is mapped already.

Shapes: B rows, T window positions, V vocabulary; n positions of a tile. Not here: the computations
(`vocabulary`, `vocabulary_tiles`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

TILE = 2**19  # logits; with fewer, the calls of the operations take long, with more, the third cache is full


def pay(logits: Tensor) -> bool:
    """Whether tiles are possible and faster. Tracing and gradients need operations on whole tensors."""
    return (
        type(logits) is Tensor
        and logits.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not (logits.requires_grad and torch.is_grad_enabled())
        and logits.numel() > 0
    )


def tiles(logits: Tensor, size: int = TILE) -> Iterator[Tensor]:
    """`logits [B, T, ...]` as views `[n, ...]`, in order: about `size` logits for each thread, at least one
    position.
    """
    at_once = max(1, size // max(1, logits[0, 0].numel())) * torch.get_num_threads()
    for rows in (logits.flatten(0, 1),) if _is_flat(logits) else logits:
        yield from rows.split(at_once)


def _is_flat(logits: Tensor) -> bool:
    """Whether rows and positions are one dimension of the memory."""
    return len(logits) == 1 or logits.stride(0) == logits.shape[1] * logits.stride(1)
