"""The graphs of the shipped policies for TensorRT: their operations can be converted, and engines can be
built.

The quick tests look for operations known not to convert; the slow ones ask Torch-TensorRT and TensorRT-RTX
(see `tensorrt_dryrun`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dsldec
from dsldec.backends import module_geometry
from dsldec.backends.numerics import EXACT
from dsldec.backends.tensorrt import draws

from ..conftest import Accepted
from ..shipped import CORE
from .tensorrt_dryrun import Report, Unavailable, run
from .tensorrt_dryrun.graphs import WITH_MODEL, graph

# The backend refuses the policies that draw at random.
GRAPHS = (*(name for name in CORE if not draws(dsldec.load(name).program)), WITH_MODEL)

# What TensorRT has no converter for, or one that cannot be meant: by the operation's name, without its
# overload.
NEVER = set(
    "all isin cumprod cummax cummin logcumsumexp searchsorted bucketize kthvalue median nanmedian mode scatter scatter_add index_put "
    "rand randn randint randperm bernoulli multinomial normal uniform __lshift__ __rshift__ bitwise_xor cond while_loop scan".split()
)
NOT_OF_BOOLS = set("add sub mul div maximum minimum neg abs".split())
MOST_SORTED = 3840


def refused(program: torch.export.ExportedProgram) -> list[str]:
    """The operations of a graph, decomposed, that must not be in an engine."""
    nodes = [node for node in program.run_decompositions().graph.nodes if node.op == "call_function"]
    return [f"{node.target}: {why}" for node in nodes if (why := _why_refused(node))]


def tensors(node: torch.fx.Node) -> list[Tensor]:
    """What a node gives, as far as these are tensors."""
    value = node.meta.get("val")
    return [
        each for each in (value if isinstance(value, tuple | list) else [value]) if isinstance(each, Tensor)
    ]


def _why_refused(node: torch.fx.Node) -> str:
    name, values = str(node.target).removeprefix("aten.").split(".")[0], tensors(node)
    inputs = [each for node in node.all_input_nodes for each in tensors(node)]
    if any(each.dtype == torch.float64 for each in (*values, *inputs)):
        return "float64"
    if name in NEVER or str(node.target) in ("aten.sort.stable", "aten.max.dim", "aten.min.dim"):
        return "no converter"
    if name in ("sort", "topk") and values[0].shape[-1] > MOST_SORTED:
        return "too long"
    if name in NOT_OF_BOOLS and all(each.dtype == torch.bool for each in inputs):
        return "truth values"
    return ""


@pytest.mark.parametrize("name", GRAPHS)
def test_a_step_has_no_operation_that_tensorrt_lacks(name: str) -> None:
    module, inputs = graph(name)
    assert refused(torch.export.export(module, inputs)) == []


def test_nor_has_the_step_of_a_long_window() -> None:
    module, inputs = graph("entropy_bounded", window=2 * module_geometry.LONGEST_PAIRED)
    assert refused(torch.export.export(module, inputs)) == []


@pytest.mark.parametrize(
    ("found", "module"),
    [
        ("aten.sort.stable: no converter", lambda x: torch.sort(x, stable=True)[1]),
        ("aten.max.dim: no converter", lambda x: x.max(1)),
        ("aten.cummax.default: no converter", lambda x: x.cummax(1)[0]),
        ("aten.mul.Tensor: truth values", lambda x: x.isfinite()),
        ("aten._to_copy.default: float64", lambda x: x.double().sum(1).float()),
        ("aten.topk.default: too long", lambda x: x.topk(4000)[0]),
    ],
)
def test_such_an_operation_would_be_found(found: str, module: Any) -> None:
    class Module(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return module(x)

    assert found in refused(torch.export.export(Module(), (torch.zeros(1, 5000),)))


def test_other_backends_keep_the_form_that_no_engine_takes() -> None:
    module, inputs = graph("entropy_bounded", form=EXACT)
    assert any(why.endswith("float64") for why in refused(torch.export.export(module, inputs)))


def reports(mode: str) -> Mapping[str, Report]:
    try:
        return run(mode, GRAPHS)
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module")
def dry_run() -> Mapping[str, Report]:
    return reports("dryrun")


@pytest.fixture(scope="module")
def builds() -> Mapping[str, Report]:
    return reports("build")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_torch_tensorrt_would_convert_every_operation(
    name: str, dry_run: Mapping[str, Report], accepted: Accepted
) -> None:
    report = dry_run[name]
    assert (report.unsupported, report.engines, report.supported) == ({}, 1, report.total)
    assert report.alike, "Torch-TensorRT's lowering changes what the step computes"
    assert report.kept, "what Torch-TensorRT compiled cannot be saved and loaded"
    accepted(f"tensorrt/{name}.txt", str(report))


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_tensorrt_builds_one_engine(name: str, builds: Mapping[str, Report]) -> None:
    """By the builder of TensorRT-RTX, on a CPU; nothing runs it."""
    assert len(builds[name].size) == 1
    assert builds[name].size[0] > 0
