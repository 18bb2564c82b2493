"""Do the backends `eager` and `inductor` on a device write what `eager` writes on a CPU, and where do they
wait?

`python -m tests.gpu.steps POLICY ... [--device cuda] [--backends eager,inductor]`. The logits are exact
(`denoisers`), so that rounding decides nothing. Not here: whether the CPU is right (`tests/backends`, against
the slow loops that are the meaning), how waits are counted (`waits`).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import torch

import dsldec
from dsldec.runtime.decode import Decoded

from . import waits
from .denoisers import HalvesDenoiser
from .results import Part, Result, run
from .ways import backend_of, is_graph, recording, ways

PROMPTS = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
GEN_LENGTH = 40
BLOCK = 16
SEEDS = range(3)
DRAFTS = 3


@cache  # a policy compiles its step once
def policy_of(name: str) -> dsldec.Policy:
    """A shipped policy with short blocks."""
    policy = dsldec.load(name)
    return policy.bind(block=BLOCK) if "block" in policy.parameters else policy


def decoded(name: str, backend: str, device: str, seed: int, lookahead: int | None) -> tuple[Decoded, float]:
    """Four prompts decoded under a shipped policy, with a trace, and the seconds it took."""
    began = time.perf_counter()
    result = dsldec.decode(
        HalvesDenoiser(seed, device),
        PROMPTS,
        policy_of(name),
        gen_length=GEN_LENGTH,
        backend=backend,
        seed=seed,
        trace=True,
        lookahead=lookahead,
    )
    return result, time.perf_counter() - began


def told(result: Decoded) -> dict[str, Any]:
    """Everything that must not depend on a device or a backend."""
    return {
        "ids": [ids.tolist() for ids in result.ids],
        "forwards": result.forwards.tolist(),
        "errors": [error.code if error else None for error in result.errors],
        "steps": [
            [(step.forward, step.phase, step.committed, step.revoked, step.edited) for step in row]
            for row in result.trace
        ],
    }


@cache
def expected(name: str, seed: int, lookahead: int | None) -> dict[str, Any]:
    return told(decoded(name, "eager", "cpu", seed, lookahead)[0])


def compared(name: str, backend: str, device: str, result: Result) -> None:
    """Add to the result what differs between the backend on the device and `eager` on a CPU."""
    drafts = (None,) if name.startswith("freedave") else (None, DRAFTS)
    differing, first = [], None
    for lookahead in drafts:
        for seed in SEEDS:
            answer, took = decoded(name, backend, device, seed, lookahead)
            first = took if first is None else first
            right = expected(name, seed, lookahead)
            wrong = [part for part, value in told(answer).items() if value != right[part]]
            if wrong:
                differing.append(
                    f"{name}, {backend}, seed {seed}, lookahead {lookahead}: {', '.join(wrong)} differ"
                )
    for line in differing:
        result.fail(line)
    count = len(drafts) * len(SEEDS)
    if not differing:
        result.lines.append(
            f"{name}, {backend}: the same ids, forwards and steps in {count} settings; first decode {first:.1f} s"
        )
    result.figures[f"{name}, {backend}"] = {
        "differ": differing,
        "settings": count,
        "first decode, s": first,
    }


def graphs(name: str, way: str, device: str, result: Result) -> None:
    """Add to the result what differs between a decode of CUDA graphs and one of single calls. A graph has no
    trace, so that ids and forwards are compared.
    """
    how: dict[str, Any] = {"gen_length": GEN_LENGTH}
    for seed in SEEDS:
        denoiser, policy = HalvesDenoiser(seed, device), policy_of(name)
        alone = dsldec.decode(HalvesDenoiser(seed), PROMPTS, policy, backend="eager", seed=seed, **how)
        with recording(denoiser, way) as recorded:
            answer = dsldec.decode(denoiser, PROMPTS, policy, backend=backend_of(way), seed=seed, **how)
        same = [a.tolist() == b.tolist() for a, b in zip(answer.ids, alone.ids, strict=True)]
        if not all(same) or answer.forwards.tolist() != alone.forwards.tolist():
            result.fail(f"{name}, {way}, seed {seed}: ids or forwards differ from a CPU's")
        if not recorded and torch.device(device).type == "cuda":
            result.fail(f"{name}, {way}, seed {seed}: no graph was recorded")
        result.figures[f"{name}, {way}, seed {seed}"] = {"recordings": len(recorded)}
    result.lines.append(
        f"{name}, {way}: compared for {len(SEEDS)} seeds, {len(recorded)} recordings in the last"
    )


def parts(arguments: list[str]) -> Iterator[Part]:
    parser = argparse.ArgumentParser()
    parser.add_argument("policies", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", default="eager,inductor")
    options = parser.parse_args(arguments)
    for name in options.policies:
        for backend in options.backends.split(","):
            call = partial(compared, name, backend, options.device)
            yield Part(f"{name}, {backend}", call)
            # The same shapes: nothing compiles again.
            setting = waits.Setting(policy_of(name), backend, refill=True, gen_length=GEN_LENGTH)
            yield Part(
                f"waits of {name}, {backend}",
                partial(waits.checked, setting, torch.device(options.device)),
            )
    for way in filter(is_graph, ways(tuple(options.backends.split(",")))):
        for name in options.policies:
            if name.startswith("freedave"):  # drafts are not recorded
                continue
            yield Part(f"{name}, {way}", partial(graphs, name, way, options.device))
            setting = waits.Setting(policy_of(name), way, refill=True, gen_length=GEN_LENGTH)
            yield Part(
                f"waits of {name}, {way}", partial(waits.checked, setting, torch.device(options.device))
            )


if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(run(parts))
