"""The start of programs: which modules a verb imports, and the benchmark that times it."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from dsldec import collector
from dsldec.cli import main
from dsldec.tools import bench_start
from dsldec.tools.bench_goals import GoalOptions
from dsldec.tools.bench_start import BARE, TORCH, Seconds, StartUp


def test_the_first_line_and_the_end_are_compared_with_the_base() -> None:
    program = ("-c", "print(1)")
    taken = {program: [Seconds(2.0, 3.0), Seconds(4.0, 6.0)], TORCH: [Seconds(None, 2.0)] * 2}
    assert StartUp("first", program, line=True).goal(taken).ratio.median == pytest.approx(1.5)
    assert StartUp("whole", program).goal(taken).ratio.median == pytest.approx(2.25)
    taken[BARE] = [Seconds(None, 0.5)] * 2
    found = StartUp("more", program, more=True, at_most=3.0).goal(taken)
    assert found.ratio.median == pytest.approx(4.0)
    assert found.met is False


def test_only_wanted_programs_run() -> None:
    reported: list[str] = []
    (found,) = bench_start.goals(GoalOptions(rounds=1, only=("help",)), reported.append)
    assert found.name.startswith("help")
    assert found.ratio.median > 0
    assert not any("torch" in line for line in reported)


def test_a_program_that_fails_is_no_measurement(monkeypatch) -> None:
    monkeypatch.setattr(bench_start, "MEASURED", (StartUp("wrong", ("-c", "raise SystemExit('no such')")),))
    monkeypatch.setattr(bench_start, "TORCH", BARE)
    with pytest.raises(RuntimeError, match="no such"):
        bench_start.goals(GoalOptions(rounds=1), lambda line: None)


HEAVY = {
    "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy", "rich", "jinja2", "sympy",
}  # fmt: skip
# What `import torch` itself imports is not listed.
NOT_TO_RUN = {
    "transformers", "huggingface_hub", "torch._dynamo", "torch._inductor", "torch.distributed.tensor", "sympy",
    "rich", "jinja2", "pandas", "httpx",
}  # fmt: skip
PROMPT = "Eva has 14 candles. Rob has 5 more candles than Eva. How many candles do they have together?"


def modules_after(*arguments: str, folder: Path) -> tuple[set[str], str]:
    """The modules of a process that has run `dsldec` with these arguments, and its output."""
    program = (
        "import sys\nfrom dsldec.cli import main\n"
        f"status = main({list(arguments)!r})\n"
        "print('\\n' + ' '.join(sys.modules), file=sys.stderr)\nraise SystemExit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.splitlines()[-1].split()), ran.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("check", "dico"), ("fmt", "--check", "a.policy"), ("explain", "dico"), ("show", "dico", "--stage", "ir")],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_verbs_of_the_language_import_nothing_heavy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "a.policy").write_text("policy a():\n  window blocks(8)\n  commit top(masked, 1, by=conf)\n")
    imported, out = modules_after(*arguments, folder=tmp_path)
    assert out or arguments[0] == "fmt"
    assert not imported & HEAVY
    if arguments == ("--help",):
        assert not imported & {"argparse", "lark", "dsldec.policy", "dsldec.options"}


def test_a_run_of_the_embedded_model_imports_torch_alone(tmp_path: Path) -> None:
    imported, out = modules_after("run", "--no-live", PROMPT, folder=tmp_path)
    assert "33" in out
    assert "torch" in imported
    assert not imported & NOT_TO_RUN


def test_only_the_process_of_the_command_changes_its_collector(tmp_path: Path) -> None:
    threshold, frozen = gc.get_threshold(), gc.get_freeze_count()
    assert main(["check", "threshold"]) == 0
    collector.started()
    assert (gc.get_threshold(), gc.get_freeze_count()) == (threshold, frozen)
    program = (
        "import gc, sys\nfrom dsldec import collector\nfrom dsldec.cli import main\n"
        "before = gc.get_threshold()\nsys.argv = ['dsldec', 'check', 'threshold']\n"
        "assert main() == 0 and gc.get_threshold()[0] == collector.OF_THE_START and gc.get_freeze_count() > 1000\n"
        "collector.started()\nassert gc.get_threshold() == before\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)
