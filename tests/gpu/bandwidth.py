"""How fast does the kernel read logits, as a share of a device copy of the same bytes?

`python -m tests.gpu.bandwidth [--device cuda]`, for all batches and dtypes of `sizes`. The calls go through
several buffers in turn, so that no cache has the logits, and run as a graph, so that the host's time does not
count. A copy moves each byte twice. Not here: whether the kernel is right at odd sizes (`kernel`).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from dsldec.backends import vocabulary
from dsldec.backends.vocabulary import observe
from dsldec.tools.baselines import one_read
from dsldec.tools.rounds import measured

from .denoisers import normal_logits
from .device import captured
from .kernel import TOLERANCE, error_of
from .results import Part, Result, run
from .sizes import Sizes, sizes_of

COPY, READ, KERNEL, CONFIDENCE = "copy", "one read by torch", "kernel", "kernel, confidence alone"
MOST_BUFFERS = 64


def reader_for(device: torch.device) -> vocabulary.Reader:
    """The kernel; on a CPU without Triton's interpreter, torch's form, which only tries this code."""
    if device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        from dsldec.backends.vocabulary_triton import by_kernel

        return by_kernel
    return vocabulary.statistics


def compared(logits: Tensor, result: Result, name: str) -> None:
    """Add to the result where the kernel and torch differ."""
    mask_id = logits.shape[-1] - 1
    fast = observe(logits, mask_id, read=reader_for(logits.device))
    largest = 0.0
    for key, expected in observe(logits, mask_id).items():
        if expected.dtype != torch.float32:
            if not torch.equal(fast[key], expected):
                result.fail(f"{name}: `{key}` differs from torch's")
            continue
        largest = max(largest, error_of(fast[key], expected))
    if largest > TOLERANCE:
        result.fail(f"{name}: the largest relative error is {largest:.1e}")
    result.figures[f"largest relative error, {name}"] = largest


def calls_of(buffers: list[Tensor], read: vocabulary.Reader) -> dict[str, Callable[[], object]]:
    mask_id = buffers[0].shape[-1] - 1
    into = [torch.empty_like(one) for one in buffers]

    def each(of: Callable[[Tensor], object]) -> Callable[[], object]:
        return lambda: [of(one) for one in buffers]

    return {
        COPY: lambda: [to.copy_(one) for to, one in zip(into, buffers, strict=True)],
        READ: each(one_read),
        KERNEL: each(lambda one: read(one, mask_id)),
        CONFIDENCE: each(lambda one: read(one, mask_id, ("token",))),
    }


def speed(sizes: Sizes, rows: int, dtype: torch.dtype, device: torch.device, result: Result) -> None:
    """Add to the result what the kernel reads a second, and its share of a copy's bytes a second."""
    kind = str(dtype).removeprefix("torch.")
    name = f"batch {rows}, {kind}"
    logits = normal_logits(rows, sizes.window, sizes.vocabulary, dtype, device)
    compared(logits, result, name)
    size = logits.numel() * logits.element_size()
    count = min(MOST_BUFFERS, max(1, math.ceil(sizes.moved / size)))
    buffers = [logits, *(logits.clone() for _ in range(count - 1))]
    runs, how = {}, {}
    for what, call in calls_of(buffers, reader_for(device)).items():
        runs[what], how[what] = captured(call, device)
    seconds = measured(runs, sizes.rounds, device)
    one = {what: statistics.median(taken) / count for what, taken in seconds.items()}
    moved = {what: (2 if what == COPY else 1) * size / took for what, took in one.items()}
    for what in (KERNEL, CONFIDENCE, READ):
        result.row(f"{what}, {name}", moved[what] / 1e9, "GB/s")
        result.row(f"{what}, share of a copy's bytes a second, {name}", moved[what] / moved[COPY], "")
    result.row(f"copy, {name}", moved[COPY] / 1e9, "GB/s")
    result.lines.append(
        f"{name}: {size / 1e6:.0f} MB in {count} buffers; copy {moved[COPY] / 1e9:.0f} GB/s; "
        + ", ".join(
            f"{what} {one[what] * 1e6:.1f} us, {moved[what] / 1e9:.0f} GB/s, {moved[what] / moved[COPY]:.2f} of the copy ({how[what]})"
            for what in (READ, KERNEL, CONFIDENCE)
        )
    )
    result.figures[f"seconds, {name}"] = seconds


def parts_of(sizes: Sizes, device: torch.device, backends: tuple[str, ...] = ()) -> Iterator[Part]:
    for dtype in sizes.dtypes:
        for rows in (sizes.batches[1], sizes.batches[0], *sizes.batches[2:]):
            name = f"bandwidth, batch {rows}, {dtype}"
            yield Part(name, partial(speed, sizes, rows, dtype, device))


def parts(arguments: list[str]) -> Iterator[Part]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args(arguments)
    yield from parts_of(sizes_of(options.device), torch.device(options.device))


if __name__ == "__main__":
    raise SystemExit(run(parts))
