"""`dsldec check --format github`: workflow commands that the runner of GitHub Actions reads."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from dsldec.cli import main
from dsldec.diagnostics import Diagnostic
from dsldec.resources import policy_file
from dsldec.source import Source, Span
from dsldec.tools.github_commands import command


def read_as_runner(line: str) -> tuple[str, dict[str, str], str]:
    """Command, properties and message, as the runner reads a line of output."""
    found = re.fullmatch("::([a-z]+) ([^\r\n]*?)::([^\r\n]*)", line)
    assert found is not None, line
    properties = dict(part.split("=", 1) for part in found[2].split(","))

    def text(escaped: str) -> str:
        for code, sign in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
            escaped = escaped.replace(code, sign)
        return escaped

    return found[1], {key: text(value) for key, value in properties.items()}, text(found[3])


def test_a_mistake_is_one_command(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "github", "bad.policy"]) == 1
    assert capsys.readouterr().out == (
        "::error file=bad.policy,line=3,endLine=3,col=21,endColumn=23,title=E0201::"
        "nothing is called `cnf`%0Ahelp: did you mean `conf`?\n"
        "1 policy: 1 error, 0 warnings\n"
    )


def test_a_warning_is_no_failure(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad.write_text("policy warned(unused: int = 1):\n  window all\n  commit masked\n")
    assert main(["check", "--format", "github", str(bad)]) == 0
    severity, properties, _ = read_as_runner(capsys.readouterr().out.splitlines()[0])
    assert (severity, properties["title"][0], properties["file"]) == ("warning", "W", "bad.policy")


def test_clean_policies_give_no_command(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "github", "static", "threshold"]) == 0
    assert capsys.readouterr().out == "2 policies: 0 errors, 0 warnings\n"


def test_a_missing_file_is_wrong_usage(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "github", "nothing.policy"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "E0401" in said.err


def test_an_unknown_format_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "gihub", "static"]) == 2
    said = capsys.readouterr().err
    assert "error[E0422]: unknown format `gihub`" in said
    assert "did you mean `github`? write `--format human`, `json`, `github` or `sarif`" in said
    assert main(["test", "--format", "sarif", "static"]) == 2
    assert "write `--format human` or `json`" in capsys.readouterr().err


def test_paths_begin_at_the_repository(
    bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bad.parent / "sub"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(bad.parent))
    main(["check", "--format", "github", "../bad.policy"])
    assert read_as_runner(capsys.readouterr().out.splitlines()[0])[1]["file"] == "bad.policy"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder))
    main(["check", "--format", "github", "../bad.policy"])
    assert read_as_runner(capsys.readouterr().out.splitlines()[0])[1]["file"] == "../bad.policy"


def test_a_shipped_policy_has_the_path_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Path(policy_file("static"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(file.parents[1]))
    line = command("static", Diagnostic("E0201", "wrong"))
    assert read_as_runner(line) == (
        "error",
        {"file": f"{file.parent.name}/static.policy", "title": "E0201"},
        "wrong",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_no_name_ends_its_property(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a,b:c%0A::warning ::\rd é.policy"
    os.rename(bad, name)
    assert main(["check", "--format", "github", name]) == 1
    first, _ = capsys.readouterr().out.split("\n", 1)
    severity, properties, _ = read_as_runner(first)
    assert (severity, properties["file"], properties["title"]) == ("error", name, "E0201")


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_a_name_that_is_no_text_can_be_printed(bad: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    name = os.fsdecode(b"\xff.policy")
    os.rename(bad, name)
    for form in ("github", "sarif"):
        assert main(["check", "--format", form, name]) == 1
        assert "�.policy" in (out := capsysbinary.readouterr().out.decode()) or "%EF%BF%BD.policy" in out


def test_no_message_begins_another_command() -> None:
    source = Source("policy p\n  x = y\n", "p.policy")
    message = "100% wrong\r\n::error::this is, not: a command"
    line = command("p.policy", Diagnostic("E0201", message, Span(source, 7, 14), "label", "one\n::stop"))
    severity, properties, shown = read_as_runner(line)
    assert severity == "error"
    assert shown.startswith("100% wrong")
    assert properties == {"file": "p.policy", "line": "1", "endLine": "2", "title": "E0201"}
    assert "\n" not in line


def test_columns_are_within_one_line() -> None:
    source = Source("policy p\n", "p.policy")
    line = command("p.policy", Diagnostic("E0201", "empty", Span(source, 3, 3)))
    assert "line=1,endLine=1,col=4,endColumn=4," in line
