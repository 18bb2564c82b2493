"""Does the extension for VS Code name files that exist, and does it indent as policies are indented?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest

from dsldec.editors import textmate
from dsldec.resources import policy_file, shipped_policies

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "editors" / "vscode"
PACKAGE = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
CONTRIBUTES = PACKAGE["contributes"]


def test_the_extension_has_the_version_of_dsldec():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))
    assert PACKAGE["version"] == project["version"], "change `version` in editors/vscode/package.json too"
    assert lock["packages"][""]["version"] == project["version"], (
        "`npm install` in editors/vscode writes the lock file"
    )
    assert f"dsldec-{PACKAGE['version']}.vsix" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_lock_file_has_the_pinned_packages():
    lock = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in (PACKAGE["dependencies"] | PACKAGE["devDependencies"]).items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert lock[f"node_modules/{name}"]["version"] == version


def test_each_file_exists_and_each_grammar_has_its_language():
    files = [PACKAGE["main"]]
    files += [language["configuration"] for language in CONTRIBUTES["languages"]]
    files += [grammar["path"] for grammar in CONTRIBUTES["grammars"]]
    assert [file for file in files if not (FOLDER / file).is_file()] == []
    ids = {language["id"]: language["extensions"] for language in CONTRIBUTES["languages"]}
    assert ids == {"dsldec": [".policy"], "dsldec-cases": [".cases"]}
    source = (FOLDER / PACKAGE["main"]).read_text(encoding="utf-8")
    assert all(
        f'"{one}"' in source.partition("documentSelector")[2].partition("\n      ),")[0] for one in ids
    )
    scopes = {grammar["language"]: grammar["scopeName"] for grammar in CONTRIBUTES["grammars"]}
    grammars = [textmate.policy_grammar(), textmate.cases_grammar()]
    assert scopes == dict(zip(ids, (grammar["scopeName"] for grammar in grammars), strict=True))


def test_the_readme_lists_the_settings():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for name, setting in CONTRIBUTES["configuration"]["properties"].items():
        assert f"| `{name}` |" in text
        assert f"`{setting['default']}` |" in text


def test_a_folder_that_is_not_trusted_cannot_choose_the_command():
    assert PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] == ["dsldec.command"]
    assert CONTRIBUTES["configuration"]["properties"]["dsldec.command"]["scope"] == "machine-overridable"


@pytest.mark.parametrize("name", shipped_policies())
def test_a_line_is_indented_after_a_colon(name):
    rules = json.loads((FOLDER / "language-configuration.json").read_text(encoding="utf-8"))[
        "indentationRules"
    ]
    increase, decrease = (
        re.compile(rules[key]) for key in ("increaseIndentPattern", "decreaseIndentPattern")
    )
    lines = [line for line in Path(policy_file(name)).read_text(encoding="utf-8").split("\n") if line.strip()]
    depth = 0
    for line, after in pairwise(line for line in lines if not line.lstrip().startswith("#")):
        depth += line.partition("#")[0].count("(") - line.partition("#")[0].count(")")
        deeper = len(after) - len(after.lstrip()) > len(line) - len(line.lstrip())
        if depth == 0 and not line.startswith("    "):  # no line inside brackets
            assert bool(increase.search(line)) == deeper, line
        assert not decrease.search(line)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_extension_is_javascript():
    subprocess.run(["node", "--check", FOLDER / "extension.js"], check=True, capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(
    not (FOLDER / "node_modules" / ".bin" / "vsce").exists(), reason="needs `npm ci` in editors/vscode"
)
def test_the_extension_can_be_packed(tmp_path):
    file = tmp_path / "dsldec.vsix"
    subprocess.run(
        ["npm", "run", "package", "--", "--out", file], cwd=FOLDER, check=True, capture_output=True
    )
    with zipfile.ZipFile(file) as packed:
        names = {name.removeprefix("extension/") for name in packed.namelist()}
    assert {"package.json", "extension.js", "LICENSE.txt", "syntaxes/dsldec.tmLanguage.json"} <= names
    assert "node_modules/vscode-languageclient/lib/node/main.js" in names  # without it, nothing starts
    assert not any(name.startswith("node_modules/vscode-textmate/") for name in names)
