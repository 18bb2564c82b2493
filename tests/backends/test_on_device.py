"""Numbers of the host reach a GPU through pinned memory, without a wait."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dsldec.backends import on_device as module
from dsldec.backends.on_device import moved, on_device


def test_it_is_an_ordinary_tensor_on_a_cpu() -> None:
    made = on_device([[1, 2], [3, 4]], "cpu", torch.int32)
    assert torch.equal(made, torch.tensor([[1, 2], [3, 4]], dtype=torch.int32))
    assert on_device([True], "cpu").dtype == torch.bool
    same = torch.tensor(2.0)
    assert moved(same, "cpu") is same


def test_a_gpu_gets_it_from_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    class Pinned:
        def __init__(self, values: Any) -> None:
            self.values = values

        def to(self, device: torch.device, non_blocking: bool = False) -> str:
            asked.append((self.values, str(device), non_blocking))
            return "on the GPU"

    def tensor(values: Any, dtype: Any = None, device: Any = None, pin_memory: bool = False) -> Any:
        assert pin_memory
        assert device is None
        return Pinned(values)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: Pinned(self.tolist()))
    plain = torch.tensor([5, 6])
    monkeypatch.setattr(module.torch, "tensor", tensor)
    assert on_device([1, 2], "cuda:1") == "on the GPU"
    assert moved(plain, torch.device("cuda:1")) == "on the GPU"
    assert asked == [([1, 2], "cuda:1", True), ([5, 6], "cuda:1", True)]
