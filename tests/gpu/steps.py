"""Do the backends `eager` and `inductor` on a device write what `eager` writes on a CPU?

`python -m tests.gpu.steps POLICY ... [--device cuda] [--backends eager,inductor]`. The logits are exact
(`denoisers`), so that rounding decides nothing. Not here: whether the CPU is right (`tests/backends`, against
the slow loops that are the meaning).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch

import dsldec
from dsldec.runtime.decode import Decoded

from .denoisers import HalvesDenoiser
from .results import Result, run

PROMPTS = [[1, 2, 3], [4, 5], [6], [7, 8, 9, 10]]
GEN_LENGTH = 40
SEEDS = range(3)
DRAFTS = 3


def decoded(name: str, backend: str, device: str, seed: int, lookahead: int | None) -> tuple[Decoded, float]:
    """Four prompts decoded under a shipped policy, with a trace, and the seconds it took."""
    policy = dsldec.load(name)
    policy = policy.bind(block=16) if "block" in policy.parameters else policy
    began = time.perf_counter()
    result = dsldec.decode(
        HalvesDenoiser(seed, device),
        PROMPTS,
        policy,
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


def differences(name: str, backends: list[str], device: str) -> tuple[list[str], dict[str, float]]:
    """What differs between the backends on the device and `eager` on a CPU, and the seconds of each backend's
    first decode.
    """
    found, seconds = [], dict[str, float]()
    drafts = (None,) if name.startswith("freedave") else (None, DRAFTS)
    for lookahead in drafts:
        for seed in SEEDS:
            expected = told(decoded(name, "eager", "cpu", seed, lookahead)[0])
            for backend in backends:
                result, took = decoded(name, backend, device, seed, lookahead)
                seconds.setdefault(backend, round(took, 2))
                wrong = [part for part, value in told(result).items() if value != expected[part]]
                if wrong:
                    found.append(
                        f"{name}, {backend}, seed {seed}, lookahead {lookahead}: {', '.join(wrong)} differ"
                    )
    return found, seconds


def check(arguments: list[str]) -> Result:
    parser = argparse.ArgumentParser()
    parser.add_argument("policies", nargs="+")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", default="eager,inductor")
    options = parser.parse_args(arguments)
    result = Result(True)
    for name in options.policies:
        found, seconds = differences(name, options.backends.split(","), options.device)
        settings = (1 if name.startswith("freedave") else 2) * len(SEEDS)
        first = ", ".join(f"{backend} {took:.1f} s" for backend, took in seconds.items())
        result.lines += found or [
            f"{name}: the same ids, forwards and steps in {settings} settings (first decode: {first})"
        ]
        result.figures[name] = {"differ": found, "settings": settings, "seconds of the first decode": seconds}
        result.passed = result.passed and not found
    return result


if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(run(check))
