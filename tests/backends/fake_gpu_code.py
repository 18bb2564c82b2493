"""The Triton code that Inductor writes for a step on an H100, without a GPU and without Triton.

By private interfaces of torch 2.11 to 2.13. The graph is made on a CPU with fake tensors and then moved to a
fake GPU; nothing is compiled or run. The kernel that reads the logits is one opaque operation here. Not here:
numbers of a real GPU (`tests/gpu`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._dynamo import device_interface
from torch._inductor import compile_fx, config, graph, scheduler
from torch._inductor.decomposition import select_decomp_table
from torch._subclasses import FakeTensorMode, fake_tensor
from torch.utils import _triton

import dsldec
from dsldec.backends.compiled import options
from dsldec.backends.module import StepModule
from dsldec.backends.step import Step, parameter_tensors, static_of
from dsldec.backends.vocabulary import WANTED, Statistics

VOCABULARY, MASK, EOS = 5003, 6, 3
GPU = torch.device("cuda", 0)


@torch.library.custom_op("dsldec_tests::read_vocabulary", mutates_args=())
def read_vocabulary(logits: Tensor) -> tuple[Tensor, Tensor]:
    raise NotImplementedError


@read_vocabulary.register_fake
def _(logits: Tensor) -> tuple[Tensor, Tensor]:
    of_positions = logits.shape[:2]
    return logits.new_empty(5, *of_positions), logits.new_empty(2, *of_positions, dtype=torch.int64)


def statistics(logits: Tensor, mask_id: int, wanted: Collection[str] = WANTED) -> Statistics:
    floats, ints = read_vocabulary(logits)
    best, others, spread, below, score = floats.unbind()
    ties, token = ints.unbind()
    has_token, has_spread, has_below = (name in wanted for name in WANTED)
    return Statistics(
        best,
        ties,
        others,
        token if has_token else None,
        score if has_token else None,
        spread if has_spread else None,
        below if has_below else None,
    )


class H100:
    name, gcnArchName, uuid = "NVIDIA H100", "", "0"  # noqa: N815
    major, minor, warp_size, multi_processor_count = 9, 0, 32, 132
    regs_per_multiprocessor, max_threads_per_multi_processor, max_threads_per_block = 65536, 2048, 1024
    total_memory, L2_cache_size = 80 * 2**30, 50 * 2**20
    shared_memory_per_block, shared_memory_per_block_optin = 49152, 232448
    shared_memory_per_multiprocessor = 233472


class Written(Exception):
    """The code is there."""


def patches(codes: list[str]) -> Iterator[Any]:
    """What makes Inductor believe in a GPU, and stop when its code is written."""

    def stop(lowering: Any) -> None:
        code, _ = lowering.codegen()
        codes.append(getattr(code, "value", code))
        raise Written

    constants: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H100(),
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
        "_lazy_init": None,
        "synchronize": None,
        "set_rng_state": None,
        "get_rng_state": torch.zeros(1, dtype=torch.uint8),
        "get_device_capability": (9, 0),
    }
    for name, value in constants.items():
        yield mock.patch.object(torch.cuda, name, lambda *given, value=value: value)
    of_interface = {
        **{name: constants[name] for name in ("is_available", "device_count", "current_device")},
        "get_device_properties": H100(),
        "get_compute_capability": 90,
        "is_triton_capable": True,
        "raise_if_triton_unavailable": None,
    }
    for name, value in of_interface.items():
        found = staticmethod(lambda *given, value=value: value)
        yield mock.patch.object(device_interface.CudaInterface, name, found, create=True)
    worker = device_interface.CudaInterface.Worker
    yield mock.patch.object(worker, "get_device_properties", staticmethod(lambda *given: H100()))
    yield mock.patch.object(fake_tensor, "init_gpu_context", return_value=None)
    yield mock.patch.object(graph.GraphLowering, "compile_to_module", stop)
    yield mock.patch.object(_triton, "triton_hash_with_backend", return_value="")
    yield mock.patch.object(scheduler, "has_triton", return_value=True, create=True)


def on_gpu(module: torch.fx.GraphModule, mode: FakeTensorMode) -> list[Any]:
    """Moves a graph to the fake GPU; the result: its inputs there."""

    class Renewed(torch.fx.Interpreter):
        def run_node(self, node: torch.fx.Node) -> Any:
            node.meta["val"] = super().run_node(node)
            return node.meta["val"]

    for node in module.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": GPU}
    given = [node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"]
    with mode:
        inputs = [torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=GPU) for x in given]
        Renewed(module).run(*inputs)
    return inputs


def exported(policy: dsldec.Policy, rows: int, length: int, mode: FakeTensorMode) -> torch.fx.GraphModule:
    program, static = policy.program, static_of(policy.program, policy.parameters)
    module = StepModule(program, MASK, EOS, static)
    module.readers = dict.fromkeys(module.readers, statistics)

    def fake(x: Tensor) -> Tensor:
        return torch.empty(x.shape, dtype=x.dtype)

    with mode:
        for name, x in list(module.named_buffers()):
            setattr(module, name, fake(x))
        canvas = torch.empty(rows, length, dtype=torch.int64)
        state = Step(program, "", 0, None, {}, module, static).start(rows, length, vocab_size=VOCABULARY)
        params = {name: fake(x) for name, x in parameter_tensors(program, policy.parameters).items()}
        given = (torch.empty(rows, length, VOCABULARY), canvas, canvas == 0, state, params)
    program_of_torch = torch.export.export(module, given, strict=False)
    return program_of_torch.run_decompositions(select_decomp_table()).graph_module  # type: ignore[no-any-return]


def code_for_gpu(name: str, rows: int = 1, longest: int = 256) -> str:
    """The code of a policy's step: for a window of its block, at most `longest` positions."""
    policy = dsldec.load(name)
    block = policy.parameters.get("block", 32)
    assert isinstance(block, int)
    mode, codes = FakeTensorMode(allow_non_fake_inputs=True), list[str]()
    module = exported(policy, rows, min(block, longest), mode)
    with ExitStack() as stack:
        for patch in patches(codes):
            stack.enter_context(patch)
        settings = options(policy.program) | {"fx_graph_cache": False, "force_disable_caches": True}
        stack.enter_context(config.patch(**settings))
        inputs = on_gpu(module, mode)
        try:
            with mode:
                compile_fx.compile_fx_inner(module, inputs)
        except Exception:  # Inductor wraps `Written`
            if not codes:
                raise
    (code,) = codes
    return code


def launches(code: str) -> tuple[int, int]:
    """The numbers of Triton kernels and of calls of libraries in one step, without the kernel that reads the
    logits.
    """
    body = code[code.index("def call") :]
    libraries = re.findall(r"torch\.ops\.(?!dsldec_tests)[\w.]+\(", body)
    return len(re.findall(r"^\s+\w+\.run\(", body, re.MULTILINE)), len(libraries)
