"""The backend `tensorrt`: the policies that it refuses, its cache of engines, and the same behaviour as other
backends except for building engines.

`FakeLibrary` stands for Torch-TensorRT: its engine is the exported program itself, run by torch. Not here:
the graphs in TensorRT (`test_tensorrt_graphs`).
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dsldec
from dsldec import backends
from dsldec.backends import engine_cache, module_geometry, tensorrt
from dsldec.backends.module import StepModule
from dsldec.backends.numerics import FOR_ENGINES
from dsldec.backends.step import Step, StepOutput
from dsldec.policy import Policy

from .policies import random_policy
from .tensorrt_dryrun.graphs import EOS, MASK, L, T, Transformer, V

B = 2
DRAWING = {
    "chance": "policy p():\n  window blocks(8)\n  commit chance(masked, 0.5) at least 1 by conf\n",
    "draw": "policy p():\n  window blocks(8)\n  draw gumbel(0.5)\n  commit top(masked, 1, by=conf)\n",
}


class FakeLibrary(ModuleType):
    """Torch-TensorRT, but for the engine; counts what it is asked for and fails with `failure` if there is
    one.
    """

    def __init__(self) -> None:
        super().__init__("torch_tensorrt")
        self.__spec__ = ModuleSpec("torch_tensorrt", None)
        self.__version__ = "2.13.0"
        self.dynamo = SimpleNamespace(compile=self._compile)
        self.built: list[tuple[torch.Size, ...]] = []
        self.loaded: list[str] = []
        self.failure: Exception | None = None

    def _compile(
        self, program: torch.export.ExportedProgram, *, arg_inputs: list[Tensor], **settings: Any
    ) -> nn.Module:
        assert settings.pop("timing_cache_path").endswith("timings.bin")
        assert settings == {
            "min_block_size": 1,
            "require_full_compilation": True,
            "device": torch.device("cpu"),
            "disable_tf32": True,
        }
        assert all(x.dtype != torch.float64 for x in values_of(program))
        if self.failure is not None:
            raise self.failure
        self.built.append(tuple(x.shape for x in arg_inputs))
        return program.module()

    def save(self, engine: nn.Module, path: str, *, output_format: str, arg_inputs: list[Tensor]) -> None:
        assert output_format == "exported_program"
        torch.export.save(torch.export.export(engine, tuple(arg_inputs)), path)

    def load(self, path: str) -> torch.export.ExportedProgram:
        self.loaded.append(path)
        return torch.export.load(path)


def values_of(program: torch.export.ExportedProgram) -> list[Tensor]:
    return [value for node in program.graph.nodes if isinstance(value := node.meta.get("val"), Tensor)]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLibrary:
    """A machine with Torch-TensorRT and a GPU, which is the CPU, and no engines yet."""
    fake, bindings = FakeLibrary(), ModuleType("tensorrt")
    bindings.__version__ = "11.0.0"  # type: ignore[attr-defined]
    bindings.__spec__ = ModuleSpec("tensorrt", None)  # torch asks for it
    monkeypatch.setitem(sys.modules, "torch_tensorrt", fake)
    monkeypatch.setitem(sys.modules, "tensorrt", bindings)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    pretend_gpu(monkeypatch, "one kind")
    return fake


def pretend_gpu(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    properties = SimpleNamespace(name=name, major=9, minor=0, multi_processor_count=132, total_memory=1)
    monkeypatch.setattr(tensorrt, "gpu", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)


def compiled(policy: Policy) -> Step:
    return policy.compile("tensorrt", mask_id=MASK, eos_id=EOS)


def logits(seed: int, rows: int = B, length: int = 8) -> Tensor:
    return torch.randn(rows, length, V, generator=torch.Generator().manual_seed(seed)) * 3


def walk(step: Step, steps: int = 3, rows: int = B, length: int = 8) -> Iterator[StepOutput]:
    """Some steps one after the other on random logits."""
    canvas, editable = torch.full((rows, length), MASK), torch.ones(rows, length, dtype=torch.bool)
    state = step.start(rows, length, vocab_size=V)
    for seed in range(steps):
        output = step(logits(seed, rows, length), canvas, editable, state)
        yield output
        canvas, state = output.canvas, output.state


def assert_alike(one: StepOutput, other: StepOutput) -> None:
    """The same decisions; reals may differ in the last bits."""
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    torch.testing.assert_close(one.events.by_name(), other.events.by_name(), rtol=0, atol=0, equal_nan=True)
    assert one[2].keys() == other[2].keys()
    for name, value in one[2].items():
        values = [value, other[2][name]]
        if name.startswith(
            "distribution_before"
        ):  # the logarithm of a small rest is known to fewer places than the rest
            values = [logarithms.clamp(max=0).exp() for logarithms in values]
        torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_it_declines_where_it_is_not_installed() -> None:
    if importlib.util.find_spec("torch_tensorrt") is not None:
        pytest.skip("Torch-TensorRT is installed")
    with pytest.raises(dsldec.UsageError) as error:
        compiled(dsldec.load("threshold"))
    assert error.value.diagnostic.code == "E0404"
    assert "\n" not in error.value.diagnostic.message
    assert (
        '`pip install "dsldec[tensorrt]" --extra-index-url https://pypi.nvidia.com`'
        in error.value.diagnostic.help
    )
    assert '`backend="inductor"`' in error.value.diagnostic.help


def test_the_command_line_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    from dsldec.cli import main

    if importlib.util.find_spec("torch_tensorrt") is not None:
        pytest.skip("Torch-TensorRT is installed")
    assert main(["run", "--backend", "tensorrt", "--gen-length", "8", "What is 1+1?"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error[E0404]: the backend `tensorrt` needs Torch-TensorRT and an NVIDIA GPU")


def test_it_declines_without_a_gpu(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpu", lambda: None)
    with pytest.raises(dsldec.UsageError, match="needs an NVIDIA GPU, and torch finds none"):
        compiled(dsldec.load("threshold"))


def test_it_declines_where_tensorrt_itself_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "torch_tensorrt"
    package.mkdir()
    (package / "__init__.py").write_text("print('noise')\nraise Exception('no libnvinfer.so.11\\nmore')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch_tensorrt", raising=False)
    pretend_gpu(monkeypatch, "a GPU")
    assert (
        dsldec.load("threshold").compile("eager", mask_id=MASK).backend == "eager"
    )  # nothing is imported that was not asked for
    with pytest.raises(dsldec.UsageError) as error:
        compiled(dsldec.load("threshold"))
    assert (
        error.value.diagnostic.message
        == "the backend `tensorrt` cannot load Torch-TensorRT: Exception: no libnvinfer.so.11"
    )
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("text", DRAWING.values(), ids=DRAWING)
def test_it_declines_what_draws_at_random(text: str, library: FakeLibrary) -> None:
    with pytest.raises(dsldec.UsageError, match="the policy `p` draws at random"):
        compiled(dsldec.load(text))


def test_it_declines_very_long_windows(library: FakeLibrary) -> None:
    with pytest.raises(dsldec.UsageError, match="windows of up to 1024 positions, and this one has 1025"):
        next(walk(compiled(dsldec.load("threshold")), rows=1, length=1025))


def test_auto_never_chooses_it(library: FakeLibrary) -> None:
    assert "tensorrt" not in {backends.choose(amount)[0] for amount in (0, 10**9, 10**15)}


@pytest.mark.parametrize("name", ["static", "threshold", "entropy_bounded", "klass"])
def test_a_step_decides_as_eager_does(name: str, library: FakeLibrary) -> None:
    policy = dsldec.load(name)
    steps = compiled(policy), policy.compile("eager", mask_id=MASK, eos_id=EOS)
    for one, other in zip(*(walk(step) for step in steps), strict=True):
        assert_alike(one, other)
    assert len(library.built) == 1


def test_other_parameter_values_build_nothing(library: FakeLibrary) -> None:
    policy = dsldec.load("factor")
    written = [
        (next(walk(compiled(policy.bind(budget=budget))))[0] != MASK).sum().item()
        for budget in (0.1, 1.0, 50.0)
    ]
    assert written[0] < written[2]
    assert len(library.built) == 1


def test_each_shape_has_an_engine(library: FakeLibrary) -> None:
    step = compiled(dsldec.load("threshold"))
    for rows in (1, 2, 1):
        next(walk(step, rows=rows))
    assert [shapes[0] for shapes in library.built] == [(1, 8, V), (2, 8, V)]


def test_an_engine_is_kept(library: FakeLibrary) -> None:
    first = list(walk(compiled(dsldec.load("static"))))
    again = list(walk(compiled(dsldec.load("static"))))
    assert len(library.built) == len(library.loaded) == 1
    for one, other in zip(first, again, strict=True):
        assert_alike(one, other)


def test_what_an_engine_depends_on_names_it(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(policy: str = "dico", length: int = 8, mask: int = MASK, **parameters: int) -> str:
        step = dsldec.load(policy, **parameters).compile("tensorrt", mask_id=mask, eos_id=EOS)
        assert isinstance(step.function, tensorrt.Engines)
        assert step.function.made_of is not None
        return engine_cache.key(step.function.made_of, {"first": logits(0, B, length)})

    assert name() == name()
    assert name("threshold", confidence=0) == name("threshold", confidence=1)
    names = [
        name(),
        name("threshold"),
        name("static"),
        name(length=9),
        name(mask=MASK + 1),
        name(seeds=2),
        name(seeds=3),
    ]
    library.__version__ = "2.13.1"
    names.append(name())
    pretend_gpu(monkeypatch, "another kind")
    names.append(name())
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    names.append(name())
    assert len(set(names)) == len(names)


def test_a_damaged_file_costs_a_build(
    library: FakeLibrary, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dsldec")
    before = next(walk(compiled(dsldec.load("threshold"))))
    (file,) = tmp_path.rglob("*.ep")
    file.write_bytes(file.read_bytes()[:100])
    assert_alike(before, next(walk(compiled(dsldec.load("threshold")))))
    assert (len(library.built), len(library.loaded)) == (2, 1)
    assert "built again" in caplog.text
    next(walk(compiled(dsldec.load("threshold"))))
    assert (len(library.built), len(library.loaded)) == (2, 2)


def test_an_engine_that_does_not_run_costs_a_build(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    next(walk(compiled(dsldec.load("threshold"))))

    def broken(*inputs: Tensor) -> Tensor:
        raise RuntimeError("made for another driver")

    monkeypatch.setattr(library, "load", lambda path: SimpleNamespace(module=lambda: broken))
    next(walk(compiled(dsldec.load("threshold"))))
    assert len(library.built) == 2


def test_no_place_to_keep_engines_fails_nothing(
    library: FakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert engine_cache.folder() is None
    next(walk(compiled(dsldec.load("threshold"))))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(library, "save", lambda *_, **__: (_ for _ in ()).throw(OSError("the disk is full")))
    next(walk(compiled(dsldec.load("threshold"))))
    assert len(library.built) == 2
    assert list(tmp_path.rglob("*.ep")) == []


def test_a_failing_build_is_said(library: FakeLibrary) -> None:
    library.failure = RuntimeError("Error Code 9: out of memory\nin a file of theirs")
    with pytest.raises(dsldec.UsageError) as error:
        next(walk(compiled(dsldec.load("threshold"))))
    said = "the backend `tensorrt` could not build an engine for the step: RuntimeError: Error Code 9: out of memory"
    assert (error.value.diagnostic.code, error.value.diagnostic.message) == ("E0404", said)
    assert '`backend="inductor"`' in error.value.diagnostic.help


def test_a_model_and_a_step_in_one_engine(library: FakeLibrary) -> None:
    policy, denoiser = dsldec.load("threshold", confidence=0.01), Transformer().eval()
    both = tensorrt.with_model(denoiser, compiled(policy))
    step = policy.compile("eager", mask_id=MASK, eos_id=EOS)
    ids = torch.randint(0, V, (B, L), generator=torch.Generator().manual_seed(0))
    columns = torch.stack([torch.arange(8, 40), torch.arange(16, 48)])
    ids[:, 20:] = MASK
    editable, state = torch.ones(B, T, dtype=torch.bool), step.start(B, T, vocab_size=V)
    with torch.no_grad():
        seen = torch.stack([denoiser(ids)[row, columns[row]] for row in range(B)])
    expected = step(seen, ids.gather(1, columns), editable, state)
    assert (expected[0] != ids.gather(1, columns)).any()
    assert_alike(both(ids, columns, editable, state, step.params), expected)
    assert len(library.built) == 1
    with pytest.raises(dsldec.UsageError, match="not of `eager`"):
        tensorrt.with_model(denoiser, step)


@pytest.mark.parametrize("sorts", [False, True], ids=["in pairs", "sorted"])
def test_the_form_for_engines_decides_alike(sorts: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against eager steps that compare in pairs, and that sort and scan as they do in long windows."""
    if sorts:
        monkeypatch.setattr(module_geometry, "LONGEST_PAIRED_EAGER", 0)
    for seed in range(15):
        policy, _ = dsldec.check(random_policy(seed)[0])
        assert policy is not None
        step, static = (
            policy.compile("eager", mask_id=MASK, eos_id=EOS),
            {name: policy.parameters[name] for name in policy.facts.static},
        )
        function = StepModule(policy.program, MASK, EOS, static, FOR_ENGINES)
        other = Step(step.program, "eager", MASK, EOS, step.params, function, step.static)
        for left, right in zip(walk(step, 2), walk(other, 2), strict=True):
            assert_alike(left, right)
