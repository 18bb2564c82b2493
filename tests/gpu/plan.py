"""Which checks run on a GPU, in which order and for how long at most: the most valuable first, as the time may
run out.

Not here: how a check runs (`process`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import carried
from .process import Check
from .sizes import FULL, sizes_of

OURS = "tests.gpu."
# A policy and the batches for which its compiled step is measured.
COMPILED = {"static": FULL.batches, "threshold": FULL.batches, "dico": FULL.batches[:1]}
BENCHED = ("static", "threshold")
PARALLEL_SECONDS = 150.0
SLOWER = 5


def checks_of_gpu(device: str, backends: str, policies: Sequence[str], folder: Path) -> list[Check]:
    """All checks, with the seconds each may take."""
    found = [
        *side_by_side(device, backends, policies),
        Check("bandwidth", (OURS + "bandwidth", "--device", device), 60, alone=True),
        Check("measure", (OURS + "measure", "--device", device, "--backends", backends), 240, alone=True),
    ]
    found += benchmarks(device, backends, folder)
    if any(carried.THERE.glob("part-*")):
        found.append(Check("tensorrt-rtx", (OURS + "tensorrt_rtx", "--device", device), 90, alone=True))
    # A CPU takes longer even for tiny sizes.
    return found if device == "cuda" else [replace(one, limit=SLOWER * one.limit) for one in found]


def side_by_side(device: str, backends: str, policies: Sequence[str]) -> list[Check]:
    """Whether results are right; and the compiled steps for what is timed later."""
    found = [Check("kernel", (OURS + "kernel", "--device", device), 90)]
    how = ("--device", device, "--backends", backends)
    # The longest compilations begin first.
    for name in sorted(policies, key=lambda name: name not in ("dico", "klass", "freedave_plus")):
        found.append(Check(f"steps of {name}", (OURS + "steps", name, *how), PARALLEL_SECONDS))
    if "inductor" in backends:
        names = [(name, batch) for name, batches in COMPILED.items() for batch, _ in enumerate(batches)]
        for name, batch in names:
            rows = str(sizes_of(device).batches[batch])
            command = (OURS + "measure", "--device", device, "--prepare", name, rows)
            found.append(Check(f"prepare {name}, batch {rows}", command, PARALLEL_SECONDS))
    found.append(Check("waits", (OURS + "waits", "--device", device), PARALLEL_SECONDS))
    return found


def benchmarks(device: str, backends: str, folder: Path) -> list[Check]:
    """`dsldec bench` on this device."""
    options = [option for name in BENCHED for option in ("--policy", name)]
    options += [option for name in backends.split(",") for option in ("--backend", name)]
    sizes = sizes_of(device)
    shape = f"{sizes.batches[1]}x{sizes.window}x{sizes.vocabulary}"
    found = []
    for what, arguments, limit in (
        ("step", ("--shape", shape, "--dtype", "bfloat16", "--rounds", "5"), 90.0),
        ("loop", ("--prompts", "1", "--rounds", "2"), 60.0),
    ):
        file = folder / f"{what}.json"
        command = ("dsldec", "bench", what, "--device", device, "--json", str(file), *arguments, *options)
        found.append(Check(f"bench {what}", command, limit, alone=True, figures=file))
    return found


def checks_of_fakes() -> list[Check]:
    return [Check("fakes", (OURS + "fakes",), 300)]
