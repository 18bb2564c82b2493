"""`dsldec check`: its two formats and its exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dsldec.cli import main
from dsldec.resources import shipped_policies

BAD = "policy bad(unused: int = 1):\n  window blocks(32)\n  commit masked and cnf > 0.9\n"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.policy"
    file.write_text(BAD)
    return file


def test_shipped_policies_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", *shipped_policies()]) == 0
    assert capsys.readouterr().out == f"{len(shipped_policies())} policies: 0 errors, 0 warnings\n"


def test_for_people(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "static", str(bad)]) == 1
    out = capsys.readouterr().out
    assert "did you mean `conf`?" in out
    assert out.endswith("2 policies: 1 error, 0 warnings\n")


def test_as_json(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "json", str(bad)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "version": 1,
        "diagnostics": [
            {
                "file": str(bad),
                "line": 3,
                "column": 21,
                "end_line": 3,
                "end_column": 24,
                "severity": "error",
                "code": "E0201",
                "message": "nothing is called `cnf`",
                "label": "",
                "help": "did you mean `conf`?",
            }
        ],
    }


def test_warnings_alone_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "warned.policy"
    file.write_text("policy warned(unused: int = 1):\n  window all\n  commit masked\n")
    assert main(["check", "--format", "json", str(file)]) == 0
    assert [d["severity"] for d in json.loads(capsys.readouterr().out)["diagnostics"]] == ["warning"]


@pytest.mark.parametrize("content", [b"", b"policy \xff", b"policy p\x00():\n", b"#" * 2_000_000])
def test_unusable_content_is_a_diagnostic(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "unusable.policy"
    file.write_bytes(content)
    assert main(["check", "--format", "json", str(file)]) == 1
    assert len(json.loads(capsys.readouterr().out)["diagnostics"]) == 1


def test_a_missing_file_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "nothing.policy")]) == 2
    assert "E0401" in capsys.readouterr().err
    assert main(["check"]) == 2
    assert "`dsldec check` lacks `NAME|FILE`" in capsys.readouterr().err
    assert main(["check", "--format", "xml", "static"]) == 2


def test_torch_is_never_imported() -> None:
    code = (
        "import sys; from dsldec.cli import main; main(['check', 'threshold']); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
