"""All measurements that share a model and compiled steps, in one process.

`python -m tests.gpu.measure [--device cuda] [--backends eager,inductor] [--only WORD ...]`. `--prepare POLICY
ROWS` compiles one step for one batch instead, so that several processes fill torch's caches side by side
before anything is timed. Not here: the measurements (`launches`, `share`, `throughput`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial

import torch

from . import launches, share, throughput
from .results import Part, Result, run
from .sizes import Sizes, sizes_of


def prepared(name: str, rows: int, sizes: Sizes, device: torch.device, result: Result) -> None:
    """Decode once with a compiled step."""
    denoiser = launches.free_denoiser(sizes, rows, device)
    forwards = launches.decode(denoiser, launches.policy_of(name, sizes), "inductor", sizes, rows, 1)
    result.lines.append(f"{name}, batch {rows}: compiled, {forwards} forwards")


def parts(arguments: list[str]) -> Iterator[Part]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--backends", default="eager,inductor")
    parser.add_argument("--prepare", nargs=2, metavar=("POLICY", "ROWS"))
    parser.add_argument("--only", nargs="*", default=[], help="parts whose names have one of these words")
    options = parser.parse_args(arguments)
    device, sizes = torch.device(options.device), sizes_of(options.device)
    if options.prepare is not None:
        name, rows = options.prepare
        yield Part(f"prepare {name}, {rows}", partial(prepared, name, int(rows), sizes, device))
        return
    backends = tuple(options.backends.split(","))
    for module in (launches, share, throughput):
        for part in module.parts_of(sizes, device, backends):
            if not options.only or any(word in part.name for word in options.only):
                yield part


if __name__ == "__main__":
    torch.set_num_threads(1)
    raise SystemExit(run(parts))
