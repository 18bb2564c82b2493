"""Checks the logits of a denoiser. The help of a diagnostic names the value to return instead.

Shapes: R rows of the input, W columns of logits, V vocabulary. Not here: logits that are not finite (a step
reports them).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from ..diagnostics import Diagnostic, UsageError

READY = frozenset((torch.float32, torch.bfloat16, torch.float16, torch.float64))  # as a step reads them


def as_logits(
    given: Any, rows: int, length: int, vocab_size: int, device: torch.device | None = None
) -> Tensor:
    """Logits `[R, W, V]` in a form that a step can read. Raises `UsageError` (E0408) for anything else.

    `device`: where the canvases are. Logits on a GPU stay there for canvases on a CPU, since a step reads
    only a window of them.
    """
    # The usual case, checked in every forward; a subclass of `Tensor` may be anything.
    if type(given) is Tensor and given.dtype in READY and given.device.type == "cpu":
        plain = given.layout is torch.strided and not (given.is_nested or given.requires_grad)
        if plain and given.shape == (rows, length, vocab_size):
            return given
    wanted = f"[{rows}, {length}, {vocab_size}]"
    if (problem := _no_logits(given) or _other_shape(given, (rows, length, vocab_size))) is not None:
        what, help_ = problem
        raise UsageError(
            Diagnostic("E0408", f"the denoiser gave {what} where logits {wanted} are needed", help=help_)
        )
    logits: Tensor = given.detach()
    if device is not None and device.type != "cpu" and logits.device != device:
        logits = logits.to(device)
    # For dtypes of one byte, a device may support nothing but the cast. float32 holds each of their numbers
    # exactly.
    return logits.float() if logits.dtype.itemsize < 2 else logits


def _no_logits(given: Any) -> tuple[str, str] | None:
    """Why a value is no dense tensor of floats, and the value to return instead; None if it is one."""
    if not isinstance(given, Tensor):
        return _no_tensor(given)
    # A nested tensor raises an exception when its shape is read.
    if given.is_nested:
        return "a nested tensor", "return it padded: `torch.nested.to_padded_tensor(logits, 0.0)`"
    if given.layout != torch.strided:
        layout = str(given.layout).removeprefix("torch.")
        return f"a tensor that is not dense ({layout})", "return `logits.to_dense()`"
    if given.device.type == "meta" or isinstance(given, FakeTensor):
        return (
            "a tensor without numbers (meta)",
            "load the model's weights: a model on the device `meta` has none",
        )
    if given.is_quantized:
        return f"quantized numbers ({_name(given)})", "return `logits.dequantize()`"
    if not given.is_floating_point():
        return _no_floats(given)
    if given.dtype.itemsize < 2 and not _casts(given):
        return (
            f"numbers that torch cannot compute with ({_name(given)})",
            "return float32, bfloat16 or float16",
        )
    return None


def _no_tensor(given: Any) -> tuple[str, str]:
    what = f"a `{type(given).__name__}`"
    if isinstance(getattr(given, "logits", None), Tensor):
        return what, "return its `.logits`"
    if isinstance(given, dict) and "logits" in given:
        return what, 'return its `["logits"]`'
    if isinstance(given, tuple | list) and given and isinstance(given[0], Tensor):
        return what, "return its first element, if those are the logits"
    if hasattr(given, "__array__"):
        return what, "return a tensor: `torch.as_tensor(logits)`"
    return what, "return a tensor of shape [rows, length, vocab_size]"


def _no_floats(given: Tensor) -> tuple[str, str]:
    if given.is_complex():
        return (
            f"complex numbers ({_name(given)})",
            "return real numbers: `logits.real`, if those are the logits",
        )
    kind = "truth values" if given.dtype == torch.bool else "whole numbers"
    return (
        f"{kind} ({_name(given)})",
        "return float numbers, a score for each id of the vocabulary: not the ids that are likeliest",
    )


def _casts(given: Tensor) -> bool:
    """Whether torch can convert the numbers to float32. It cannot convert numbers of four bits."""
    try:
        torch.zeros(1, dtype=torch.uint8, device=given.device).view(given.dtype).float()
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _other_shape(given: Tensor, wanted: tuple[int, int, int]) -> tuple[str, str] | None:
    shape, (rows, length, vocab_size) = tuple(given.shape), wanted
    if shape == wanted:
        return None
    what = f"a tensor {list(shape)}"
    if shape == (rows, vocab_size, length):
        return what, "return `logits.transpose(1, 2)`"
    if rows == 1 and shape == wanted[1:]:
        return what, "return `logits.unsqueeze(0)`: there is a row for each canvas"
    if shape[:2] == wanted[:2] and len(shape) == 3:
        return what, f"set `denoiser.vocab_size = {shape[2]}`, or return logits of `vocab_size` ids"
    return what, "return logits of shape [rows, length, vocab_size]"


def _name(given: Tensor) -> str:
    return str(given.dtype).removeprefix("torch.")
