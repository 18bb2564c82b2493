"""Does `dsldec batch` give the results of `dsldec run`, and lose none when a worker or the driver dies?

Ray runs on this machine, two CPUs in all. Not here: which prompts a further pass decodes
(`test_batch_passes`).
"""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dsldec.cli import main
from dsldec.options import DecodeOptions, LoadOptions
from dsldec.resources import policy_file, version
from dsldec.tools import batch as tool
from dsldec.tools import batch_pool
from dsldec.tools.batch_events import CannotDecode
from dsldec.tools.batch_worker import Worker, WorkerTask
from dsldec.tools.prompts import Prompt

from .faults import BROKEN, POISON, DyingWorker, FragileWorker

for name, value in (batch_pool.UNWATCHED | batch_pool.QUIET).items():
    os.environ.setdefault(name, value)  # Ray reads some of them when it is imported
ray = pytest.importorskip("ray")
ROOT = Path(__file__).parent.parent.parent
SAMPLED = "policy sampled():\n  window blocks(16)\n  draw gumbel(temperature=0.9)\n  commit top(masked, 2, by=conf)\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray with two CPUs. The workers import dsldec and these tests from the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        ray.init(
            address="local", num_cpus=2, include_dashboard=False, object_store_memory=80 << 20,
            log_to_driver=False, logging_level="CRITICAL",
        )  # fmt: skip
        yield
        ray.shutdown()


@pytest.fixture
def prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, "SECONDS_BETWEEN_LINES", 1e6)

    def write(count: int, *more: str) -> None:
        texts = [f"What is {14 + number}+18?" for number in range(count)]
        lines = [
            json.dumps({"prompt": text, "id": f"q{at}", "at": at}) for at, text in enumerate([*texts, *more])
        ]
        Path("p.jsonl").write_text("\n\n".join(lines) + "\n")

    return write


def batch(*arguments: str, out: str = "b.jsonl") -> int:
    return main(["batch", "--prompts", "p.jsonl", "--out", out, "--gen-length", "32", *arguments])


def run(*arguments: str, out: str = "r.jsonl") -> int:
    return main(["run", "--prompts", "p.jsonl", "--out", out, "--gen-length", "32", *arguments])


def results(name: str) -> dict[Any, dict[str, Any]]:
    """The results by id, without the time that each took."""
    lines = [json.loads(line) for line in Path(name).read_text().splitlines()]
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: {key: value for key, value in line.items() if key != "seconds"} for line in lines}


def test_the_results_are_those_of_run(cluster, prompts, capfd):
    """A policy that draws: the numbers belong to the line of a prompt, whichever worker decodes it."""
    prompts(9, "What is 1+1? " * 200)  # the last one is too long for the model
    Path("sampled.policy").write_text(SAMPLED)
    settings = ("--policy", "sampled.policy", "--seed", "3")
    assert batch(*settings, "--workers", "2", "--batch", "2", "--trace", "b.trace.jsonl") == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert "2 workers, 1 CPU each" in err
    assert "9 of 10 prompts, " in err
    assert "E0407" in err
    assert len(err.splitlines()) == 5, (
        err
    )  # the workers, their backend, the failure with its help, the totals
    assert run(*settings, "--trace", "r.trace.jsonl") == 1
    assert results("b.jsonl") == results("r.jsonl")
    assert results("b.trace.jsonl") == results("r.trace.jsonl")
    assert {line["error"][:5] for line in results("b.jsonl").values() if "error" in line} == {"E0407"}


def test_batch_and_run_continue_each_others_files(cluster, prompts, capfd):
    prompts(4)
    assert run(out="whole.jsonl") == 0
    lines = Path("whole.jsonl").read_text().splitlines(keepends=True)
    Path("b.jsonl").write_text("".join(lines[:2]) + lines[2][:40])  # the third one is cut off
    assert batch("--resume", "--seed", "4") == 2
    assert "E0437" in capfd.readouterr().err
    assert batch("--resume") == 0
    assert "2 prompts, " in capfd.readouterr().err
    assert results("b.jsonl") == results("whole.jsonl")
    assert batch() == 2
    assert "E0433" in capfd.readouterr().err
    assert run("--resume", out="b.jsonl") == 0
    assert "nothing is left to do" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--model", "no-such-folder/"), "E0405", "no-such-folder"),
        (
            ("--workers", "3"),
            "E0471",
            "no room for 3 workers with 1 CPU each: it has one machine with 2 CPUs",
        ),
        (("--gpus-per-worker", "0.5"), "E0471", "no machine has a GPU"),
        (("--gpus-per-worker", "1.5"), "E0422", "or a fraction below 1"),
        (("--device", "cuda:1"), "E0423", "sees only its own GPUs"),
        (("--out", "-"), "E0423", "two files"),
        (("--set", "confidence=2"), "E0402", "not a probability"),
    ],
)
def test_a_wrong_request_ends_at_once(arguments, code, says, cluster, prompts, capfd):
    prompts(3)
    assert batch(*arguments) in (1, 2)
    err = capfd.readouterr().err
    assert f"error[{code}]: " in err
    assert says in err
    assert "Traceback" not in err
    assert not Path("b.jsonl").exists()


@pytest.mark.slow
def test_the_program_of_the_page(cluster, capsys):
    page = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    exec(compile(program, "docs/batch.md", "exec"), {})
    assert "#### 32" in capsys.readouterr().out


def task(**options: Any) -> WorkerTask:
    text = policy_file("threshold").read_text()
    return WorkerTask(text, "threshold.policy", {}, None, LoadOptions(), DecodeOptions(**options), 1)


@pytest.mark.parametrize(
    ("driver", "options", "code", "says"),
    [
        ("9.9.9", {}, "E0473", ", and the driver has 9.9.9"),
        (version(), {"gen_length": 4000}, "E0430", "leaves no room for a prompt"),
        (version(), {"gen_length": 8, "cache": "exact"}, "E0414", "the cache `exact` cannot be used"),
    ],
)
def test_a_worker_that_cannot_decode_stops_the_run(driver, options, code, says):
    worker = Worker(driver, pickle.dumps(task(**options)))
    *_, last = worker._events([(0, Prompt(0, 0, "What is 1+1?"))])
    assert isinstance(last, CannotDecode)
    assert last.error.diagnostic.code == code
    assert says in last.error.diagnostic.message
    assert pickle.loads(pickle.dumps(last)).error.diagnostic == last.error.diagnostic


def test_without_ray_one_sentence_says_so(prompts, capfd, monkeypatch):
    prompts(1)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert batch() == 2
    err = capfd.readouterr().err
    assert err.startswith("error[E0470]: `dsldec batch` needs Ray, which is not installed")
    assert 'pip install "dsldec[ray]"' in err
    assert not Path("b.jsonl").exists()


def test_a_cluster_that_does_not_answer(prompts, capfd, monkeypatch):
    if ray.is_initialized():
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
    prompts(1)
    monkeypatch.setattr(ray, "init", refused)
    assert batch("--address", "head:6379") == 2
    assert "error[E0470]: Ray does not connect to `head:6379`: no GCS" in capfd.readouterr().err


def refused(**_: Any) -> None:
    raise ConnectionError("no GCS\nmore")


# --- deaths


@pytest.mark.slow
def test_a_poisoned_prompt_gets_an_error_and_the_others_their_answers(cluster, prompts, capfd, monkeypatch):
    prompts(11, POISON, BROKEN)
    monkeypatch.setattr(batch_pool, "Worker", FragileWorker)
    assert batch("--workers", "2", "--batch", "2") == 1
    found = results("b.jsonl")
    assert sorted(key for key, line in found.items() if "error" in line) == ["q11", "q12"]
    assert found["q11"]["error"].startswith("E0474: the worker died each time it decoded this prompt")
    assert found["q12"]["error"].startswith("E0410: the tokenizer failed on this prompt: RuntimeError")
    assert "raylet" not in capfd.readouterr().out
    assert run() == 0
    assert {key: results("r.jsonl")[key] for key in found if "error" not in found[key]} == {
        key: line for key, line in found.items() if "error" not in line
    }


@pytest.mark.slow
def test_a_model_that_kills_its_worker_ends_the_run(cluster, prompts, capfd, monkeypatch):
    prompts(20)
    monkeypatch.setattr(batch_pool, "Worker", DyingWorker)
    assert batch("--workers", "2") == 2
    err = capfd.readouterr().err
    assert "error[E0472]: all workers died in 2 passes while they loaded the model" in err
    assert not Path("b.jsonl").exists()


def started(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """`dsldec batch` in a process group of its own."""
    command = [
        sys.executable,
        "-m",
        "dsldec",
        "batch",
        "--prompts",
        "p.jsonl",
        "--out",
        "b.jsonl",
        *arguments,
    ]
    settings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    settings.pop("RAY_ADDRESS", None)
    # A shell starts a job in the background with SIGINT ignored, and its children inherit that.
    heeded = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        command, cwd=cwd, env=settings, start_new_session=True, preexec_fn=heeded, **pipes
    )


def wait_for_lines(count: int, process: subprocess.Popen[str], file: Path) -> None:
    while not (file.exists() and len(file.read_text().splitlines()) >= count):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def descendants(process: int) -> dict[int, str]:
    """The processes below one, by number, with their names."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    found, below = {}, {process}
    for _ in range(5):
        found |= {int(pid): args for pid, parent, args in rows if int(parent) in below}
        below |= set(found)
    return found


def gone(processes: Sequence[int]) -> bool:
    """Whether the processes end within some time."""
    for _ in range(300):
        if not any(Path(f"/proc/{one}").exists() for one in processes):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(prompts, tmp_path):
    prompts(80)
    process = started("--workers", "2", "--gen-length", "32", cwd=tmp_path)
    wait_for_lines(8, process, tmp_path / "b.jsonl")
    workers = [one for one, name in descendants(process.pid).items() if name.startswith("ray::MapWorker")]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err
    assert run() == 0
    assert len(results("b.jsonl")) == 80
    assert results("b.jsonl") == results("r.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_driver_loses_no_result_that_it_has(number, prompts, tmp_path):
    prompts(80)
    process = started("--workers", "2", "--gen-length", "32", cwd=tmp_path)
    wait_for_lines(8, process, tmp_path / "b.jsonl")
    # Ray's two agents end some minutes after a raylet that was killed.
    ends = [
        one
        for one, name in descendants(process.pid).items()
        if not (number == signal.SIGKILL and "Agent" in name)
    ]
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # Ctrl-C reaches all processes of a terminal
    else:
        os.kill(process.pid, number)
    out, err = process.communicate()
    assert out == ""
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "interrupted: " in err
        assert "the same command with `--resume` decodes the other" in err
        assert "Traceback" not in err
    assert gone(ends)
    before = len(Path("b.jsonl").read_text().splitlines())
    assert 8 <= before < 80
    again = started("--workers", "2", "--gen-length", "32", "--resume", cwd=tmp_path)
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert run() == 0
    assert results("b.jsonl") == results("r.jsonl")
