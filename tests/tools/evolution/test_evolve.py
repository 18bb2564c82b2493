"""`dsldec evolve` from the command line: a small search, and the mistakes of users."""

from __future__ import annotations

from pathlib import Path

import pytest

import dsldec
from dsldec.cli import main
from dsldec.tools.measuring.measurer import Measurer

SMALL = (
    "evolve",
    "--task",
    "sudoku",
    "--limit",
    "8",
    "--generations",
    "1",
    "--population",
    "2",
    "--start",
    "threshold",
)


def test_a_small_search_writes_its_front(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "evolved"
    assert main([*SMALL, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("policy ")
    assert "threshold" in printed.out
    assert f"--policy {out / 'front' / 'evolved_1.policy'}" in printed.err
    for path in (out / "front").iterdir():
        assert dsldec.load(str(path)).name == path.stem
    # The same command has nothing left to decode, and gives the same.
    assert main([*SMALL, "--out", str(out)]) == 0
    assert capsys.readouterr().out == printed.out
    # Other options are another search.
    assert main([*SMALL, "--seed", "4", "--out", str(out)]) == 2
    assert "E0437" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (("--task", "sudoku"), 2, "E0420"),
        (("--out", "x"), 2, "E0420"),
        (("--task", "sudok", "--out", "x"), 2, "E0422"),
        (("--task", "sudoku", "--out", "x", "--start", "thresold"), 1, "E0401"),
        (("--task", "sudoku", "--out", "x", "--start", "lopa"), 2, "E0541"),
        (("--task", "sudoku", "--out", "x", "--start", "freedave"), 2, "E0541"),
        (("--task", "sudoku", "--out", "x", "--set", "block=8"), 2, "E0423"),
        (("--task", "sudoku", "--out", "x", "--start", "static", "--start", "static"), 2, "E0423"),
        (("--task", "sudoku", "--out", "x", "--start", "static", "--set", "tokens=0"), 1, "E0402"),
        (("--task", "sudoku", "--out", "x", "--limit", "3"), 2, "E0533"),
        (("--task", "sudoku", "--out", "x", "--limit", "10", "--calibration", "10"), 2, "E0533"),
        (("--task", "sudoku", "--out", "x", "--floor", "2"), 2, "E0422"),
        (("--task", "sudoku", "--out", "x", "--budget", "none"), 2, "E0422"),
        (("--task", "sudoku", "--out", "x", "--population", "1"), 2, "E0422"),
        (("--task", "sudoku", "--out", "x", "--scorer", "python"), 2, "E0481"),
        (("--task", "sudoku", "--out", "file"), 2, "E0432"),
        (("--task", "sudoku", "--out", "full"), 2, "E0540"),
    ],
)
def test_a_mistake_is_a_diagnostic(
    given: tuple[str, ...], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert main(["evolve", *given]) == code
    error = capsys.readouterr().err
    assert f"[{message}]" in error
    assert not (tmp_path / "x").exists()


def test_a_parameter_belongs_to_the_start_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--start", "threshold", "--set", "block=8", "--start", "factor", "--set", "block=16")
    assert main(["evolve", "--task", "sudoku", "--limit", "3", *given, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "E0533" in error
    assert "W0404" not in error


def test_an_interrupted_search_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Measurer, "measure", interrupted)
    assert main([*SMALL, "--out", str(tmp_path / "evolved")]) == 130
    assert "the same command goes on" in capsys.readouterr().err
