"""`dsldec show`: the text of every stage, and only the last stage loads torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dsldec.cli import main
from dsldec.resources import policy_file
from dsldec.tools.show import STAGES

from ..conftest import Accepted
from ..shipped import CORE

WRITTEN_WITH = "2.13"  # another torch may name the operations of a graph otherwise


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "text"])
def test_the_text_of_a_stage(stage: str, capsys: pytest.CaptureFixture[str], accepted: Accepted) -> None:
    if stage == "torch" and not torch.__version__.startswith(f"{WRITTEN_WITH}."):
        pytest.skip(f"the golden text is that of torch {WRITTEN_WITH}")
    assert main(["show", "threshold", "--stage", stage]) == 0
    accepted(f"show/{stage}.txt", capsys.readouterr().out)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "torch"])
@pytest.mark.parametrize("name", CORE)
def test_every_policy_can_be_shown_and_twice_alike(
    stage: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", name, "--stage", stage]) == 0
    once = capsys.readouterr().out
    assert main(["show", name, "--stage", stage]) == 0
    assert capsys.readouterr().out == once


@pytest.mark.parametrize("name", CORE)
def test_the_text_of_a_policy_can_be_saved_as_a_file(
    name: str, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", name, "--stage", "text"]) == 0
    text = capsys.readouterr().out
    assert text == policy_file(name).read_text(encoding="utf-8")
    (tmp_path / "mine.policy").write_text(text, encoding="utf-8")
    assert main(["check", str(tmp_path / "mine.policy")]) == 0


def test_values_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "static", "--stage", "ir", "--set", "tokens=5"]) == 0
    assert "\n  tokens: int = 5\n" in capsys.readouterr().out
    assert main(["show", "static", "--stage", "facts", "--set", "tokens=5", "--set", "block=10"]) == 0
    assert "block_length(256): 10\nforwards_bound(256): 52\n" in capsys.readouterr().out


def test_a_tree_is_shown_of_a_policy_that_is_not_right(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.policy"
    file.write_text("policy bad():\n  window blocks(2)\n  commit masked and cnf > -0.5\n")
    assert main(["show", str(file), "--stage", "tree"]) == 0
    assert "operands[0]: Name 3:21 identifier='cnf'" in capsys.readouterr().out
    assert main(["show", str(file), "--stage", "facts"]) == 1
    assert "did you mean `conf`?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["threshold"], 2, "`dsldec show` lacks `--stage`"),
        (["threshold", "--stage", "tre"], 2, "did you mean `--stage tree`?"),
        (["threshold", "--stage", "xyz"], 2, "the stages are `text`, `tree`, `facts`, `ir`, `torch`"),
        (["threshold", "--stage", "tree", "--set", "block=2"], 2, "`--set` has no meaning for a tree"),
        (["threshold", "--stage", "ir", "--set", "block=x"], 2, "is a whole number"),
        (["treshold", "--stage", "tree"], 1, "did you mean `threshold`?"),
    ],
)
def test_what_cannot_be_shown(
    arguments: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *arguments]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert says in err


def test_torch_is_loaded_for_its_own_stage_only() -> None:
    program = "import sys; from dsldec.cli import main\nfor s in ('tree', 'facts', 'ir'): main(['show', 'static', '--stage', s])\n"
    ran = subprocess.run(
        [sys.executable, "-c", f"{program}print('torch' in sys.modules)"], capture_output=True, text=True
    )
    assert ran.stdout.endswith("\nFalse\n"), ran.stderr


def test_operations_have_the_choice_that_is_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.policy"
    file.write_text(
        "policy p(way: conf | margin = conf):\n  window blocks(4)\n  commit top(masked, 1, by=conf if way == conf else margin)\n"
    )
    assert main(["show", str(file), "--stage", "ir", "--set", "way=margin"]) == 0
    out = capsys.readouterr().out
    assert "way: choice = margin" in out
    assert "observation margin" in out
