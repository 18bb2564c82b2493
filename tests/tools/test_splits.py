"""Which prompts and which model does a task of an embedded model get? No prompt of a `test` split is decoded
here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.cli import main
from dsldec.diagnostics import UsageError
from dsldec.models.tasks import TASKS, Example
from dsldec.tools import evaluate
from dsldec.tools.evaluation import problems
from dsldec.tools.evaluation.tasks import problems_of

from .test_run import Echo


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, list[Any]]:
    """The splits that are read and the models that are loaded. Each split has one harmless prompt."""
    seen: dict[str, list[Any]] = {"splits": [], "models": []}

    def held_out(task: str, count: int | None = None, split: str = "dev") -> list[Example]:
        seen["splits"].append((task, split))
        return [Example(task, "a" if split == "dev" else "b", "A", "A")]

    def from_pretrained(name: str | None = None, **how: Any) -> Echo:
        seen["models"].append(name)
        return Echo()

    monkeypatch.setattr(problems, "held_out", held_out)
    monkeypatch.setattr(evaluate, "held_out", held_out)
    monkeypatch.setattr(evaluate, "from_pretrained", from_pretrained)
    monkeypatch.setattr(dsldec.models.huggingface, "from_pretrained", from_pretrained)
    monkeypatch.chdir(tmp_path)
    return seen


def run(*arguments: str) -> dict[str, Any]:
    given = ["--policy", "static", "--backend", "eager", "--gen-length", "2", "--scorer", "exact"]
    assert main(["evaluate", *given, "--json", "f.json", *arguments]) == 0
    figures: dict[str, Any] = json.loads(Path("f.json").read_text())
    return figures


def test_dev_is_the_default_and_test_has_other_ids(asked: dict[str, list[Any]]) -> None:
    assert run("--task", "sudoku", "--out", "results")["split"] == "dev"
    assert run("--task", "sudoku", "--out", "results", "--resume", "--split", "test")["split"] == "test"
    assert asked["splits"] == [("sudoku", "dev"), ("sudoku", "test")]
    lines = [json.loads(line) for line in Path("results/static.jsonl").read_text().splitlines()]
    # One folder holds both, and neither is taken for the other.
    assert [(line["id"], line["prompt"], line["text"]) for line in lines] == [
        (0, "a", "A"),
        ("test-0", "b", "B"),
    ]


def test_each_task_has_its_model(asked: dict[str, list[Any]]) -> None:
    assert run("--task", "equations")["model"] == "dsldec:equations"
    assert run("--task", "equations", "--model", "mine")["model"] == "mine"
    assert run("--task", "word_problems")["model"] is None
    assert asked["models"] == ["dsldec:equations", "mine", None]


def test_the_table_loads_the_model_of_each_task_once(
    asked: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = evaluate.Setting("static", {"tokens": 2}, 2)
    monkeypatch.setattr(evaluate, "settings", lambda task: [one])
    for given, models in (
        (("--split", "test"), ["dsldec:word_problems", "dsldec:equations"]),
        (("--model", "mine"), ["mine"]),
    ):
        asked["models"].clear()
        asked["splits"].clear()
        assert main(["evaluate", *given]) == 0
        assert asked["models"] == models
        assert asked["splits"] == [(task, "test" if "test" in given else "dev") for task in TASKS]
        assert capsys.readouterr().out.count("| `static(tokens=2)` |") == len(TASKS)


def test_problems_of_a_split() -> None:
    for task in TASKS:
        dev, test = problems_of(task, raw=False), problems_of(task, raw=False, split="test")
        assert dev == problems_of(task, raw=False, split="dev")
        assert [problem.example for problem in dev] == evaluate.held_out(task)
        assert [problem.example for problem in test] == evaluate.held_out(task, split="test")
        assert not {problem.prompt.text for problem in dev} & {problem.prompt.text for problem in test}
        assert not {problem.prompt.id for problem in dev} & {problem.prompt.id for problem in test}
    with pytest.raises(UsageError, match="`dev` or `test`"):
        problems_of("sudoku", raw=False, split="tset")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--task", "task.jsonl", "--scorer", "exact", "--split", "test"), "E0423", "keep the prompts of `test` in a file of their own"),
        (("--task", "task.jsonl", "--scorer", "exact", "--split", "dev"), "E0423", "the task `task.jsonl` has no splits"),
        (("--task", "humaneval", "--run-code", "--split", "test"), "E0423", "all prompts are used"),
        (("--task", "sudoku", "--split", "tset"), "E0422", "did you mean `--split test`?"),
        (("--task", "equation", "--split", "dev"), "E0422", "did you mean `--task equations`?"),
    ],
)  # fmt: skip
def test_a_split_of_another_task_is_a_mistake(
    arguments: tuple[str, ...],
    code: str,
    says: str,
    asked: dict[str, list[Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("task.jsonl").write_text('{"prompt": "a", "answer": "A"}\n')
    assert main(["evaluate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error[{code}]: ")
    assert says in err
    assert asked["models"] == []
