"""Which share of the time of an 8B model's forward does a policy take?

The forward computes the logits of the window alone, as dsldec asks for them. A step's time on the GPU is the
sum of its kernels. A decode's time for a forward has everything: the difference of two decodes of one canvas
length, of twice as many blocks and of one. Not here: the model (`transformer`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial

import torch

import dsldec
from dsldec.models.huggingface import HuggingFaceDenoiser

from .denoisers import FreeDenoiser
from .device import busy_seconds, captured, synchronize
from .launches import LARGE, free_denoiser, policy_of, step_call
from .results import Part, Result
from .sizes import Sizes
from .transformer import transformer
from .ways import backend_of, recording, ways

DECODED = ("static", "dico")
FEW, MANY = 1, 2  # blocks


@cache
def model(sizes: Sizes, device: torch.device) -> HuggingFaceDenoiser:
    return transformer(sizes, device, sizes.depth)


def seconds_of(call: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Median seconds from an idle GPU to the last result."""
    taken = []
    for _ in range(rounds + 1):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def forward(sizes: Sizes, rows: int, length: int, device: torch.device) -> Callable[[], object]:
    """A forward of canvases `[rows, length]` for the logits of their last window."""
    denoiser = model(sizes, device)
    ids = torch.randint(0, sizes.vocabulary - 2, (rows, length), device=device)
    columns = torch.arange(length - sizes.window, length, device=device).expand(rows, -1).contiguous()
    return lambda: denoiser(ids, columns=columns)


def of_steps(
    sizes: Sizes,
    rows: int,
    length: int,
    device: torch.device,
    backends: tuple[str, ...],
    result: Result,
) -> None:
    """Add to the result the forward's time, and each step's as a share of it."""
    with torch.inference_mode():
        call = forward(sizes, rows, length, device)
        whole = seconds_of(call, device, 3)
        graph, how = captured(call, device) if rows == sizes.batches[0] else (call, "calls")
        on_gpu = seconds_of(graph, device, 3)
        del graph
    place = f"batch {rows}, {length} columns"
    result.row(f"forward of the 8B shape: {place}", whole * 1e3, "ms")
    result.figures[f"forward, {place}"] = {"seconds": whole, how: on_gpu}
    said = []
    for backend in backends:
        for name in sizes.policies:
            if name in LARGE and rows != sizes.batches[0]:
                continue  # its step would be compiled for this alone
            busy = step_seconds(sizes, name, backend, rows, device)
            result.row(f"step's share of an 8B forward: {name}, {backend}, {place}", busy / on_gpu, "")
            said.append(f"{name}, {backend} {busy * 1e6:.0f} us = {100 * busy / on_gpu:.2f} %")
    result.lines.append(
        f"{place}: forward {whole * 1e3:.2f} ms, as a {how} {on_gpu * 1e3:.2f} ms; steps {'; '.join(said)}"
    )


@cache
def step_seconds(sizes: Sizes, name: str, backend: str, rows: int, device: torch.device) -> float:
    """Seconds that the GPU works for a step."""
    denoiser: FreeDenoiser = free_denoiser(sizes, rows, device)
    step = policy_of(name, sizes).compile(backend, mask_id=denoiser.mask_id, eos_id=denoiser.eos_id)
    call = step_call(step, denoiser)
    call()
    return busy_seconds(call, device)


def of_decode(
    sizes: Sizes,
    name: str,
    way: str,
    rows: int,
    length: int,
    rounds: int,
    device: torch.device,
    result: Result,
) -> None:
    """Add to the result by how much a decode's forward takes longer than the model's alone."""
    denoiser, policy = model(sizes, device), policy_of(name, sizes)
    call = forward(sizes, rows, length, device)

    def decoded(blocks: int) -> int:
        gen_length = blocks * sizes.window
        prompts = [[1] * (length - gen_length)] * rows
        how = {"backend": backend_of(way), "batch": rows, "stop_at_eos": False}
        with recording(denoiser, way):
            answer = dsldec.decode(denoiser, prompts, policy, gen_length=gen_length, **how)
        return int(answer.forwards.max())

    forwards = {blocks: decoded(blocks) for blocks in (FEW, MANY)}
    more, shares, models = forwards[MANY] - forwards[FEW], [], []
    for _ in range(rounds):
        seconds = {blocks: seconds_of(partial(decoded, blocks), device, 1) for blocks in (FEW, MANY)}
        with torch.inference_mode():
            alone = seconds_of(lambda: [call() for _ in range(more)], device, 1) / more
        shares.append((seconds[MANY] - seconds[FEW]) / more / alone - 1)
        models.append(alone)
    place = f"{name}, {way}, batch {rows}, {length} columns"
    share = statistics.median(shares)
    result.row(f"policy's share of an 8B decode: {place}", share, "")
    result.lines.append(
        f"{place}: a forward of a decode takes {100 * share:+.2f} % more than the model's {statistics.median(models) * 1e3:.2f} ms"
    )
    result.figures[f"shares of a decode, {place}"] = shares


def parts_of(sizes: Sizes, device: torch.device, backends: tuple[str, ...]) -> Iterator[Part]:
    few, some, *_ = sizes.batches
    short, long = sizes.lengths

    def steps(rows: int, length: int, seconds: float) -> Part:
        name = f"share of steps, batch {rows}, {length} columns"
        return Part(name, partial(of_steps, sizes, rows, length, device, backends), seconds)

    def decode(name: str, way: str, rows: int, length: int, rounds: int, seconds: float) -> Part:
        call = partial(of_decode, sizes, name, way, rows, length, rounds, device)
        return Part(f"share of a decode, {name}, {way}, batch {rows}, {length} columns", call, seconds)

    every = ways(backends)
    yield steps(few, short, 10)
    for way in reversed(every):  # graphs and compiled first
        for name in DECODED:
            yield decode(name, way, few, short, 3, 10)
    yield steps(few, long, 10)
    yield steps(some, short, 10)
    for name in DECODED:
        yield decode(name, backends[-1], few, long, 2, 15)
    for rows in sizes.batches[1:]:
        for length in sizes.lengths:
            if (rows, length) != (some, short):
                yield steps(rows, length, 15)
    yield decode(DECODED[0], backends[-1], some, short, 1, 20)
