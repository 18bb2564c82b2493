"""Are the checks for a GPU themselves right? They run here on a CPU, and on fake tensors."""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from benchmarks import gpu as goals
from dsldec.backends.step import Step

from ..shipped import CORE
from . import __main__ as gpu
from . import (
    bandwidth,
    carried,
    device,
    fakes,
    kernel,
    launches,
    plan,
    process,
    results,
    share,
    steps,
    throughput,
    waits,
)
from .denoisers import MASK, VOCABULARY, HalvesDenoiser
from .results import Part, Result, begun, read, written
from .sizes import TINY

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["static", "klass", "dico"])
def test_steps_and_loops_run_on_fake_tensors_of_a_gpu(name: str) -> None:
    policy = dsldec.load(name)
    fakes.step_is_whole(policy)
    fakes.loop_is_whole(policy, None)
    fakes.loop_is_whole(policy, 3)


@pytest.mark.slow
def test_every_policy_runs_on_fake_tensors_of_a_gpu() -> None:
    result = Result()
    for part in fakes.parts([]):
        results.attempt(part, result)
    assert result.passed, result.lines


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
    result = Result()
    steps.compared("static", "eager", "cpu", result)
    assert result.passed, result.lines
    steps.compared("static", "wrong", "cpu", result)
    assert not result.passed
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
    assert begun(f"part: one\n{written(result)}\npart: two, of three\nnoise") == "two, of three"


def test_a_part_that_fails_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    result = Result()
    monkeypatch.setenv(results.ENDS, str(time.monotonic() + 60))
    for part in (
        Part("wrong", lambda result: result.row("it", 1 / 0, "s")),
        Part("right", lambda result: result.row("that", 2.0, "s")),
        Part("long", lambda result: result.row("never", 3.0, "s"), seconds=100),
    ):
        results.attempt(part, result)
    assert not result.passed
    assert result.rows == [{"name": "that", "value": 2.0, "unit": "s"}]
    assert result.lines == [
        "wrong: ZeroDivisionError: division by zero",
        "long: left out, as no time was left",
    ]


def outcome(code: str, limit: float = 60.0, left: float = 60.0) -> process.Outcome:
    check = process.Check("it", ("timeit", "-n1", "-r1", code), limit)
    return process.outcome_of(check, time.monotonic() + left)


def test_a_check_that_fails_crashes_or_takes_too_long_is_told() -> None:
    assert outcome("pass").state == "passed"
    assert outcome("raise SystemExit(3)").state == "failed"
    assert outcome("import os; os.kill(os.getpid(), 11)").state == "failed"
    # Also what it has started goes, and is not waited for.
    child = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    began = time.monotonic()
    assert outcome(child, left=process.LEAST_SECONDS + 0.5).state == "stopped"
    assert time.monotonic() - began < 30
    assert outcome("pass", left=1.0).state == "left out"
    said = outcome(f"print({written(Result(False, ['wrong']))!r})")
    assert (said.state, said.lines[0]) == ("failed", "wrong")


def test_a_check_that_crashes_goes_on_after_the_part_that_crashed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    first = f"part: one\n{written(Result(True, ['one']))}\npart: two, or three\n"
    rest = f"part: four\n{written(Result(True, ['four'], rows=[{'name': 'x'}]))}"

    def ran_within(seconds: float, command: list[str], environment: dict[str, str]) -> Any:
        assert float(environment[results.ENDS]) > time.monotonic()
        ran.append(command[3:])
        return (-11, first, "Segmentation fault") if len(ran) == 1 else (0, rest, "")

    monkeypatch.setattr(process, "ran_within", ran_within)
    found = process.outcome_of(process.Check("it", ("that",), 60.0), time.monotonic() + 60)
    assert ran == [[], ["--after", "two, or three"]]
    assert found.state == "failed"
    assert found.lines == ["one", "ended with status -11 in `two, or three`", "Segmentation fault", "four"]
    assert found.rows == [{"name": "x"}]


def test_parts_after_a_name_are_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["it", "an argument", "--after", "one"])

    def parts(arguments: list[str]) -> list[Part]:
        assert arguments == ["an argument"]
        return [Part(name, lambda result: result.lines.append("ran")) for name in ("zero", "one", "two")]

    assert results.run(parts) == 0
    assert begun(capsys.readouterr().out) == "two"


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


def test_without_a_gpu_it_says_so_ends_with_a_table_and_writes_json(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    file = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.gpu", "--only", "none of them", "--json", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=gpu.ROOT)
    assert ran.returncode == 1  # nothing ran
    assert ran.stdout.startswith("torch finds no CUDA GPU on this machine")
    assert ran.stdout.strip().endswith("|---|---|---|---|")
    assert json.loads(file.read_text())["machine"]["gpu"] is None


def test_the_checks_of_a_gpu_name_modules_and_options_that_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carried, "THERE", tmp_path)
    (tmp_path / "part-0").mkdir()
    checks = plan.checks_of_gpu("cuda", "eager,inductor", CORE, tmp_path)
    modules = {check.command[0] for check in checks}
    ours = ("kernel", "steps", "waits", "bandwidth", "measure", "tensorrt_rtx")
    assert modules == {"dsldec", *(f"tests.gpu.{name}" for name in ours)}
    for check in checks:
        if check.command[0] == "dsldec" and not torch.cuda.is_available():
            ran = subprocess.run([sys.executable, "-m", *check.command], capture_output=True, text=True)
            assert "needs a GPU that torch can use, and finds none" in ran.stderr, ran.stderr
        elif check.command[0] != "dsldec":
            module = importlib.import_module(check.command[0])
            assert next(iter(module.parts(list(check.command[1:])))), check.command


def test_a_wait_between_forwards_is_found_and_is_an_error_when_strict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting = waits.Setting(steps.policy_of("static"), refill=True, gen_length=16)
    result = Result()
    waits.checked(setting, CPU, result)
    assert result.passed, result.lines
    before = waits.counted(setting, CPU)
    step = Step.__call__

    def waiting(self: Step, *args: Any) -> Any:
        args[0].sum().item()
        return step(self, *args)

    monkeypatch.setattr(Step, "__call__", waiting)
    found = waits.counted(setting, CPU)
    assert found.forwards == before.forwards
    assert found.between.total() > before.between.total()
    with pytest.raises(RuntimeError, match="called a synchronizing"):
        waits.strict(setting, CPU, found.least)


SMALL = replace(
    TINY, policies=("static",), batches=(1, 2, 2), depth=2, distinct=1, rounds=1, drafts=(1, 2), moved=1
)


@pytest.mark.parametrize("module", [bandwidth, launches, share, throughput])
def test_every_measurement_runs_on_a_cpu(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With tiny sizes. The numbers mean nothing; every line runs."""
    monkeypatch.setattr(share, "DECODED", ("static",))
    monkeypatch.setattr(throughput, "LENGTHS", {throughput.TASK: 8})
    result = Result()
    for part in module.parts_of(SMALL, CPU, ("eager",)):
        if module is not throughput or "batch 1" in part.name:
            results.attempt(part, result)
    assert result.passed, result.lines
    assert result.rows
    assert all(math.isfinite(row["value"]) for row in result.rows)
    assert not any(part in line for line in result.lines for part in ("left out", "stopped"))
    list(goals.table(result.rows, everything=True))


@pytest.mark.slow
def test_the_whole_command_runs_on_a_cpu(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.gpu", "--device", "cpu", "--backends", "eager"]
    command += ["--minutes", "30", "--json", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=gpu.ROOT)
    found = json.loads(file.read_text(encoding="utf-8"))
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert set(states.values()) == {"passed"}, ran.stdout[-8000:]
    assert ran.returncode == 0
    printed = ran.stdout.split("| | measured | goal | |")[-1]
    assert printed.count("\n| ") == len(list(goals.table(goals.rows_of(found)))) - 2


def test_goals_are_met_or_missed_and_the_worst_of_equal_names_counts() -> None:
    def row(name: str, value: float) -> dict[str, Any]:
        return {"name": name, "value": value, "unit": ""}

    share_of = "kernel, share of a copy's bytes a second, batch {}, bfloat16"
    rows = [
        row("waits between forwards, no cache, eager", 0),
        row("waits between forwards, no cache, eager", 0.5),
        row(share_of.format(1), 0.5),
        row(share_of.format(8), 0.81),
        row(share_of.format(32), 0.79),
        row("policy's share of an 8B decode: dico, inductor, batch 1, 256 columns", 0.049),
        row("policy's share of an 8B decode: static, inductor, batch 1, 256 columns", 0.031),
        row("launches a forward beside model and kernel: static, eager", 200),
        row("launches a forward beside model and kernel: static, inductor graph", 3),
    ]
    lines = list(goals.table(rows))[2:]
    assert [line.split("| ")[-1].strip(" |") for line in lines] == [
        "missed", "met", "missed", "met", "missed", "met"
    ]  # fmt: skip
    assert "| 0.5 | at most 0 | missed |" in lines[0]
    assert len(list(goals.table(rows, everything=True))) == 2 + 8


def test_a_file_travels_in_parts(tmp_path: Path) -> None:
    wheel = tmp_path / "it-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("it/__init__.py", "answer = 42\n" * 50)
    here, there = tmp_path / "here", tmp_path / "there"
    places = carried.split(wheel, here, size=100)
    assert len(places) > 2
    for place in places:
        with pytest.raises(ValueError, match="parts are in"):
            carried.join(there)
        one = tmp_path / "one"
        shutil.copytree(place, one / place.name)
        assert place.name in carried.take(one, there)
        shutil.rmtree(one)
    assert (carried.join(there) / "it" / "__init__.py").is_file()
    (there / "part-1" / "bytes").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="damaged"):
        carried.join(there)


def test_launches_are_counted_in_a_trace_of_the_profiler() -> None:
    events = [
        {"cat": "kernel", "name": "read_piece", "dur": 5.0},
        {"cat": "gpu_memcpy", "name": "Memcpy DtoD", "dur": 1.0},
        {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "dur": 9.0},
        {"cat": "cuda_driver", "name": "cuLaunchKernelEx", "dur": 9.0},
        {"cat": "cuda_runtime", "name": "cudaStreamSynchronize", "dur": 9.0},
        {"name": "no category"},
    ]
    found = device.of_trace({"traceEvents": events})
    assert (found.kernels, found.copies, found.calls) == (1, 1, 2)
    assert found.busy == pytest.approx(6e-6)


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.slow
def test_the_kernel_is_compared_by_tritons_interpreter() -> None:
    command = [sys.executable, "-m", "tests.gpu.kernel", "--device", "cpu"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=gpu.ROOT)
    if "wrap_triton only works" in ran.stderr:
        pytest.skip("this torch does not run a kernel by triton's interpreter")
    assert (result := read(ran.stdout)) is not None, ran.stderr[-2000:]
    assert result.passed, result.lines
