"""Runs Torch-TensorRT on a machine without a GPU and without TensorRT: which operations it converts, and
whether engines can be built.

`dryrun` runs the released package's lowering, its registry of converters and its partitioner. TensorRT's
Python bindings need three libraries of NVIDIA's, which are replaced by empty ones (`nvinfer.c`): importing
works, building does not. `build` goes on to the converters and the builder of TensorRT-RTX, whose libraries
come with a package of onnxruntime's: it makes engines on a CPU, for a GPU that is only said to be there. No
engine is ever run.

The packages are installed once, without what they depend on, into a folder of the user's caches; torch is the
one of the tests. Each run is a process of its own (`report`), told by `GPU`, an H100's properties, that there
is one. Not here: what is asserted.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

TORCH = "2.13"  # the release of Torch-TensorRT below works with this one
COMMON = ("torch-tensorrt==2.13.0", "dllist==2.0.0", "psutil>=7,<8")
DRYRUN = (*COMMON, "tensorrt-cu13-bindings==11.0.0.114")
BUILD = (*COMMON, "tensorrt-rtx-cu13-bindings==1.7.1.116", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")
STUBS = {
    "NVINFER": "libnvinfer.so.11",
    "PLUGIN": "libnvinfer_plugin.so.11",
    "PARSER": "libnvonnxparser.so.11",
}

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class Unavailable(Exception):
    """The run is not possible on this machine; the message says why, as the reason of a skipped test."""


@dataclass(frozen=True)
class Report:
    """Of one graph: `operations` by name, how many of them are `supported`, `unsupported` ones by name,
    `engines`.

    Of a dry run: whether torch gets the same from what is left of the graph before it would be converted
    (`alike`), and from a file of it (`kept`). Of a build: `layers` of each engine, and its `size` in bytes.
    """

    operations: dict[str, int]
    supported: int
    total: int
    unsupported: dict[str, int]
    engines: int
    alike: bool
    kept: bool
    layers: list[int]
    size: list[int]

    def __str__(self) -> str:
        head = f"{self.supported} of {self.total} operations supported, {self.engines} engine{'s' * (self.engines != 1)}"
        return "\n".join([head, *(f"{name} {count}" for name, count in sorted(self.operations.items())), ""])


def run(mode: str, graphs: Sequence[str]) -> dict[str, Report]:
    """Reports of graphs, by name (see `report.graph`); `mode` is `dryrun` or `build`. Raises `Unavailable`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["LD_LIBRARY_PATH"], site = _installed(mode)
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{site}"
    command = [sys.executable, "-m", "tests.backends.tensorrt_dryrun.report", mode, *graphs]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    lines = [line.removeprefix("REPORT ") for line in ran.stdout.splitlines() if line.startswith("REPORT ")]
    assert ran.returncode == 0, f"{ran.stdout[-1000:]}\n{ran.stderr[-3000:]}"
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return {one.pop("name"): Report(**one) for one in found}


def _installed(mode: str) -> tuple[str, Path]:
    """Where the libraries and the packages are."""
    if not torch.__version__.startswith(f"{TORCH}."):
        raise Unavailable(
            f"the dry run needs torch {TORCH}, which Torch-TensorRT {TORCH} works with, and this is {torch.__version__}"
        )
    if sys.platform != "linux":
        raise Unavailable("the packages are those for Linux")
    folder = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dsldec" / f"tests-tensorrt-{mode}"
    )
    site, libraries = folder / "site", folder / "lib"
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        libraries.mkdir(parents=True)
        _install(DRYRUN if mode == "dryrun" else BUILD, site)
        # What of Torch-TensorRT is C++ needs CUDA to be loaded; converters and partitioner are Python.
        shutil.rmtree(site / "torch_tensorrt" / "lib", ignore_errors=True)
        if mode == "dryrun":
            _compile_stubs(libraries)
        else:
            _link(site / "onnxruntime_ep_nv_tensorrt_rtx", libraries)
        (folder / "done").touch()
    return str(libraries), site


def _install(packages: Sequence[str], site: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise Unavailable("this Python has no pip to install Torch-TensorRT with")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--retries",
        "1",
        "--timeout",
        "10",
        "--target",
        str(site),
    ]
    ran = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Unavailable(
            f"Torch-TensorRT cannot be installed here: {(ran.stderr.strip().splitlines() or ['no reason given'])[-1]}"
        )


def _compile_stubs(libraries: Path) -> None:
    compiler = shutil.which(os.environ.get("CC") or "gcc")
    if compiler is None:
        raise Unavailable("there is no C compiler to make NVIDIA's libraries up with")
    for part, name in STUBS.items():
        subprocess.run(
            [compiler, "-shared", "-fPIC", f"-D{part}", "-o", libraries / name, HERE / "nvinfer.c"],
            check=True,
        )


def _link(package: Path, libraries: Path) -> None:
    """The package's libraries under the names that the bindings ask for, `libx.so.1` for `libx.so.1.7.1`."""
    for file in package.glob("*.so.*"):
        name, version = file.name.split(".so.")
        (libraries / f"{name}.so.{version.split('.')[0]}").symlink_to(file)
