"""Every command, policy, program and diagnostic of the README is real."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import transformers

import dsldec
from dsldec import packages
from dsldec.backends import aot
from dsldec.cli import main
from dsldec.models.tasks import TASKS
from dsldec.resources import embedded_model_folder, policy_file, shipped_policies
from dsldec.tools.evaluate import settings

from .conftest import Built

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
POLICIES = (ROOT / "policies" / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands(program: str) -> list[str]:
    return [
        line.split("  #")[0].strip()
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith(program + " ")
    ]


def test_the_blocks_are_of_known_languages() -> None:
    assert set(re.findall(r"^```(\w+)$", README, re.MULTILINE)) == {"sh", "policy", "diagnostic", "python"}
    known = sum(len(commands(program)) for program in ("make", "dsldec", "transformers"))
    assert known == sum(len(block.splitlines()) for block in blocks("sh"))


def test_the_policies() -> None:
    good, bad = blocks("policy")
    assert good == policy_file("threshold").read_text(encoding="utf-8")
    policy, diagnostics = dsldec.check(bad, "bare.policy")
    assert policy is None
    assert [str(d) + "\n" for d in diagnostics] == blocks("diagnostic")


def test_the_python(capsys: pytest.CaptureFixture[str]) -> None:
    program, _, _ = blocks("python")
    exec(compile(program, "README.md", "exec"), {})
    assert "#### 32" in capsys.readouterr().out


def test_the_python_in_other_programs() -> None:
    class WithGenerate(transformers.EuroBertForMaskedLM, transformers.GenerationMixin):
        pass

    _, program, _ = blocks("python")
    denoiser = dsldec.from_pretrained(device="cpu")
    model = WithGenerate.from_pretrained(embedded_model_folder())
    names = {"model": model, "inputs": {"input_ids": torch.tensor([denoiser.encode("What is 14+18?")])}}
    exec(compile(program, "README.md", "exec"), names)
    assert "####" in denoiser.decode_text(names["ids"][0].tolist())


def test_the_server_is_started_on_what_was_exported() -> None:
    (serve,) = commands("transformers")
    (export,) = [command for command in commands("dsldec") if " export-hf " in command]
    assert serve == f"transformers serve {export.split()[2]} --trust-remote-code"


def test_the_python_without_dsldec(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, program = blocks("python")
    said = aot.about(built.file)
    inputs = {
        name: torch.zeros(said[name]["shape"], dtype=getattr(torch, said[name]["dtype"]))
        for name in aot.FIRST
    }
    step = packages.load(built.file, mask_id=0)
    names = inputs | {"state": dict(sorted(step.start(2, 32).items())), "params": dict(step.params)}
    names["editable"] = ~names["editable"]
    monkeypatch.chdir(built.file.parent)
    exec(compile(program, "README.md", "exec"), names)
    assert names["about"] == said
    assert names["canvas"].count_nonzero(dim=1).tolist() == [
        1,
        1,
    ]  # nothing is confident: the best position of each row


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README's commands name."""
    shutil.copy(policy_file("threshold"), tmp_path / "mine.policy")
    shutil.copytree(embedded_model_folder(), tmp_path / "my-model")
    prompts = ["What is 14+18?", "Compute 3*6."]
    (tmp_path / "questions.txt").write_text("\n".join(prompts) + "\n")
    (tmp_path / "questions.jsonl").write_text(
        "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_dsldec_commands(workplace: Path, built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert built.file.is_file()  # `dsldec build` has run
    for command in commands("dsldec"):
        if command.startswith("dsldec build "):
            continue
        assert main(shlex.split(command)[1:]) == 0, command
    printed = capsys.readouterr().out
    assert "#### 32" in printed
    results = [json.loads(line) for line in (workplace / "results.jsonl").read_text().splitlines()]
    assert [result["prompt"] for result in results] == ["What is 14+18?", "Compute 3*6."]


def test_the_make_commands_exist() -> None:
    assert commands("make") == ["make run", "make test"]
    if shutil.which("make") is None:
        pytest.fail("the README's commands need make")
    for target in ("run", "test"):
        dry = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
        assert dry.returncode == 0, dry.stderr


def test_make_run_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """What `make run` runs, without setting anything up."""
    dry = subprocess.run(
        ["make", "--dry-run", "run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    (command,) = re.findall(r"^\S*/dsldec (run .*)", dry.replace("\\\n", " "), re.MULTILINE)
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out.count("####") == 2


def test_ci_runs_the_test_command() -> None:
    assert re.search(r"^make test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_tables_are_of_what_ships() -> None:
    assert sorted(re.findall(r"^\| `(\w+)\(", README, re.MULTILINE)) == shipped_policies()
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", POLICIES, re.MULTILINE)) == shipped_policies()
    measured = re.findall(r"^\| (word problems|sudoku) \| `(.+?)` \|", POLICIES, re.MULTILINE)
    assert measured == [
        (task.replace("_", " "), str(setting)) for task in TASKS for setting in settings(task)
    ]


def test_the_short_table_is_of_the_long_one() -> None:
    rows = re.findall(r"^\| (?:word problems|sudoku) \| .*$", README, re.MULTILINE)
    assert rows
    assert set(rows) <= set(POLICIES.splitlines())


def test_links_lead_somewhere() -> None:
    for folder, text in ((ROOT, README), (ROOT / "policies", POLICIES)):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (folder / target).exists(), target


def test_the_picture_is_of_the_live_view() -> None:
    assert "dsldec run" in (ROOT / "examples" / "live_view.svg").read_text(encoding="utf-8").replace(
        "&#160;", " "
    )
