"""Does TensorRT-RTX build and run an engine of a step, equal to `eager`?

`python -m tests.gpu.tensorrt_rtx [--device cuda]`, where its package was carried to (`carried`); without it,
onnxruntime runs the same steps on the CPU. The step is written as ONNX, and onnxruntime runs it with
TensorRT-RTX as its provider. This needs the packages onnx, onnxscript and onnxruntime. H100 and H200 are not
among the GPUs that TensorRT-RTX names; if it refuses, its message is the result. Not here: the backend
`tensorrt` (`dsldec.backends.tensorrt`), which needs TensorRT itself.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import dsldec
from dsldec.backends.module import StepModule
from dsldec.backends.numerics import FOR_ENGINES
from dsldec.backends.tensorrt import Flat

from .carried import THERE, join
from .denoisers import normal_logits
from .results import Part, Result, run
from .sizes import sizes_of

PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
POLICIES = ("static", "threshold")
OPSET = 20


def exported(name: str, logits: Tensor, file: Path) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Write a step as ONNX; returns its inputs by name, and its results by torch, all on a CPU."""
    rows, positions, vocabulary = logits.shape
    policy = dsldec.load(name)
    step = policy.compile("eager", mask_id=vocabulary - 1, eos_id=vocabulary - 2)
    state, params = step.start(rows, positions, logits.device, vocab_size=vocabulary), step.params
    module = StepModule(policy.program, vocabulary - 1, vocabulary - 2, step.static, FOR_ENGINES)
    flat = Flat(module, list(state), list(params)).eval()
    canvas = torch.full((rows, positions), vocabulary - 1)
    inputs = (logits, canvas, torch.ones_like(canvas, dtype=torch.bool), *state.values(), *params.values())
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad():
        expected = list(flat(*inputs))
        program = torch.onnx.export(flat, inputs, dynamo=True, opset_version=OPSET, verbose=False)
    program.save(str(file))
    names = [one.name for one in program.model.graph.inputs]
    return dict(zip(names, inputs, strict=True)), expected


@cache
def register(name: str, library: str) -> None:
    importlib.import_module("onnxruntime").register_execution_provider_library(name, library)


def session(file: Path, site: Path | None) -> Any:
    """An onnxruntime session: with TensorRT-RTX alone, or on the CPU without its package."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    if site is None:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    sys.path.insert(0, str(site))
    package = importlib.import_module(PACKAGE)
    name = package.get_ep_name()
    register(name, package.get_library_path())
    devices = [one for one in onnxruntime.get_ep_devices() if one.ep_name == name]
    if not devices:
        raise RuntimeError("TensorRT-RTX finds no GPU that it supports")
    options.add_provider_for_devices(devices[:1], {})
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # one engine or none
    return onnxruntime.InferenceSession(str(file), options)


def differing(results: Sequence[Any], expected: Sequence[Tensor]) -> list[int]:
    """Which results differ. Floats may differ in the last bits."""
    return [
        number
        for number, (one, other) in enumerate(zip(results, expected, strict=True))
        if not torch.allclose(torch.from_numpy(one), other, rtol=1e-5, atol=0, equal_nan=True)
    ]


joined = cache(join)


def compared(name: str, device: torch.device, folder: Path | None, result: Result) -> None:
    """Add to the result whether an engine of a step gives what torch gives. `folder`: of the parts of the
    package.
    """
    site = None if folder is None else joined(folder)
    sizes = sizes_of(device)
    rows, positions, vocabulary = 1, sizes.window, sizes.vocabulary
    logits = normal_logits(rows, positions, vocabulary, torch.float32, torch.device("cpu"))
    where = "onnxruntime on the CPU" if site is None else "TensorRT-RTX"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{name}.onnx"
        inputs, expected = exported(name, logits, file)
        began = time.perf_counter()
        try:
            engine = session(file, site)
        except Exception as error:  # of a library that may not know this GPU
            if site is None:
                raise
            first = (str(error).strip().splitlines() or [""])[0]
            result.lines.append(f"{name}: TensorRT-RTX builds no engine here: {first[:300]}")
            return
        built = time.perf_counter() - began
        given = {key: value.numpy() for key, value in inputs.items()}
        found = engine.run(None, given)
        began = time.perf_counter()
        for _ in range(5):
            engine.run(None, given)
        seconds = (time.perf_counter() - began) / 5
    wrong = differing(found, expected)
    line = (
        f"{name}, {where}: built in {built:.1f} s, {seconds * 1e3:.2f} ms a call with copies of the logits; "
    )
    if wrong:
        result.fail(line + f"results {wrong} of {len(expected)} differ from torch's")
    else:
        result.lines.append(line + f"all {len(expected)} results are equal to torch's")


def parts(arguments: list[str]) -> Iterator[Part]:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--parts", type=Path, default=THERE)
    options = parser.parse_args(arguments)
    device, folder = torch.device(options.device), options.parts
    # First on the CPU: what differs there differs because of the export.
    for name in POLICIES:
        yield Part(f"{name} on the CPU", partial(compared, name, device, None), 20)
    if any(folder.glob("part-*")):
        for name in POLICIES:
            yield Part(f"{name} by TensorRT-RTX", partial(compared, name, device, folder), 20)


if __name__ == "__main__":
    raise SystemExit(run(parts))
