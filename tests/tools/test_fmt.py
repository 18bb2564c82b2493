"""`dsldec fmt`: which files are written, what is printed, and the exit statuses."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dsldec.cli import main
from dsldec.resources import policies_folder, policy_file, shipped_policies

UGLY, PRETTY = "policy  p():\n  fill # é\n", "policy p():\n  fill  # é\n"
WRONG = "policy p():\n  fil\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "p.policy", UGLY)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def test_files_are_rewritten(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = written(tmp_path / "q.policy", PRETTY)
    before = other.stat()
    assert main(["fmt", str(file), str(other)]) == 0
    assert file.read_text(encoding="utf-8") == PRETTY
    assert other.stat().st_ino == before.st_ino  # not touched
    assert capsys.readouterr().out == f"formatted {file}\n"
    assert sorted(os.listdir(tmp_path)) == ["p.policy", "q.policy"]
    assert main(["fmt", str(file)]) == 0
    assert capsys.readouterr().out == ""


def test_check_names_and_writes_nothing(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fmt", "--check", str(file), str(written(tmp_path / "q.policy", PRETTY))]) == 1
    assert capsys.readouterr().out == f"{file}\n"
    assert file.read_text(encoding="utf-8") == UGLY
    assert main(["fmt", "--check", str(tmp_path / "q.policy")]) == 0


def test_diff_shows_and_writes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--diff", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"--- {file}\n+++ {file} (formatted)\n@@ -1,2 +1,2 @@\n-policy  p():\n")
    assert out.endswith("+policy p():\n+  fill  # é\n")
    assert file.read_text(encoding="utf-8") == UGLY
    assert main(["fmt", "--diff", "--check", str(file)]) == 1
    assert capsys.readouterr().out == out


def test_diff_without_a_last_line_break(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--diff", str(written(tmp_path / "p.policy", PRETTY.rstrip()))]) == 0
    assert "-  fill  # é\n\\ No newline at end of file\n+  fill  # é\n" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--check"], ["--diff"]])
def test_a_file_with_mistakes_is_left_alone(
    options: list[str], file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = written(tmp_path / "wrong.policy", WRONG)
    assert main(["fmt", *options, str(wrong), str(file)]) == 1
    out, err = capsys.readouterr()
    assert f"error[E0101]: `fil` is not a statement\n --> {wrong}:2:3\n" in err
    assert "did you mean `fill`?" in err
    assert str(wrong) not in out
    assert wrong.read_text(encoding="utf-8") == WRONG
    assert file.read_text(encoding="utf-8") == (UGLY if options else PRETTY)  # the others are not held up


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def given(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    given(UGLY.encode())
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == PRETTY
    given(UGLY.encode())
    assert main(["fmt", "--check", "-"]) == 1
    given(WRONG.encode())
    assert main(["fmt", "-"]) == 1
    out, err = capsys.readouterr()
    assert out == "-\n"
    assert "--> <stdin>:2:3" in err
    given(b"policy \xff")
    assert main(["fmt", "-"]) == 1
    assert "E0103" in capsys.readouterr().err


def test_standard_output_is_utf_8_whatever_the_terminal_is() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ran = subprocess.run(
        [sys.executable, "-m", "dsldec", "fmt", "-"],
        input=UGLY.encode(),
        capture_output=True,
        env=environment,
    )
    assert ran.stdout == PRETTY.encode()


@pytest.mark.skipif(os.name != "posix", reason="permissions and links as POSIX has them")
def test_permissions_and_links_stay(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "link.policy"
    link.symlink_to(file)
    assert main(["fmt", str(link)]) == 0
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == PRETTY
    assert file.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_replaced_stays(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert main(["fmt", str(file)]) == 2
    assert f"`{file}` cannot be written: permission denied" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == UGLY
    assert os.listdir(tmp_path) == ["p.policy"]


def test_line_ends_stay(tmp_path: Path) -> None:
    file = written(tmp_path / "p.policy", UGLY.replace("\n", "\r\n"))
    assert main(["fmt", str(file)]) == 0
    assert file.read_bytes() == PRETTY.replace("\n", "\r\n").encode()


def test_shipped_policies_are_checked_by_name_and_not_rewritten(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--check", *shipped_policies()]) == 0
    assert main(["fmt", "--diff", "threshold"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["fmt", "threshold"]) == 2
    err = capsys.readouterr().err
    assert "`threshold` is a shipped policy" in err
    assert f"`cp {policy_file('threshold')} threshold.policy`" in err


def test_a_folder_stands_for_the_policies_in_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "deeper").mkdir()
    other = written(tmp_path / "deeper" / "q.policy", UGLY)
    written(tmp_path / "notes.txt", UGLY)
    assert main(["fmt", "--check", str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"{other}\n{file}\n"
    assert main(["fmt", "--check", str(policies_folder())]) == 0
    (tmp_path / "none").mkdir()
    assert main(["fmt", str(tmp_path / "none")]) == 2
    assert "holds no policy" in capsys.readouterr().err


def test_wrong_usage(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", str(file), str(tmp_path / "nothing.policy")]) == 2
    assert "E0401" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == UGLY  # nothing is written then
    assert main(["fmt", "treshold"]) == 2
    assert "did you mean `threshold`?" in capsys.readouterr().err
    assert main(["fmt"]) == 2
    assert main(["fmt", "--indent=4", str(file)]) == 2
    assert main(["fmt", "--help"]) == 0


@pytest.mark.parametrize("content", [b"", b"policy \xff", b"policy p\x00():\n", b"#" * 2_000_000])
def test_unusable_content_is_a_diagnostic(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "unusable.policy"
    file.write_bytes(content)
    assert main(["fmt", str(file)]) == 1
    assert capsys.readouterr().err.startswith("error[E010")
    assert file.read_bytes() == content


def test_torch_is_never_imported(file: Path) -> None:
    code = (
        "import sys; from dsldec.cli import main; main(['fmt', sys.argv[1]]); print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
