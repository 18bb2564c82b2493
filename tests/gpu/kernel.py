"""Does the Triton kernel read the same statistics out of logits as torch does, on this GPU?

`python -m tests.gpu.kernel [--device cuda]`. Integers must be equal. Floats are compared with what torch
gives on the GPU and on a CPU, and the largest relative error is printed. With `--device cpu`, Triton's
interpreter runs the kernel. Not here: its speed (`bandwidth`).
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from .results import Part, Result, run

TOLERANCE = 2e-6  # relative; float32 holds 6e-8
MASK = 7


def inputs() -> Iterator[tuple[str, Tensor, int]]:
    """Logits `[B, T, V]` on a CPU, what is odd about them, and the id of MASK."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    for size in (1, 2, 17, 4095, 4096, 4097, 9000):
        yield f"V = {size}", normal(1, 3, size), min(MASK, size - 1)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for size in (32000, 126464):
            yield f"V = {size}, {dtype}", (4 * normal(2, 8, size)).to(dtype), MASK
        yield f"ties, {dtype}", torch.randint(0, 3, (2, 2, 5003), generator=generator).to(dtype), MASK
        yield f"all equal, {dtype}", torch.zeros(1, 2, 5003, dtype=dtype), MASK
    peaked = 8 * normal(2, 3, 5003)
    peaked[0, :, 4500] = 40.0
    yield "peaked", peaked, MASK
    yield "MASK is the best", peaked, 4500
    yield "no MASK", peaked, -1
    wide = normal(3, 8, 6000)
    yield "every second row, every third position", wide[::2, 1::3, :5003], MASK
    yield "rows and positions exchanged", wide[..., 900:5903].transpose(0, 1), MASK
    ends = normal(1, 9, 5003)
    ends[0, 0] = -math.inf
    ends[0, 1, 100:] = -math.inf
    ends[0, 2, 4200] = ends[0, 2, 4300] = math.inf
    ends[0, 3, 4200] = math.nan
    ends[0, 4, MASK] = math.nan
    ends[0, 5, MASK] = math.inf
    ends[0, 6] = -math.inf
    ends[0, 6, MASK] = 0.0
    ends[0, 7] = math.nan
    ends[0, 8] = -200.0
    ends[0, 8, MASK] = 0.0
    yield "infinite and missing numbers", ends, MASK


def error_of(value: Tensor, expected: Tensor) -> float:
    """The largest relative error; infinite where one is a number and the other is not."""
    value, expected = value.double().cpu(), expected.double().cpu()
    same = (value == expected) | (value.isnan() & expected.isnan())
    errors = ((value - expected).abs() / expected.abs().clamp(min=1e-37)).masked_fill(same, 0.0)
    return float(errors.nan_to_num(nan=math.inf, posinf=math.inf).max()) if errors.numel() else 0.0


def compared(
    name: str, logits: Tensor, mask_id: int, device: str, largest: dict[str, float], result: Result
) -> None:
    """Add to the result where the kernel differs from torch here and from torch on a CPU."""
    from dsldec.backends.vocabulary import observe
    from dsldec.backends.vocabulary_triton import by_kernel

    placed = torch.empty_strided(logits.size(), logits.stride(), dtype=logits.dtype, device=device)
    placed.copy_(logits)
    fast = observe(placed, mask_id, read=by_kernel)
    for against, slow in (
        ("torch here", observe(placed, mask_id)),
        ("torch on a CPU", observe(logits, mask_id)),
    ):
        for key, expected in slow.items():
            if expected.dtype != torch.float32:
                if not torch.equal(fast[key].cpu(), expected.cpu()):
                    result.fail(f"{name}: `{key}` differs from {against}")
                continue
            error = error_of(fast[key], expected)
            largest[f"{key}, {against}"] = max(error, largest.get(f"{key}, {against}", 0.0))
            if error > TOLERANCE:
                result.fail(f"{name}: `{key}` differs from {against} by {error:.1e}")


def parts(arguments: list[str]) -> Iterator[Part]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    device, largest = parser.parse_args(arguments).device, dict[str, float]()
    if importlib.util.find_spec("triton") is None:
        yield Part("kernel", lambda result: result.lines.append("left out, as triton is not installed"))
        return
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    for name, logits, mask_id in inputs():
        yield Part(name, partial(compared, name, logits, mask_id, device, largest))

    def summary(result: Result) -> None:
        result.lines.append(f"largest relative error {max(largest.values()):.1e}")
        result.figures["largest relative errors"] = largest

    yield Part("summary", summary)


if __name__ == "__main__":
    raise SystemExit(run(parts))
