"""Are the checks for a GPU themselves right? They run here on a CPU, and on fake tensors."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec

from . import __main__ as gpu
from . import fakes, kernel, steps
from .denoisers import MASK, VOCABULARY, HalvesDenoiser
from .results import Result, read, written


@pytest.mark.parametrize("name", ["static", "klass", "dico"])
def test_steps_and_loops_run_on_fake_tensors_of_a_gpu(name: str) -> None:
    policy = dsldec.load(name)
    fakes.step_is_whole(policy)
    fakes.loop_is_whole(policy, None)
    fakes.loop_is_whole(policy, 3)


@pytest.mark.slow
def test_every_policy_runs_on_fake_tensors_of_a_gpu() -> None:
    assert fakes.check([]).passed


def logits_of_device(ids: Tensor) -> Tensor:
    return torch.zeros(*ids.shape, fakes.VOCABULARY, device=fakes.DEVICE)


def test_a_tensor_on_another_device_and_a_value_that_is_read_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = dsldec.load("static")
    for wrong in (
        lambda self, ids: logits_of_device(ids) + torch.ones(fakes.VOCABULARY),
        lambda self, ids: logits_of_device(ids) + logits_of_device(ids).sum().item(),
    ):
        monkeypatch.setattr(fakes.FakeDenoiser, "__call__", wrong)
        assert fakes.problem_of(fakes.loop_is_whole, policy, None)
    monkeypatch.setattr(fakes.FakeDenoiser, "__call__", lambda self, ids: logits_of_device(ids))
    assert fakes.problem_of(fakes.loop_is_whole, policy, None) is None
    monkeypatch.setattr(fakes.NeverHeard, "now", lambda self, flags: bool(flags.any()))
    assert fakes.problem_of(fakes.loop_is_whole, policy, None)


def test_the_logits_are_exact_and_give_every_probability() -> None:
    ids = torch.full((2, 200), MASK)
    ids[1, :7] = 3
    logits = HalvesDenoiser(0)(ids)
    assert logits.shape == (2, 200, VOCABULARY)
    likely = (logits == 1).sum(2)
    assert set(likely.flatten().tolist()) == {1, 2, 4}
    assert not torch.equal(logits[0], logits[1])
    assert not (logits[:, :, MASK - 1 :] == 1).any()


def test_backends_are_compared_with_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    right = steps.decoded

    def wrong(name: str, backend: str, *how: Any) -> Any:
        found, seconds = right(name, "eager", *how)
        if backend == "wrong":
            found.ids[2][-1] += 1
        return found, seconds

    monkeypatch.setattr(steps, "decoded", wrong)
    monkeypatch.setattr(steps, "SEEDS", range(1))
    result = steps.check(["static", "--device", "cpu", "--backends", "eager,wrong"])
    assert not result.passed
    assert not any("static, eager" in line for line in result.lines)
    assert "static, wrong, seed 0, lookahead None: ids differ" in result.lines


def test_errors_are_relative_and_a_missing_number_is_an_infinite_one() -> None:
    nan, inf = float("nan"), float("inf")
    assert kernel.error_of(torch.tensor([1.0, nan, inf]), torch.tensor([1.0, nan, inf])) == 0.0
    assert kernel.error_of(torch.tensor([3.0]), torch.tensor([2.0])) == 0.5
    assert kernel.error_of(torch.tensor([nan]), torch.tensor([2.0])) == inf
    assert kernel.error_of(torch.tensor([2.0]), torch.tensor([inf])) == inf


def test_a_result_is_read_back_from_all_that_a_check_printed() -> None:
    result = Result(False, ["a line", "result: no"], {"forwards": 3})
    assert read(f"noise\n{written(Result(True))}\n{written(result)}\nmore noise") == result
    assert read("noise") is None


def outcome(code: str, limit: float = 60.0, left: float = 60.0) -> gpu.Outcome:
    return gpu.outcome_of(gpu.Check("it", ("timeit", "-n1", "-r1", code), limit), time.monotonic() + left)


def test_a_check_that_fails_crashes_or_takes_too_long_is_told() -> None:
    assert outcome("pass").state == "passed"
    assert outcome("raise SystemExit(3)").state == "failed"
    assert outcome("import os; os.kill(os.getpid(), 11)").state == "failed"
    # Also what it has started goes, and is not waited for.
    child = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    began = time.monotonic()
    assert outcome(child, left=gpu.LEAST_SECONDS + 0.5).state == "stopped"
    assert time.monotonic() - began < 30
    assert outcome("pass", left=1.0).state == "left out"
    said = outcome(f"print({written(Result(False, ['wrong']))!r})")
    assert (said.state, said.lines[0]) == ("failed", "wrong")


def test_where_lark_is_missing_its_wheel_is_used_or_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(gpu, "ROOT", tmp_path)
    assert "pip download --no-deps -d wheels lark" in (gpu.carry_lark() or "")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "lark-1.3.1-py3-none-any.whl").touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert gpu.carry_lark() is None
    assert sys.path[0].endswith("lark-1.3.1-py3-none-any.whl")


def test_without_a_gpu_it_says_so_and_ends_with_a_table_and_json() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    command = [sys.executable, "-m", "tests.gpu", "--only", "none of them"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=gpu.ROOT)
    assert ran.returncode == 1  # nothing ran
    assert ran.stdout.startswith("torch finds no CUDA GPU on this machine")
    *_, last = ran.stdout.strip().splitlines()
    assert json.loads(last)["machine"]["gpu"] is None


def test_the_checks_of_a_gpu_name_modules_and_options_that_exist(tmp_path: Path) -> None:
    checks = gpu.checks_of_gpu("cuda", dsldec.shipped_policies(), tmp_path)
    modules = {check.command[0] for check in checks}
    assert modules == {"tests.gpu.kernel", "tests.gpu.steps", "tests.gpu.waits", "dsldec"}
    assert all(importlib.util.find_spec(module) for module in modules)
    for check in checks:
        if check.command[0] == "dsldec" and not torch.cuda.is_available():
            ran = subprocess.run([sys.executable, "-m", *check.command], capture_output=True, text=True)
            assert "needs a GPU that torch can use, and finds none" in ran.stderr, ran.stderr


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.slow
def test_the_kernel_is_compared_by_tritons_interpreter() -> None:
    command = [sys.executable, "-m", "tests.gpu.kernel", "--device", "cpu"]
    ran = subprocess.run(
        command, capture_output=True, text=True, cwd=gpu.ROOT, env=os.environ | {"TRITON_INTERPRET": "1"}
    )
    if "wrap_triton only works" in ran.stderr:
        pytest.skip("this torch does not run a kernel by triton's interpreter")
    assert (result := read(ran.stdout)) is not None, ran.stderr[-2000:]
    assert result.passed, result.lines
