"""`make gpu`: every check of this folder and the benchmarks of a GPU, within a time limit; the table and the
JSON come last.

`python -m tests.gpu [--minutes 7] [--json FILE] [--device cuda] [--only CHECK]` from a checkout, with any
Python that has torch, triton, transformers and lark. Nothing needs to be installed: a `lark-*.whl` in
`wheels/` or `.whl/` is used where lark is missing. Without a GPU it says so, and runs what fake tensors can
check. Exit status: 0 if all that ran passed, 1 if not, 2 if it cannot run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .results import Result, read

ROOT = Path(__file__).parent.parent.parent
WHEELS = ("wheels", ".whl")
MOST_AT_ONCE = 12
LEAST_SECONDS = 5.0  # with less time left, a check is not begun
BENCHED = ("static", "threshold", "dico")


@dataclass(frozen=True)
class Check:
    """A command of its own, and the seconds it may take. `alone`: what it times must not be disturbed by
    others.
    """

    name: str
    command: tuple[str, ...]
    limit: float
    alone: bool = False
    figures: Path | None = None  # a JSON file that it writes


def checks_of_gpu(device: str, policies: Sequence[str], folder: Path) -> list[Check]:
    """The most valuable first: the time may run out."""
    ours = "tests.gpu."
    found = [Check("kernel", (ours + "kernel", "--device", device), 90)]
    found += [Check(f"steps of {name}", (ours + "steps", name, "--device", device), 240) for name in policies]
    if device == "cuda":
        found += [Check(f"waits of {name}", (ours + "waits", name), 240) for name in policies]
    options = [option for name in BENCHED for option in ("--policy", name)]
    shapes = ("--shape", "1x32x126464", "--shape", "8x32x126464", "--dtype", "bfloat16")
    for what, arguments, limit in (
        ("step", (*shapes, *options, "--rounds", "10"), 150.0),
        ("loop", ("--prompts", "2", "--rounds", "3"), 120.0),
    ):
        file = folder / f"{what}.json"
        command = ("dsldec", "bench", what, "--device", device, "--json", str(file), *arguments)
        found.append(Check(f"bench {what}", command, limit, alone=True, figures=file))
    return found


def checks_of_fakes() -> list[Check]:
    return [Check("fakes", ("tests.gpu.fakes",), 300)]


@dataclass
class Outcome:
    """`state`: passed, failed, stopped (out of time) or left out (no time to begin)."""

    name: str
    state: str
    seconds: float
    lines: list[str]
    figures: dict[str, Any]


def outcome_of(check: Check, ends_at: float) -> Outcome:
    """Run a check, and stop it when its own time or all of the time is over."""
    left = min(check.limit, ends_at - time.monotonic())
    if left < LEAST_SECONDS:
        return Outcome(check.name, "left out", 0.0, ["no time was left"], {})
    began = time.monotonic()
    # Each of many side by side would start as many compilers as there are cores.
    environment = os.environ if check.alone else os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "2"}
    status, said, complained = ran_within(left, [sys.executable, "-m", *check.command], environment)
    if status is None:
        return Outcome(check.name, "stopped", time.monotonic() - began, said.splitlines()[-3:], {})
    seconds = time.monotonic() - began
    result = read(said) or Result(status == 0, said.strip().splitlines())
    if check.figures is not None and check.figures.is_file():
        result.figures = json.loads(check.figures.read_text(encoding="utf-8"))
    passed = result.passed and status == 0
    lines = result.lines + ([] if passed else complained.strip().splitlines()[-12:])
    return Outcome(check.name, "passed" if passed else "failed", seconds, lines, result.figures)


def ran_within(
    seconds: float, command: Sequence[str], environment: Mapping[str, str]
) -> tuple[int | None, str, str]:
    """Exit status (None: it was stopped), standard output and standard error of a command and all that it
    starts.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # A session of its own: compilers that it has started would go on, and keep its output open.
    with subprocess.Popen(
        command, cwd=ROOT, env=dict(environment), text=True, start_new_session=True, **pipes
    ) as process:
        try:
            said, complained = process.communicate(timeout=seconds)
            return process.returncode, said, complained
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, *process.communicate()


def outcomes(checks: Sequence[Check], ends_at: float) -> Iterator[Outcome]:
    """First those that may run side by side, then one after the other what must be alone."""
    workers = max(1, min(MOST_AT_ONCE, (os.cpu_count() or 2) - 1))
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(
            lambda check: outcome_of(check, ends_at), [check for check in checks if not check.alone]
        )
    for check in checks:
        if check.alone:
            yield outcome_of(check, ends_at)


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
    return about


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


def main() -> int:
    began = time.monotonic()
    parser = argparse.ArgumentParser(prog="make gpu", description="Check dsldec on a GPU.")
    parser.add_argument("--minutes", type=float, default=7.0, help="stop after so many (default: 7)")
    parser.add_argument("--json", metavar="FILE", help="write everything measured there too")
    parser.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"), help="cpu: try the checks themselves"
    )
    parser.add_argument(
        "--only", action="append", metavar="CHECK", help="those whose name begins like this; may be repeated"
    )
    options = parser.parse_args()
    if (help_ := carry_lark()) is not None:
        print(help_, file=sys.stderr)
        return 2
    import torch

    import dsldec

    there = machine()
    with tempfile.TemporaryDirectory() as folder:
        if options.device == "cuda" and not torch.cuda.is_available():
            print(
                "torch finds no CUDA GPU on this machine: what can be checked with fake tensors is checked, and nothing is measured",
                flush=True,
            )
            checks = checks_of_fakes()
        else:
            print(", ".join(f"{name} {value}" for name, value in there.items()), flush=True)
            checks = checks_of_gpu(options.device, dsldec.shipped_policies(), Path(folder))
        wanted = [check for check in checks if not options.only or check.name.startswith(tuple(options.only))]
        found = []
        for one in outcomes(wanted, began + 60 * options.minutes):
            found.append(one)
            print(f"\n{one.name}: {one.state} ({one.seconds:.0f} s)", *one.lines, sep="\n  ", flush=True)
    everything = {
        "machine": there,
        "seconds": round(time.monotonic() - began),
        "checks": [asdict(one) for one in found],
    }
    text = json.dumps(everything)
    if options.json:
        Path(options.json).write_text(text + "\n", encoding="utf-8")
    print("", *table(found), "", text, sep="\n")
    return 0 if found and all(one.state == "passed" for one in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
