"""How many kernels does a forward launch beside the model, and how long does the host take for it?

The logits cost nothing (`FreeDenoiser`), so everything counted is the step and the loop around it. A decode
of twice as many blocks minus a decode of one gives a forward without what a decode costs once. Not here: the
profile of a call (`device`), the share of a real forward (`share`).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import torch

import dsldec
from dsldec.backends.step import Step

from .denoisers import FreeDenoiser, normal_logits
from .device import Launches, host_seconds, launches, synchronize
from .results import Part, Result
from .sizes import Sizes
from .transformer import transformer
from .ways import backend_of, is_graph, recording, ways

BACKENDS = ("eager", "inductor")
OF_KERNEL = ("read_piece", "put_together")  # names of the kernel's own launches
FEW, MANY = 1, 2  # blocks
ROUNDS = 3  # of whole decodes
LARGE = ("dico",)  # an eager step of so many operations that only the step is counted


@cache  # a policy compiles its step once
def policy_of(name: str, sizes: Sizes) -> dsldec.Policy:
    """A shipped policy with blocks as long as the window that is measured."""
    policy = dsldec.load(name)
    return policy.bind(block=sizes.window) if "block" in policy.parameters else policy


def free_denoiser(sizes: Sizes, rows: int, device: torch.device) -> FreeDenoiser:
    return FreeDenoiser(normal_logits(rows, sizes.window, sizes.vocabulary, sizes.dtype, device))


def decode(denoiser: Any, policy: dsldec.Policy, way: str, sizes: Sizes, rows: int, blocks: int) -> int:
    """Decode some blocks in every row; returns the number of forwards."""
    with recording(denoiser, way):
        answer = dsldec.decode(
            denoiser,
            [[1, 2, 3]] * rows,
            policy,
            gen_length=blocks * sizes.window,
            backend=backend_of(way),
            batch=rows,
            stop_at_eos=False,
        )
    return int(answer.forwards.max())


def step_call(step: Step, denoiser: FreeDenoiser) -> Callable[[], object]:
    """A call of the step on the denoiser's logits, with every position masked."""
    logits = denoiser.logits
    rows, positions, vocabulary = logits.shape
    device = logits.device
    canvas = torch.full((rows, positions), denoiser.mask_id, device=device)
    editable = torch.ones(rows, positions, dtype=torch.bool, device=device)
    state = step.start(rows, positions, device, vocab_size=vocabulary)
    params = {name: value.to(device) for name, value in step.params.items()}
    return partial(step, logits, canvas, editable, state, params)


def difference(few: Launches, many: Launches, forwards: int) -> tuple[float, float, float]:
    """Kernels (without copies), calls of the host, and the kernel's own launches, for one more forward."""

    def own(found: Launches) -> int:
        return sum(n for name, n in found.names.items() if any(part in name for part in OF_KERNEL))

    return (
        (many.kernels + many.copies - few.kernels - few.copies) / forwards,
        (many.calls - few.calls) / forwards,
        (own(many) - own(few)) / forwards,
    )


def of_step(name: str, backend: str, sizes: Sizes, device: torch.device, result: Result) -> None:
    """Add to the result the launches of a step."""
    denoiser = free_denoiser(sizes, sizes.batches[0], device)
    step = policy_of(name, sizes).compile(backend, mask_id=denoiser.mask_id, eos_id=denoiser.eos_id)
    call, what = step_call(step, denoiser), f"{name}, {backend}"
    call()
    found = launches(call, device)
    result.row(f"launches of a step: {what}", found.calls, "")
    result.lines.append(
        f"{what}: the step has {found.kernels + found.copies} kernels and copies in {found.calls} launches"
    )
    result.figures[f"kernels of a step, {what}"] = dict(found.names)


def of_forward(name: str, way: str, sizes: Sizes, device: torch.device, result: Result) -> None:
    """Add to the result the launches of a forward of a decode, of the step and all that surrounds it."""
    rows = sizes.batches[0]
    policy, denoiser = policy_of(name, sizes), free_denoiser(sizes, rows, device)
    run = partial(decode, denoiser, policy, way, sizes, rows)
    forwards = {blocks: run(blocks) for blocks in (FEW, MANY)}
    more = forwards[MANY] - forwards[FEW]
    found = {blocks: launches(partial(run, blocks), device) for blocks in (FEW, MANY)}
    ran, calls, own = difference(found[FEW], found[MANY], more)
    what = f"{name}, {way}"
    result.row(f"launches a forward beside model and kernel: {what}", max(0.0, calls - own), "")
    result.row(f"operations on the GPU a forward beside model and kernel: {what}", ran - own, "")
    result.lines.append(
        f"{what}: a forward has {ran:.1f} kernels and copies in {calls:.1f} launches, {own:.1f} of them the kernel that reads the logits"
    )
    most = found[MANY].names - found[FEW].names
    result.figures[f"kernels of a forward, {what}"] = {k: n / more for k, n in most.most_common(30)}


def timed(name: str, way: str, sizes: Sizes, device: torch.device, result: Result) -> None:
    """Add to the result the host's time for a step, and the time of a forward of a decode (batch 1)."""
    rows = sizes.batches[0]
    policy, denoiser = policy_of(name, sizes), free_denoiser(sizes, rows, device)
    run = partial(decode, denoiser, policy, way, sizes, rows)
    forwards = {blocks: run(blocks) for blocks in (FEW, MANY)}
    taken = []
    for _ in range(ROUNDS):
        seconds = {}
        for blocks in (FEW, MANY):
            synchronize(device)
            began = time.perf_counter()
            run(blocks)
            synchronize(device)
            seconds[blocks] = time.perf_counter() - began
        taken.append((seconds[MANY] - seconds[FEW]) / (forwards[MANY] - forwards[FEW]))
    step = policy.compile(backend_of(way), mask_id=denoiser.mask_id, eos_id=denoiser.eos_id)
    call = step_call(step, denoiser)
    call()
    host, loop = host_seconds(call, device), statistics.median(taken)
    what = f"{name}, {way}, batch {rows}"
    result.row(f"host's time of a step: {what}", host * 1e6, "us")
    result.row(f"time of a forward without a model: {what}", loop * 1e6, "us")
    result.lines.append(
        f"{what}: the host takes {host * 1e6:.0f} us for a step; a forward without a model takes {loop * 1e6:.0f} us"
    )
    result.figures[f"seconds of a forward without a model, {what}"] = taken


def one_graph(name: str, way: str, sizes: Sizes, device: torch.device, result: Result) -> None:
    """Add to the result how many graphs and other launches a forward of the transformer with its step has."""
    denoiser, policy = transformer(sizes, device, sizes.shallow), policy_of(name, sizes)
    run = partial(decode, denoiser, policy, way, sizes, sizes.batches[0])
    forwards = {blocks: run(blocks) for blocks in (FEW, MANY)}
    more = forwards[MANY] - forwards[FEW]
    few, many = (launches(partial(run, blocks), device) for blocks in (FEW, MANY))
    graphs, calls = (many.graphs - few.graphs) / more, (many.calls - few.calls) / more
    result.row(f"graphs of a forward with its step: {name}, {way}", graphs, "")
    result.lines.append(
        f"{name}, {way}, transformer of {sizes.shallow} layers: a forward and its step are {graphs:.2f} graphs in {calls:.1f} launches"
    )
    if device.type == "cuda" and graphs < 0.9:
        result.fail(f"{name}, {way}: the model and the step are not one graph")


def parts_of(sizes: Sizes, device: torch.device, backends: tuple[str, ...]) -> Iterator[Part]:
    every = ways(backends)
    for way in reversed(every):  # graphs and compiled first
        for name in sizes.policies:
            how = (name, way, sizes, device)
            if not is_graph(way):
                yield Part(f"launches of a step, {name}, {way}", partial(of_step, *how))
            if not (backend_of(way) == "eager" and name in LARGE):
                yield Part(f"launches of a forward, {name}, {way}", partial(of_forward, *how))
                yield Part(f"host's time, {name}, {way}", partial(timed, *how))
    for way in filter(is_graph, every):
        yield Part(f"one graph, {way}", partial(one_graph, sizes.policies[0], way, sizes, device))
