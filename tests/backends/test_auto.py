"""`auto` never waits: it is eager until a compiled form is there, and changes no result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import dsldec
from dsldec import backends
from dsldec.backends import compile_job, inductor, step_cache
from dsldec.backends.compile_job import CompileJobs, JobProgress
from dsldec.backends.step import Step
from dsldec.backends.step_form import StepForm

from ..toy import ToyDenoiser
from .test_compiled import MASK, call
from .test_step_cache import form
from .uncompiled import pretend_to_compile, uncompiled


class Jobs:
    """Compilations in the background that end when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.result = JobProgress.COMPILING

    def progress(self, key: str, form: StepForm) -> JobProgress:
        self.asked.append(form.words)
        return self.result

    def error(self, key: str) -> str:
        return "the disk is full"


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs()
    pretend_to_compile(monkeypatch)
    monkeypatch.setattr(inductor, "JOBS", made)
    monkeypatch.setenv(compile_job.VARIABLE, "1")
    monkeypatch.setattr(step_cache, "expected_seconds", lambda program: 0.0)
    monkeypatch.setattr(backends.toolchain, "compiler", lambda: sys.executable)
    return made


def finish(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> list[StepForm]:
    """The jobs are done; returns the forms that are then loaded."""
    loaded: list[StepForm] = []
    jobs.result = JobProgress.DONE
    monkeypatch.setattr(step_cache, "load", lambda form: [loaded.append(form), uncompiled(form)][1])
    return loaded


def is_compiled(step: Step) -> bool:
    assert isinstance(step.function, inductor.CompiledStep)
    return bool(step.function._runners)


def test_auto_starts_eager_and_changes_when_the_form_is_there(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dsldec")
    step = dsldec.load("static").compile("auto", mask_id=MASK)
    first = call(step)
    assert torch.equal(call(step), first)
    assert jobs.asked
    assert not is_compiled(step)
    loaded = finish(jobs, monkeypatch)
    assert torch.equal(call(step), first)
    assert is_compiled(step)
    assert [one.words for one in loaded] == ["2 rows or more of 4 positions, 7 ids, float32"]
    assert "is compiled from here on" in caplog.text
    assert torch.equal(call(step, 5), call(step, 5))  # the same form
    assert len(loaded) == 1


def test_auto_uses_what_is_in_the_cache_at_once(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(jobs, monkeypatch)
    step = dsldec.load("static").compile("auto", mask_id=MASK)
    call(step)
    assert is_compiled(step)
    assert jobs.asked == []


def test_auto_compiles_after_the_time_that_compiling_takes(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all steps of the form, whoever made them."""
    monkeypatch.setattr(step_cache, "expected_seconds", lambda program: 5.0)
    ticks = iter(range(10**6))
    monkeypatch.setattr(inductor.time, "perf_counter", lambda: float(next(ticks)))  # a step takes a second
    for _ in range(5):
        call(dsldec.load("static").compile("auto", mask_id=MASK))
    assert jobs.asked == []
    call(dsldec.load("static").compile("auto", mask_id=MASK))
    assert len(jobs.asked) == 1


def test_a_failed_compilation_is_told_once_and_the_step_stays_eager(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dsldec")
    jobs.result = JobProgress.FAILED
    step = dsldec.load("static").compile("auto", mask_id=MASK)
    wanted = call(dsldec.load("static").compile("eager", mask_id=MASK))
    assert all(torch.equal(call(step), wanted) for _ in range(3))
    assert len(jobs.asked) == 1
    assert caplog.text.count("stays eager: compiling in the background failed: the disk is full") == 1


def test_a_decoding_that_changes_in_the_middle(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def after_five(key: str, form: StepForm) -> JobProgress:
        nonlocal count
        count += 1
        if count > 5:
            finish(jobs, monkeypatch)
        return jobs.result

    monkeypatch.setattr(jobs, "progress", after_five)
    run: Callable[..., Any] = lambda backend: dsldec.decode(  # noqa: E731
        ToyDenoiser(7, 1.0), [[9, 17], [3], [4, 4, 4]], "klass", gen_length=24, backend=backend, trace=True
    )
    slow, fast = run("eager"), run("auto")
    assert count == 6
    assert fast.trace == slow.trace
    assert [ids.tolist() for ids in fast.ids] == [ids.tolist() for ids in slow.ids]


def test_a_ragged_run_waits_once(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(step_cache, "compiled", lambda form: [waited.append(form.words), uncompiled(form)][1])
    for length, prompts in ((8, 2), (16, 2), (24, 1), (8, 2)):
        dsldec.decode(ToyDenoiser(7, 1.0), [[1]] * prompts, "static", gen_length=length, backend="inductor")
    assert [words.split(",")[0] for words in waited] == ["2 rows or more of 8 positions"]
    assert {words.split(",")[0] for words in jobs.asked} == {
        "2 rows or more of 16 positions",
        "1 row of 24 positions",
    }


def test_nothing_is_compiled_in_the_background_if_it_is_not_allowed(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compile_job.VARIABLE, "0")
    for _ in range(3):
        call(dsldec.load("static").compile("auto", mask_id=MASK))
    assert jobs.asked == []


# --- the other process


def ended(jobs: CompileJobs, key: str) -> JobProgress:
    limit = time.monotonic() + 300
    while (progress := jobs.progress(key, form())) is JobProgress.COMPILING:
        assert time.monotonic() < limit
        time.sleep(0.01)
    return progress


@pytest.fixture
def real_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CompileJobs:
    monkeypatch.setenv(step_cache.VARIABLE, str(tmp_path / "steps"))
    return CompileJobs()


def test_one_job_at_a_time(real_jobs: CompileJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile_job, "PROGRAM", "import sys; sys.stdin.read()")
    assert real_jobs.progress("one", form()) is JobProgress.COMPILING
    assert real_jobs.progress("two", form()) in (JobProgress.WAITING, JobProgress.COMPILING)
    assert ended(real_jobs, "one") is JobProgress.DONE
    assert ended(real_jobs, "two") is JobProgress.DONE


def test_the_reason_of_a_failure_is_the_last_line(
    real_jobs: CompileJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compile_job, "PROGRAM", "import sys; print('much'); sys.exit('no compiler')")
    assert ended(real_jobs, "one") is JobProgress.FAILED
    assert real_jobs.error("one") == "no compiler"
    monkeypatch.setattr(compile_job, "PROGRAM", "import os; os._exit(3)")
    assert ended(real_jobs, "two") is JobProgress.FAILED
    assert real_jobs.error("two") == "its process ended with status 3"
    monkeypatch.setattr(sys, "executable", "")
    assert real_jobs.progress("three", form()) is JobProgress.FAILED


@pytest.mark.skipif(os.name != "posix", reason="sessions")
def test_a_job_ends_with_its_compiler(
    real_jobs: CompileJobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = f"import subprocess; p = subprocess.Popen(['sleep', '600']); open({str(tmp_path / 'pid')!r}, 'w').write(f'{{p.pid}}.'); p.wait()"
    monkeypatch.setattr(compile_job, "PROGRAM", program)
    real_jobs.progress("one", form())
    limit = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text().endswith(".")):
        assert time.monotonic() < limit
        time.sleep(0.01)
    real_jobs.stop()
    compiler = int((tmp_path / "pid").read_text()[:-1])
    while Path(f"/proc/{compiler}").exists() and "Z" not in Path(f"/proc/{compiler}/stat").read_text():
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert real_jobs.progress("one", form()) is JobProgress.FAILED


def test_the_other_process_says_why_it_cannot(tmp_path: Path) -> None:
    """With a compiler that is no program: all but the machine code is made as ever."""
    environment = os.environ | {"CXX": "no-such-compiler", step_cache.VARIABLE: str(tmp_path / "steps")}
    ran = subprocess.run(
        [sys.executable, "-c", compile_job.PROGRAM, str(os.getpid())],
        input=form().text(), capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].endswith("`CXX` names `no-such-compiler`, which is no program here")


@pytest.mark.slow
def test_a_real_job_makes_a_package_that_this_process_loads(
    real_jobs: CompileJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compile_job.VARIABLE, "1")
    monkeypatch.setattr(inductor, "JOBS", real_jobs)
    monkeypatch.setattr(step_cache, "expected_seconds", lambda program: 0.0)
    step = dsldec.load("static").compile("auto", mask_id=MASK)
    wanted, limit = call(step), time.monotonic() + 600
    while not is_compiled(step):
        assert torch.equal(call(step), wanted)
        assert time.monotonic() < limit
        time.sleep(0.1)
    assert torch.equal(call(step), wanted)


def test_a_child_imports_nothing_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user may have put a module there. A program on the console has no such folder on its path."""
    (tmp_path / "queue.py").write_text("raise SystemExit('a module of the working folder')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(tmp_path))])
    program = compile_job.PROGRAM.split("from dsldec")[0] + "import queue; print(queue.__file__)"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "queue" in found.stdout
    assert str(tmp_path) not in found.stdout


@pytest.mark.parametrize("program", ["/opt/app/decoder", ""])
def test_a_program_that_is_no_python_is_not_started_again(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    monkeypatch.setattr(compile_job.subprocess, "Popen", None)  # a call would raise
    jobs = CompileJobs()
    jobs._start("key", form())
    assert jobs.progress("key", form()) is JobProgress.FAILED
