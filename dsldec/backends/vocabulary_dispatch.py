"""Which code reads the logits once, on this machine and for these logits: torch's, chunks in a CPU's cache,
or a kernel on a GPU.

Shapes: B rows, T window positions, V vocabulary. Not here: that code (`vocabulary`, `vocabulary_chunks`,
`vocabulary_triton`).
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

import torch
from torch import Tensor

from . import vocabulary_chunks
from .vocabulary import WANTED, Reader, Statistics, plain_statistics, statistics


def reader(*, kernels: bool, raw: bool) -> Reader:
    """What reads logits once: the Triton kernel (not measured on a GPU) where this machine can run it;
    compiled for a CPU, chunks where they pay; else `statistics`.

    `kernels`: whether it may; without, it is `plain_statistics`, for engines that know neither kernels nor
    float64. `raw`: the logits are what the denoiser gave. Made of others (`ban`, `bias`), a compiler computes
    them as `statistics` reads them, while a kernel would need them written down first.
    """
    if not kernels:
        return plain_statistics
    if not raw:
        return statistics
    if not (torch.cuda.is_available() and find_spec("triton")):
        return on_cpu
    from .vocabulary_triton import statistics as by_kernel  # needs triton

    return by_kernel


def on_cpu(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """`statistics`, by chunks where they pay."""
    read = vocabulary_chunks.statistics if vocabulary_chunks.pay(logits) else statistics
    return read(logits, mask_id, wanted)
