"""What runs in a process of its own: pretends that there is a GPU, gives graphs to Torch-TensorRT and prints
what it says of them.

    python -m tests.backends.tensorrt_dryrun.report dryrun|build GRAPH...

One line `REPORT {...}` a graph, a JSON object of what `Report` holds. Not here: where the packages come from
(the package itself).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import operator
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from .graphs import graph

GPU = SimpleNamespace(
    name="NVIDIA H100",
    major=9,
    minor=0,
    total_memory=80 << 30,
    multi_processor_count=132,
    is_integrated=False,
)


def pretend() -> None:
    """Torch's CPU build answers what Torch-TensorRT asks of a GPU while it is imported and while it compiles."""
    answers: dict[str, Any] = {
        "current_device": lambda: 0,
        "get_device_capability": lambda *_: (GPU.major, GPU.minor),
        "get_device_properties": lambda *_: GPU,
        "mem_get_info": lambda *_: (GPU.total_memory, GPU.total_memory),
        "empty_cache": lambda: None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    torch.version.cuda = torch.version.cuda or "13.0"
    # Base classes that only a build with CUDA has.
    for name in ("_CUDAGraph", "_CudaDeviceProperties", "_CudaEventBase", "_CudaStreamBase"):
        if not hasattr(torch._C, name):
            setattr(torch._C, name, type(name, (), {}))


def name_bindings(mode: str) -> None:
    """The bindings under the name that Torch-TensorRT knows; which it takes, it decides by the package it
    came in itself.
    """
    if mode == "build":
        importlib.metadata.packages_distributions = lambda: {"torch_tensorrt": ["torch-tensorrt-rtx"]}
        sys.modules["tensorrt_rtx"] = importlib.import_module("tensorrt_rtx_bindings")
    else:
        sys.modules["tensorrt"] = importlib.import_module("tensorrt_bindings")


class Watched:
    """What the compiler notes of a graph; with `building`, its engines are converted and built, and only then
    left away.
    """

    def __init__(self, compiler: Any, building: bool) -> None:
        self.noted: Any = None
        self.layers: list[int] = []
        self.size: list[int] = []
        compiler.dryrun_stats_display = lambda noted, _: setattr(self, "noted", noted)
        if building:
            compiler.convert_module = self._build

    def _build(self, module: Any, inputs: Any, settings: Any, **_: Any) -> torch.nn.Module:
        conversion = importlib.import_module("torch_tensorrt.dynamo.conversion._conversion")
        types = conversion.infer_module_output_dtypes(module)
        interpreter = conversion.TRTInterpreter(
            module, inputs, output_dtypes=types, compilation_settings=settings
        )
        interpreter._construct_trt_network_def()
        network, builder = interpreter.ctx.net, interpreter.builder
        engine = builder.build_serialized_network(network, builder.create_builder_config())
        assert engine is not None, "TensorRT-RTX built no engine"
        self.layers.append(network.num_layers)
        self.size.append(engine.nbytes)
        return NotRun()


class NotRun(torch.nn.Module):
    """Stands where an engine would."""

    def set_output_tensors_as_unowned(self, _: bool) -> None: ...


def operations(module: torch.fx.GraphModule) -> Counter[str]:
    """The operations of a graph and of the graphs inside it, by name."""
    parts = [part for part in module.modules() if isinstance(part, torch.fx.GraphModule)]
    nodes = [
        node
        for part in parts
        for node in part.graph.nodes
        if node.op == "call_function" and node.target is not operator.getitem
    ]
    return Counter(str(node.target) for node in nodes)


def alike(left: Sequence[torch.Tensor], right: Sequence[torch.Tensor]) -> bool:
    """To the last bits of reals: lowering writes some functions out."""
    return all(
        torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True) for a, b in zip(left, right, strict=True)
    )


def kept(compiled: torch.nn.Module, inputs: Sequence[torch.Tensor], library: Any) -> bool:
    """Whether a file that the backend writes can be read back and run."""
    cache = importlib.import_module("dsldec.backends.engine_cache")
    with tempfile.TemporaryDirectory() as folder:
        cache.folder = lambda: Path(folder)
        cache.save("engine", compiled, inputs, library)
        loaded = cache.load("engine", inputs, library)
        return loaded is not None and alike(compiled(*inputs), loaded(*inputs))


def main(mode: str, names: list[str]) -> None:
    pretend()
    name_bindings(mode)
    library = importlib.import_module("torch_tensorrt")
    library.logging.set_level(40)
    compiler = importlib.import_module("torch_tensorrt.dynamo._compiler")
    tensorrt = importlib.import_module("dsldec.backends.tensorrt")
    if mode == "dryrun":
        # Pieces that are left to torch are moved to the GPU; a dry run leaves them where they are.
        compiler.to_torch_device = lambda _: torch.device("cpu")
    for name in names:
        watched = Watched(compiler, mode == "build")
        module, inputs = graph(name)
        with torch.no_grad(), tempfile.TemporaryDirectory() as timings:
            program = torch.export.export(module, inputs)
            of_mode: dict[str, Any] = (
                {"dryrun": True, "require_full_compilation": False} if mode == "dryrun" else {}
            )
            compiled = tensorrt.build(library, program, inputs, timings, device="cuda:0", **of_mode)
        noted = watched.noted
        report = {
            "name": name,
            "operations": operations(compiled),
            "supported": noted.supported_ops_in_graph,
            "total": noted.total_ops_in_graph,
            "unsupported": noted.unsupported_ops,
            "engines": noted.tensorrt_graph_count,
            "alike": mode == "dryrun" and alike(module(*inputs), compiled(*inputs)),
            "kept": mode == "dryrun" and kept(compiled, inputs, library),
            "layers": watched.layers,
            "size": watched.size,
        }
        print("REPORT", json.dumps(report), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
