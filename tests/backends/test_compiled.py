"""The compiled step: the number of forms and compilations, and the message if it cannot be compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec.backends import inductor, toolchain
from dsldec.backends.step import Step
from dsldec.backends.step_form import StepForm
from dsldec.lru import LRUCache

from ..toy import ToyDenoiser
from .uncompiled import pretend_to_compile

MASK = 6


def call(step: Step, rows: int = 2) -> torch.Tensor:
    logits = torch.randn(rows, 4, MASK + 1, generator=torch.Generator().manual_seed(0))
    return step(
        logits, torch.full((rows, 4), MASK), torch.ones(rows, 4, dtype=torch.bool), step.start(rows, 4)
    )[0]


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> list[StepForm]:
    """The forms that are compiled; the packages are the module itself."""
    return pretend_to_compile(monkeypatch)


def test_other_parameter_values_do_not_compile_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With real packages."""
    monkeypatch.setattr(inductor, "FORMS", LRUCache(inductor.MOST_FORMS))
    policy = dsldec.load("factor")
    written = [
        (call(policy.bind(budget=budget).compile("inductor", mask_id=MASK)) != MASK).sum().item()
        for budget in (0.1, 1.0, 50.0)
    ]
    assert written[0] < written[2]
    assert len(inductor.FORMS) == 1


DRAWN = """policy drawn(sure: prob = 0.8, share: prob = 0.5):
  window blocks(4)
  state met: int each = 0 per block
  set met = met + count(masked)
  commit chance(masked, share) and conf >= sure at least 1 by conf
"""


def test_nothing_but_shapes_compiles_again(forms: list[StepForm]) -> None:
    """Not other prompts, seeds, positions, states, parameters, or rows that are over."""
    policy, generator = dsldec.load(DRAWN), torch.Generator().manual_seed(0)
    written = set()
    for seed in range(6):
        step = policy.bind(sure=seed / 9, share=seed / 6).compile("inductor", mask_id=MASK)
        state = step.start(3, 4, generation_length=4 + seed)
        state |= {
            "key": torch.randint(2**62, (3,), generator=generator),
            "window_start": torch.tensor([0, 4, 4 * seed]),
        }
        canvas, editable = torch.full((3, 4), MASK), torch.rand(3, 4, generator=generator) < 0.8
        for _ in range(3):
            canvas, _, state, _ = step(
                torch.randn(3, 4, MASK + 1, generator=generator), canvas, editable, state
            )
        written.add(tuple(canvas.flatten().tolist()))
    assert len(written) == 6
    assert len(forms) == 1


def test_a_whole_decode_compiles_once(forms: list[StepForm]) -> None:
    policy = dsldec.load("freedave", drafts=3, block=8)
    for prompts, length in (
        ([[9, 17, 0], [25, 0], [3, 4, 5]], 20),
        ([[1], [2], [3], [4]], 16),
        ([[5]] * 4, 9),
    ):
        fast, slow = (
            dsldec.decode(ToyDenoiser(7, 1.0), prompts, policy, gen_length=length, backend=backend, batch=4)
            for backend in ("inductor", "eager")
        )
        assert [ids.tolist() for ids in fast.ids] == [ids.tolist() for ids in slow.ids]
    assert len(forms) == 1


def test_the_same_text_compiles_once_whoever_loads_it(forms: list[StepForm]) -> None:
    text = "policy {}(a: prob = 0.5):\n  # a comment\n  window all\n  commit masked and conf > a at least 1 by conf\n"
    for name, mask_id in (("one", 6), ("other", 6), ("one", 3)):
        call(dsldec.load(text.format(name)).compile("inductor", mask_id=mask_id))
    assert len(forms) == 1
    for changed in (text.replace("> a", ">= a"), text.replace("prob", "real")):
        call(dsldec.load(changed.format("one")).compile("inductor", mask_id=6))
    assert len(forms) == 3


def test_one_form_serves_a_row_and_another_all_larger_batches(forms: list[StepForm]) -> None:
    step = dsldec.load("threshold").compile("inductor", mask_id=MASK)
    for rows in (1, 2, 3, 17, 1):
        assert call(step, rows).shape == (rows, 4)
    assert [form.sizes.any_rows for form in forms] == [False, True]


def test_values_for_each_row_have_their_own_form(forms: list[StepForm]) -> None:
    policy = dsldec.load("threshold")
    results = {}
    for backend in ("eager", "inductor"):
        step = policy.compile(backend, mask_id=MASK)
        logits = torch.randn(3, 4, MASK + 1, generator=torch.Generator().manual_seed(1)) * 4
        params = dict(step.params) | {"confidence": torch.tensor([[0.0], [0.5], [1.0]])}
        canvas, editable = torch.full((3, 4), MASK), torch.ones(3, 4, dtype=torch.bool)
        results[backend] = step(logits, canvas, editable, step.start(3, 4), params)
    assert torch.equal(results["eager"].canvas, results["inductor"].canvas)
    assert [form.sizes.by_row for form in forms] == [{"confidence"}]


@pytest.mark.parametrize("wrong", ["a field", "a parameter", "a dtype", "a shape"])
def test_inputs_of_no_form_are_those_of_eager(wrong: str, forms: list[StepForm]) -> None:
    """A package checks nothing: inputs that are not those of a step never reach one."""
    step = dsldec.load("threshold").compile("inductor", mask_id=MASK)
    for backend in (step, dsldec.load("threshold").compile("eager", mask_id=MASK)):
        state, params = step.start(2, 4), dict(step.params)
        logits, canvas = torch.randn(2, 4, MASK + 1), torch.full((2, 4), MASK)
        if wrong == "a field":
            del state["window_start"]
        if wrong == "a parameter":
            del params["confidence"]
        if wrong == "a dtype":
            state["window_start"] = state["window_start"].int()
        if wrong == "a shape":
            canvas = canvas[:, :3]
        try:
            backend(logits, canvas, torch.ones(2, 4, dtype=torch.bool), state, params)
        except (KeyError, RuntimeError):
            assert wrong != "a dtype"
        else:
            assert wrong in ("a dtype", "a field")
    assert forms == []


def test_views_are_copied_for_a_package(forms: list[StepForm]) -> None:
    step = dsldec.load("static").compile("inductor", mask_id=MASK)
    logits, canvas = torch.randn(2, 9, MASK + 1)[:, 3:7], torch.full((2, 9), MASK)[:, 3:7]
    editable = torch.ones(4, 2, dtype=torch.bool).T
    assert (step(logits, canvas, editable, step.start(2, 4)).canvas != MASK).sum() == 2
    assert len(forms) == 1


FIRST_STEP = """
import sys, torch, dsldec
from dsldec.backends import step_cache
compile_ = step_cache._compiled
def counted(*given):
    print("compiles")
    return compile_(*given)
step_cache._compiled = counted
step = dsldec.load('static').compile('inductor', mask_id=6)
step(torch.zeros(1, 4, 7), torch.full((1, 4), 6), torch.ones(1, 4, dtype=torch.bool), step.start(1, 4))
print("torch._dynamo" in sys.modules)
"""


def run_first_step(folder: Path) -> list[str]:
    environment = os.environ | {"DSLDEC_STEPS": str(folder)}
    ran = subprocess.run([sys.executable, "-c", FIRST_STEP], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout.split()


@pytest.mark.slow
def test_the_next_process_starts_from_the_cache(tmp_path: Path) -> None:
    assert run_first_step(tmp_path) == ["compiles", "True"]
    assert run_first_step(tmp_path) == [
        "False"
    ]  # neither compiled nor traced: torch's compiler is not imported


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DSLDEC_STEPS", str(tmp_path))  # no package is there
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    with pytest.raises(dsldec.UsageError, match="needs a C\\+\\+ compiler"):
        dsldec.load("static").compile("inductor", mask_id=MASK)
    assert dsldec.load("static").compile("auto", mask_id=MASK).backend == "eager"


@pytest.mark.skipif(os.name != "posix", reason="a compiler made of a shell script")
def test_a_compiler_that_does_not_work_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    code = (
        "import torch, dsldec\n"
        "step = dsldec.load('static').compile('inductor', mask_id=6)\n"
        "try:\n"
        "    step(torch.zeros(1, 4, 7), torch.full((1, 4), 6), torch.ones(1, 4, dtype=torch.bool), step.start(1, 4))\n"
        "except dsldec.UsageError as error:\n"
        "    print(error.diagnostic.code)\n"
    )
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "DSLDEC_STEPS": str(tmp_path / "steps"),
    }
    environment.pop("CXX", None)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ran.stdout.strip() == "E0404", ran.stderr[-2000:]
