"""Is every command, policy, program and diagnostic of the README and of the pages in `docs/` real?

A page's blocks are run by their language: `policy` is checked and formatted, and a `diagnostic` after it is
what the checker says of it; `python` runs; `sh` holds commands, one a line. Not here: `grammar/README.md`
(`language/test_reference.py`), the recipes (`test_recipes.py`).
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import dsldec
from dsldec import packages
from dsldec.backends import aot
from dsldec.cli import main
from dsldec.language.fmt import formatted
from dsldec.models.tasks import TASKS
from dsldec.resources import embedded_model_folder, policy_file, shipped_policies
from dsldec.source import Source
from dsldec.tools.evaluate import settings

from .conftest import Built

ROOT = Path(__file__).parent.parent
LINKING = [
    ROOT / name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "policies/README.md",
        "examples/README.md",
    )
] + sorted((ROOT / "docs").rglob("*.md"))
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in LINKING
    if path.name != "CHANGELOG.md"
}
README = PAGES["README.md"]
PROGRAMS = ("make", "dsldec", "transformers")
# Of these only the options are checked: `build` is done once for all tests, `bench` takes minutes, and `batch`
# starts a Ray cluster.
NOT_RUN = ("build", "bench", "batch", "precompile")
WIDTH, README_WIDTH, README_LINES = 120, 110, 120


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of a page in order, each with its language."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def in_language(language: str) -> list[Any]:
    found = [(name, text) for name, page in PAGES.items() for kind, text in blocks(page) if kind == language]
    return [pytest.param(name, text, id=f"{name}-{at}") for at, (name, text) in enumerate(found)]


def commands(page: str, program: str) -> list[str]:
    return [
        line.split("  #")[0].strip()
        for language, block in blocks(page)
        if language == "sh"
        for line in block.splitlines()
        if line.startswith(program + " ")
    ]


PAGES_WITH_COMMANDS = [name for name, page in PAGES.items() if commands(page, "dsldec")]


@pytest.mark.parametrize("name", PAGES)
def test_the_blocks_are_of_known_languages(name: str) -> None:
    page = PAGES[name]
    assert {language for language, _ in blocks(page)} <= {"sh", "policy", "diagnostic", "python", "text"}
    known = sum(len(commands(page, program)) for program in PROGRAMS)
    assert known == sum(len(block.splitlines()) for language, block in blocks(page) if language == "sh")


def test_the_readme_is_two_screens() -> None:
    assert len(README.splitlines()) <= README_LINES
    assert {language for language, _ in blocks(README)} == {"sh", "policy", "diagnostic", "python", "text"}


@pytest.mark.parametrize("name", PAGES)
def test_lines_are_short(name: str) -> None:
    width = README_WIDTH if name == "README.md" else WIDTH
    long = [
        line for line in PAGES[name].splitlines() if len(line) > width and not line.startswith(("|", "!["))
    ]
    assert long == []


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if "```policy" in page])
def test_the_policies(name: str) -> None:
    """A policy with the name of a shipped one is that one."""
    found = [*blocks(PAGES[name]), ("", "")]
    for (language, text), (next_language, said) in itertools.pairwise(found):
        if language != "policy":
            assert next_language != "diagnostic", "a diagnostic is of the policy before it"
            continue
        of = re.match(r"policy (\w+)", text)
        assert of is not None
        policy, diagnostics = dsldec.check(text, f"{of[1]}.policy")
        shown = "\n\n".join(map(str, diagnostics))
        if next_language == "diagnostic":
            assert policy is None
            assert shown + "\n" == said
        else:
            assert shown == ""
            assert formatted(Source(text, name))[0] == text
            assert of[1] not in shipped_policies() or text == policy_file(of[1]).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "program"), in_language("python"))
def test_the_python(
    name: str,
    program: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "import datasets" in program:
        pytest.importorskip("datasets")
    code = compile(program, name, "exec")
    if "import ray" in program:
        pytest.skip("needs a cluster: tests/tools/test_batch.py runs it")
    if "model.generate" in program:
        names = model_and_inputs()
        exec(code, names)
        assert "####" in dsldec.from_pretrained(device="cpu").decode_text(names["ids"][0].tolist())
    elif "aoti_load_package" in program:
        file = request.getfixturevalue("built").file
        monkeypatch.chdir(file.parent)
        names = inputs_of(file)
        exec(code, names)
        assert names["about"] == aot.about(file)
        # Nothing is confident: the best position of each row.
        assert names["canvas"].count_nonzero(dim=1).tolist() == [1, 1]
    else:
        exec(code, {})
        assert "#### 32" in capsys.readouterr().out or "print(decoded.text[0]" not in program


def model_and_inputs() -> dict[str, Any]:
    """The names that the programs with `model.generate` take for given."""

    class WithGenerate(transformers.EuroBertForMaskedLM, transformers.GenerationMixin):
        pass

    prompt = dsldec.from_pretrained(device="cpu").encode("What is 14+18?")
    model = WithGenerate.from_pretrained(embedded_model_folder())
    return {"model": model, "inputs": {"input_ids": torch.tensor([prompt])}}


def inputs_of(file: Path) -> dict[str, Any]:
    """The names that the program with a built step takes for given."""
    about = aot.about(file)
    names: dict[str, Any] = {
        name: torch.zeros(about[name]["shape"], dtype=getattr(torch, about[name]["dtype"]))
        for name in aot.FIRST
    }
    step = packages.load(file, mask_id=0)
    names |= {"state": dict(sorted(step.start(2, 32).items())), "params": dict(step.params)}
    names["editable"] = ~names["editable"]
    return names


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the commands name."""
    shutil.copy(policy_file("threshold"), tmp_path / "mine.policy")
    shutil.copytree(embedded_model_folder(), tmp_path / "my-model")
    prompts = ["What is 14+18?", "Compute 3*6."]
    (tmp_path / "questions.txt").write_text("\n".join(prompts) + "\n")
    (tmp_path / "questions.jsonl").write_text(
        "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    )
    answers = [{"prompt": prompt, "answer": answer} for prompt, answer in zip(prompts, (32, 18), strict=True)]
    (tmp_path / "task.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", PAGES_WITH_COMMANDS)
def test_the_dsldec_commands(name: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGES[name]
    for command in commands(page, "dsldec"):
        verb, *options = shlex.split(command)[1:]
        # The table of the shipped policies takes minutes, and HumanEval needs its package.
        long = verb == "evaluate" and ("--task" not in options or "humaneval" in options)
        if verb in NOT_RUN or long:
            require_options(verb, options, capsys)
        else:
            assert main([verb, *options]) == 0, command
    results = workplace / "results.jsonl"
    assert results.exists() == ("--out results.jsonl" in page)
    if results.exists():
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        assert [line["prompt"] for line in lines] == ["What is 14+18?", "Compute 3*6."]
        assert "#### 32" in lines[0]["text"]


def require_options(verb: str, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Fails for an option that the verb's help does not list."""
    part = options[:1] if verb == "bench" else []
    main([verb, *part, "--help"])
    help_text = capsys.readouterr().out
    for option in options:
        assert not option.startswith("-") or re.search(rf"{option}\b", help_text), option


def test_the_step_of_the_pages_is_the_one_that_is_built(built: Built) -> None:
    assert built.file.is_file()
    builds = {
        command
        for page in PAGES.values()
        for command in commands(page, "dsldec")
        if command.startswith("dsldec build ")
    }
    assert len(builds) == 1


def test_the_server_is_started_on_what_was_exported() -> None:
    page = PAGES["docs/engines.md"]
    (serve,) = commands(page, "transformers")
    (export,) = [command for command in commands(page, "dsldec") if " export-hf " in command]
    assert serve == f"transformers serve {export.split()[2]} --trust-remote-code"


def test_the_make_commands_exist() -> None:
    assert commands(README, "make") == ["make run", "make test"]
    if shutil.which("make") is None:
        pytest.fail("the README's commands need make")
    named = {command.split()[-1] for page in PAGES.values() for command in commands(page, "make")}
    in_text = {name for page in PAGES.values() for name in re.findall(r"`make ([a-z-]+)`", page)}
    for target in sorted(named | in_text):
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


def test_ci_runs_the_test_command_first() -> None:
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line.startswith("make ")) == "make test"


def test_the_tables_are_of_what_ships() -> None:
    policies = PAGES["policies/README.md"]
    assert sorted(re.findall(r"^\| `(\w+)\(", README, re.MULTILINE)) == shipped_policies()
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", policies, re.MULTILINE)) == shipped_policies()
    page = PAGES["docs/policies.md"]
    tasks = "|".join(task.replace("_", " ") for task in TASKS)
    measured = re.findall(rf"^\| ({tasks}) \| `(.+?)` \|", page, re.MULTILINE)
    assert measured == [
        (task.replace("_", " "), str(setting)) for task in TASKS for setting in settings(task)
    ]


def heading_anchors(page: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", LINKING, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    for target, _, anchor in re.findall(r"\]\(([^)#\s]*)(#([^)]*))?\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        other = path.parent / target if target else path
        assert other.exists(), target
        assert not anchor or anchor in heading_anchors(other.read_text(encoding="utf-8")), anchor


def test_the_picture_is_of_the_live_view() -> None:
    assert "dsldec run" in (ROOT / "examples" / "live_view.svg").read_text(encoding="utf-8").replace(
        "&#160;", " "
    )


def test_the_version_is_said_once() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [version]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first, second, *_ = re.findall(r"^## (.*)$", changes, re.MULTILINE)
    assert first == "[Unreleased]"
    released = re.fullmatch(r"\[(.+)\] - (\d{4}-\d\d-\d\d)", second)
    assert released is not None
    assert released[1] == version
    assert re.findall(r"^date-released: (.*)$", citation, re.MULTILINE) == [released[2]]
