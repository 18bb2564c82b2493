"""Do the hooks for pre-commit name commands that exist, and do these what a hook must?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from dsldec.cli import main

ROOT = Path(__file__).parents[2]
HOOKS = {
    hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
}

GOOD = "policy good():\n  window blocks(32)\n  commit top(masked, 1, by=conf)\n"
UNFORMATTED = GOOD.replace("masked, 1", "masked,1")
BAD = GOOD.replace("by=conf", "by=cnf")


def run(hook: str, *files: Path) -> int:
    """The exit status of a hook on these files, as pre-commit runs it: the entry and the names of files."""
    command, *arguments = shlex.split(HOOKS[hook]["entry"])
    assert command == "dsldec"
    return main([*arguments, *map(str, files)])


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    texts = {"good": GOOD, "unformatted": UNFORMATTED, "bad": BAD}
    for name, text in texts.items():
        (tmp_path / f"{name}.policy").write_text(text)
    return {name: tmp_path / f"{name}.policy" for name in texts}


def test_the_hooks_have_what_pre_commit_needs():
    assert [*HOOKS] == ["dsldec-check", "dsldec-fmt"]
    for hook in HOOKS.values():
        assert {"id", "name", "entry", "language", "files"} <= set(hook)
        assert hook["language"] == "python"
        assert re.search(hook["files"], "policies/mine.policy")
        assert not re.search(hook["files"], "policies/mine.policy.md")
        assert not re.search(hook["files"], "policies/mine.cases")


def test_the_check_fails_where_a_policy_is_wrong(files):
    assert run("dsldec-check", files["good"], files["unformatted"]) == 0
    assert run("dsldec-check", *files.values()) == 1


def test_the_format_changes_files_alone_that_need_it(files):
    before = files["good"].stat().st_mtime_ns
    assert run("dsldec-fmt", files["good"], files["unformatted"]) == 0
    assert files["unformatted"].read_text() == GOOD
    assert files["good"].stat().st_mtime_ns == before


def test_the_page_shows_the_hooks():
    page = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
    for hook in HOOKS:
        assert f"- id: {hook}" in page
