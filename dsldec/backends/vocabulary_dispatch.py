"""Chooses the code that reads the logits, for this machine and these logits: torch, tiles or chunks for a
CPU's cache, or a GPU kernel.

Shapes: B rows, T window positions, V vocabulary. Not here: that code (`vocabulary`, `vocabulary_tiles`,
`vocabulary_chunks`, `vocabulary_triton`).
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

import torch
from torch import Tensor

from . import cpu_tiles, vocabulary_chunks, vocabulary_tiles
from .vocabulary import WANTED, Reader, Statistics, plain_statistics, statistics


def reader(*, kernels: bool, raw: bool) -> Reader:
    """The function that reads the logits once.

    It is the Triton kernel (not measured on a GPU) if this machine can run it, tiles or chunks on a CPU where
    they pay, and `statistics` otherwise. `kernels`: without, it is `plain_statistics`, for engines without
    kernels and float64. `raw`: whether these are the logits of the denoiser. For transformed logits (`ban`,
    `bias`), compiled code uses `statistics`: a compiler fuses the transform into the read, while a kernel or
    chunks would need the transformed logits in memory.
    """
    if not kernels:
        return plain_statistics
    if not raw:
        return in_memory
    if not (torch.cuda.is_available() and find_spec("triton")):
        return on_cpu
    from .vocabulary_triton import statistics as by_kernel  # needs triton

    return by_kernel


def on_cpu(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """`statistics`, by chunks where they are faster."""
    if vocabulary_chunks.pay(logits):
        return vocabulary_chunks.statistics(logits, mask_id, wanted)
    return in_memory(logits, mask_id, wanted)


def in_memory(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """`statistics`, by tiles where they are faster: in an eager step on a CPU."""
    read = vocabulary_tiles.statistics if cpu_tiles.pay(logits) else statistics
    return read(logits, mask_id, wanted)
