"""`make gpu`: every check of this folder and the measurements of a GPU, within a time limit; the table comes
last.

`python -m tests.gpu [--minutes 7] [--json FILE] [--device cuda] [--only CHECK]` from a checkout, with any
Python that has torch, triton, transformers and lark. Nothing is downloaded, and nothing needs to be
installed: a `lark-*.whl` in `wheels/` or `.whl/` is used where lark is missing. Without a GPU it says so, and
runs what fake tensors can check; `--device cpu` tries every check at tiny sizes. Exit status: 0 if all that
ran passed, 1 if not, 2 if it cannot run. Not here: the checks (`plan`), how one runs (`process`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import gpu as goals

from .plan import checks_of_fakes, checks_of_gpu
from .process import ROOT, Outcome, outcomes

WHEELS = ("wheels", ".whl")


def machine() -> dict[str, Any]:
    """What the figures hold for: the card's name, its memory, and the versions."""
    import torch

    versions = {
        name: found.__version__
        for name in ("torch", "triton", "transformers")
        if (found := _imported(name)) is not None
    }
    about: dict[str, Any] = {
        "python": platform.python_version(),
        **versions,
        "cores": os.cpu_count(),
        "gpu": None,
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        about |= {"gpu": properties.name, "memory, GiB": round(properties.total_memory / 2**30, 1)}
        about |= {"multiprocessors": properties.multi_processor_count, "cuda": torch.version.cuda}
        about |= {"capability": f"{properties.major}.{properties.minor}"}
    return about | {"lacks": ", ".join(lacking()) or None}


def lacking() -> list[str]:
    """What Triton and Inductor need beside torch, and is not there: Triton builds its launchers in C, and
    Inductor builds what stays on the CPU in C++.
    """
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    found = {
        "a C compiler": os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang"),
        "a C++ compiler": os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++"),
        str(header): header.is_file(),
    }
    return [what for what, there in found.items() if not there]


def _imported(name: str) -> Any | None:
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def carry_lark() -> str | None:
    """Put a wheel of lark onto the path where lark is not installed; returns what to do where there is none."""
    if importlib.util.find_spec("lark"):
        return None
    wheels = [wheel for folder in WHEELS for wheel in sorted((ROOT / folder).glob("lark-*.whl"))]
    if not wheels:
        return "lark is not installed: put its wheel into `wheels/` (`pip download --no-deps -d wheels lark`), or `pip install lark`"
    sys.path.insert(0, str(wheels[-1]))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(wheels[-1]), os.environ.get("PYTHONPATH")]))
    return None


def table(found: Sequence[Outcome]) -> Iterator[str]:
    yield "| check | | seconds |"
    yield "|---|---|---|"
    for one in found:
        yield f"| {one.name} | {one.state} | {one.seconds:.0f} |"


def write(file: str | None, there: dict[str, Any], found: Sequence[Outcome], began: float) -> dict[str, Any]:
    """Write everything so far, since what comes may be cut off; returns it."""
    results = {
        "machine": there,
        "seconds": round(time.monotonic() - began),
        "checks": [asdict(one) for one in found],
    }
    if file is not None:
        Path(file).write_text(json.dumps(results) + "\n", encoding="utf-8")
    return results


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make gpu", description="Check dsldec on a GPU.")
    parser.add_argument("--minutes", type=float, default=7.0, help="stop after so many (default: 7)")
    parser.add_argument("--json", metavar="FILE", help="write everything measured there")
    parser.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"), help="cpu: try the checks themselves"
    )
    parser.add_argument(
        "--backends", default="eager,inductor", help="with `eager` alone, nothing is compiled (for a trial)"
    )
    parser.add_argument(
        "--only", action="append", metavar="CHECK", help="those whose name begins like this; may be repeated"
    )
    return parser.parse_args()


def main() -> int:
    began = time.monotonic()
    options = parsed()
    if (help_ := carry_lark()) is not None:
        print(help_, file=sys.stderr)
        return 2
    import torch

    import dsldec

    there, found = machine(), list[Outcome]()
    with tempfile.TemporaryDirectory() as folder:
        if options.device == "cuda" and not torch.cuda.is_available():
            print(
                "torch finds no CUDA GPU on this machine: what can be checked with fake tensors is checked, and nothing is measured",
                flush=True,
            )
            checks = checks_of_fakes()
        else:
            print(goals.about(there), flush=True)
            checks = checks_of_gpu(options.device, options.backends, dsldec.shipped_policies(), Path(folder))
        wanted = [check for check in checks if not options.only or check.name.startswith(tuple(options.only))]
        for one in outcomes(wanted, began + 60 * options.minutes):
            found.append(one)
            print(f"\n{one.name}: {one.state} ({one.seconds:.0f} s)", *one.lines, sep="\n  ", flush=True)
            write(options.json, there, found, began)
    results = write(options.json, there, found, began)
    print("", goals.about(there), f"{results['seconds']} seconds", "", *table(found), "", sep="\n")
    print(*goals.table(goals.rows_of(results)), sep="\n")
    return 0 if found and all(one.state in ("passed", "left out") for one in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
