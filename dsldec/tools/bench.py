"""Shared by the `dsldec bench` verbs: the backends that can run here, progress lines, files of results, and
diagnostics.

Not here: the measurements (`bench_step`, `bench_loop`), timing (`rounds`), tables and plots (`bench_report`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..backends import toolchain
from ..diagnostics import Diagnostic, UsageError
from ..files import why_not_written
from ..policy import Policy, load
from ..terminal import printable
from . import quoted, quoted_path
from .writing import put

DEVICES = ("cpu", "cuda")


# The default backends. Not `aot`: each package takes a minute to build, and there is one for each policy,
# shape and dtype.
DEFAULT_BACKENDS = ("eager", "inductor")


def backends_here(requested: Sequence[str], known: Sequence[str]) -> list[str]:
    """The requested backends, in the order of the table. Without a request, the default ones that can run
    here; a line on standard error names the others.

    Raises `UsageError` (E0404) for a requested backend that cannot run here.
    """
    lacking = {name: why for name in known if (why := _lacking(name)) is not None}
    for name in requested:
        if name in lacking:
            raise UsageError(
                Diagnostic(
                    "E0404",
                    f"the backend `{name}` {lacking[name]}",
                    help="leave it out, or measure `--backend eager`",
                )
            )
    if not requested:
        for name in [name for name in DEFAULT_BACKENDS if name in lacking]:
            print(f"left out: the backend `{name}` {lacking[name]}", file=sys.stderr)
    return [
        name
        for name in known
        if name in requested or (not requested and name in DEFAULT_BACKENDS and name not in lacking)
    ]


def _lacking(backend: str) -> str | None:
    if backend == "aot" and importlib.util.find_spec("dsldec.backends.aot") is None:
        return "is not part of this version"
    return (
        "needs a C++ compiler and none is found"
        if backend != "eager" and toolchain.compiler() is None
        else None
    )


def device_here(name: str) -> torch.device:
    """The device of this name. Raises `UsageError` (E0422) where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            Diagnostic(
                "E0422",
                "`--device cuda` needs a GPU that torch can use, and finds none",
                help="write `--device cpu`",
            )
        )
    return torch.device(name)


def use_threads(threads: int | None) -> None:
    if threads is not None:
        torch.set_num_threads(threads)


def policies(names: Sequence[str]) -> dict[str, Policy]:
    """The policies by their names in the table. Where two files have policies of one name, the name is the
    whole path.
    """
    loaded = [(name, load(name)) for name in dict.fromkeys(names)]
    called = [policy.name for _, policy in loaded]
    return {
        policy.name if called.count(policy.name) == 1 else printable(name): policy for name, policy in loaded
    }


def machine(device: torch.device) -> dict[str, Any]:
    """The machine that the ratios were measured on."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
    } | gpu


def machine_line(device: torch.device) -> str:
    about = machine(device)
    where = (
        about.get("gpu")
        or f"{about['threads']} thread{'s' if about['threads'] > 1 else ''} on {about['cores']} cores"
    )
    return f"torch {about['torch']}, {where}"


def require_writable(*files: str | None) -> None:
    """Raise `UsageError` (E0432) now for a file that could not be written after minutes of measuring."""
    for file in files:
        if file is None:
            continue
        why, there = why_not_written(file), os.path.exists(file)
        try:
            with open(os.devnull if why else file, "ab"):
                pass
        except OSError as error:
            why = (error.strerror or "no reason given").lower()
        if why:
            message = f"{quoted_path(file)} cannot be written: {why}"
            raise UsageError(Diagnostic("E0432", message, help="name a file in a folder that exists"))
        if not there:
            os.unlink(file)


def require_svg(file: str | None) -> None:
    """Raise `UsageError` (E0422) for a plot in another format."""
    if file is not None and not file.endswith(".svg"):
        message = f"a plot is drawn as SVG, and {quoted(file)} does not end in `.svg`"
        help_ = f"`--plot {Path(file).stem or 'bench'}.svg`; `pip install cairosvg` brings a program that makes other formats of it"
        raise UsageError(Diagnostic("E0422", message, help=help_))


def write_json(file: str, results: Mapping[str, Any]) -> None:
    put(file, json.dumps(results, indent=1) + "\n")


def progress(about: str) -> Callable[[str], None]:
    """A function that prints a progress line to standard error, with the seconds since this call."""
    began = time.monotonic()
    return lambda text: print(
        f"{about}: {text} ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True
    )
