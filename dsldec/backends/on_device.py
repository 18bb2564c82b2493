"""How does the host give numbers to a device without waiting for it?

A tensor that is made of a list on a GPU is copied from ordinary memory of the host, and torch waits until all
work before the copy is done. From pinned memory the copy joins the queue. torch keeps the pinned block until
the copy has been made. *Not measured on a GPU.* Not here: numbers that come from a device (`runtime.poll`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def on_device(values: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> Tensor:
    """`torch.tensor(values, dtype=dtype, device=device)`. On a GPU, the host does not wait."""
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        return torch.tensor(values, dtype=dtype, device=device)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(device, non_blocking=True)


def moved(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor of the host on a device. On a GPU, the host does not wait."""
    device = torch.device(device)
    if device.type != "cuda" or tensor.device.type != "cpu" or not torch.cuda.is_available():
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
