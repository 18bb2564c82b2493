"""`dsldec build`: its output, the message of every mistake, and no incomplete files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from dsldec import packages
from dsldec.backends import aot
from dsldec.backends.exported import Sizes
from dsldec.cli import main
from dsldec.diagnostics import Diagnostic, UsageError

from ..conftest import Built

WHOLE = "policy whole():\n  window all\n  commit top(masked, 1, by=conf)\n"
FIXED = "policy fixed():\n  window blocks(8)\n  commit top(masked, 1, by=conf)\n"
SLIDING = "policy sliding(longest: int = 12 in 1..64):\n  window sliding(max_masks=4, max_length=longest)\n  commit top(masked, 1, by=conf)\n"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, Any], Sizes]]:
    """What is to be compiled (parameter values, sizes), without compiling it; the working folder is an empty
    one with some policies.
    """
    made: list[tuple[dict[str, Any], Sizes]] = []

    def build(program: Any, values: dict[str, Any], sizes: Sizes, file: Path) -> None:
        made.append((values, sizes))
        file.write_bytes(b"machine code")

    said = {name: {"dtype": "int64", "shape": [1]} for name in aot.FIRST} | {
        "state": {},
        "params": {},
        "events": {},
        "policy": {"name": "any"},
    }
    monkeypatch.setattr(aot, "build", build)
    monkeypatch.setattr(aot, "about", lambda file: said)
    monkeypatch.chdir(tmp_path)
    for text in (WHOLE, FIXED, SLIDING):
        (tmp_path / f"{text.split('(')[0].split()[1]}.policy").write_text(text)
    return made


def test_it_says_what_it_built_and_how_to_load_it(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    # A CUDA build of torch may log lines such as "W1130 12:18:55 ...: No CUDA runtime is found".
    own = [line for line in built.err.splitlines() if not re.match(r"[EIW]\d{4} ", line)]
    assert own == [
        "compiling `threshold` for 2 rows, a window of 32 and 818 ids on cpu: some tens of seconds ..."
    ]
    first, *lines = built.out.splitlines()
    assert (
        first
        == f"step.pt2: {built.file.stat().st_size / 1e6:.1f} MB, a step of `threshold` that runs with torch alone"
    )
    assert "  logits    float32[2, 32, 818]" in lines
    assert "  state     generation_length int64[2], step int64[2], window_start int64[2]" in lines
    assert "  events    not_finite bool[2, 32]" in lines
    assert "  params    block int64[], confidence float32[], eos_id int64[], mask_id int64[]" in lines
    program = lines[lines.index("  import json, torch") :][:4]
    step = packages.load(built.file, mask_id=0)
    names: dict[str, Any] = {
        "logits": torch.zeros(2, 32, 818), "canvas": torch.zeros(2, 32, dtype=torch.int64), "editable": torch.ones(2, 32, dtype=torch.bool),
        "state": dict(sorted(step.start(2, 32).items())), "params": dict(step.params),
    }  # fmt: skip
    monkeypatch.chdir(built.file.parent)
    exec("\n".join(line.strip() for line in program), names)
    assert names["canvas"].count_nonzero() == 2


def test_options_reach_the_build(asked: list[tuple[dict[str, Any], Sizes]]) -> None:
    options = (
        "threshold --vocab 100 --batch 3 --set block=16 --set confidence=0.5 --dtype bfloat16 -o new.pt2"
    )
    assert main(["build", *options.split()]) == 0
    assert asked == [({"confidence": 0.5, "block": 16}, Sizes(3, 16, 100, torch.bfloat16, "cpu"))]
    assert Path("new.pt2").read_bytes() == b"machine code"


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ("threshold", 32),
        ("threshold --window 32", 32),
        ("threshold --window 8", 8),
        ("threshold --set block=8", 8),
        ("whole.policy --window 40", 40),
        ("fixed.policy", 8),
        ("sliding.policy", 12),
    ],
)
def test_the_window(
    options: str, window: int, asked: list[tuple[dict[str, Any], Sizes]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *options.split(), "--vocab", "9", "--out", "x.pt2"]) == 0
    assert asked[0][1] == Sizes(1, window, 9)
    is_short = options == "threshold --window 8"
    assert (
        "a window of 8 is shorter than the policy's 32: correct only for at most 8 tokens"
        in capsys.readouterr().err
    ) == is_short


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ("threshold -o x.pt2", "E0420", "`dsldec build threshold --vocab 32000 -o x.pt2`"),
        ("threshold --vocab 9", "E0420", "`dsldec build threshold --vocab 9 -o threshold.pt2`"),
        ("a/mine.policy", "E0420", "`dsldec build a/mine.policy --vocab 32000 -o mine.pt2`"),
        ("--vocab 9 -o x.pt2", "E0420", "lacks `NAME|FILE`"),
        ("threshold --vocb 9 -o x.pt2", "E0420", "did you mean `--vocab`?"),
        ("threshold --vocab 0 -o x.pt2", "E0422", "`--vocab` is at least 1"),
        ("threshold --vocab 9 --batch x -o x.pt2", "E0422", "`--batch` is a whole number, not `x`"),
        ("threshold --vocab 9 --window -1 -o x.pt2", "E0422", "`--window` is at least 1"),
        ("threshold --vocab 9 --dtype floot16 -o x.pt2", "E0422", "did you mean `--dtype float16`?"),
        (
            "threshold --vocab 9 --dtype double -o x.pt2",
            "E0422",
            "write `--dtype float32` or `--dtype bfloat16` or `--dtype float16`",
        ),
        ("threshold --vocab 9 --device xla -o x.pt2", "E0422", "write `--device cpu` or `--device cuda`"),
        ("threshold --vocab 9 --set confidence -o x.pt2", "E0424", "`--set confidence=0.8`"),
        ("threshold --vocab 9 --window 33 -o x.pt2", "E0423", "set its parameter: `--set block=33`"),
        ("sliding.policy --vocab 9 --window 13 -o x.pt2", "E0423", "set its parameter: `--set longest=13`"),
        ("fixed.policy --vocab 9 --window 9 -o x.pt2", "E0423", "leave `--window` out"),
        ("whole.policy --vocab 9 -o x.pt2", "E0423", "`--window 256`"),
        ("threshold --vocab 9 -o x", "E0422", "`-o x.pt2`"),
        ("threshold --vocab 9 -o .", "E0432", "`-o ./threshold.pt2`"),
        ("threshold --vocab 9 -o none/x.pt2", "E0432", "mkdir -p"),
        ("threshold --vocab 9 -o", "E0420", "`-o/--out`: a value is missing"),
    ],
)
def test_a_wrong_command_line_is_said(
    options: str,
    code: str,
    says: str,
    asked: list[tuple[dict[str, Any], Sizes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = sorted(os.listdir())
    assert main(["build", *options.split()]) == 2
    out, err = capsys.readouterr()
    assert (out, asked, sorted(os.listdir())) == ("", [], before)
    assert err.startswith(f"error[{code}]: ")
    assert says in err


def test_a_wrong_policy_exits_with_1(
    asked: list[tuple[dict[str, Any], Sizes]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "treshold", "--vocab", "9", "-o", "x.pt2"]) == 1
    assert "did you mean `threshold`?" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="files as POSIX has them")
def test_what_is_no_plain_file_stays(
    asked: list[tuple[dict[str, Any], Sizes]], capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe.pt2")
    assert main(["build", "threshold", "--vocab", "9", "-o", "pipe.pt2"]) == 2
    assert (
        "error[E0432]: `pipe.pt2` cannot be written: it is a named pipe without a reader"
        in capsys.readouterr().err
    )
    assert Path("pipe.pt2").is_fifo()


@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_a_link_stays_and_its_file_is_replaced(asked: list[tuple[dict[str, Any], Sizes]]) -> None:
    Path("real.pt2").write_text("old")
    os.symlink("real.pt2", "link.pt2")
    assert main(["build", "threshold", "--vocab", "9", "-o", "link.pt2"]) == 0
    assert Path("link.pt2").is_symlink()
    assert Path("real.pt2").read_bytes() == b"machine code"


@pytest.mark.parametrize(
    ("failure", "status", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted: `x.pt2` is as it was"),
        (UsageError(Diagnostic("E0404", "no compiler")), 2, "error[E0404]: no compiler"),
    ],
    ids=["interrupt", "mistake"],
)
def test_an_unfinished_build_leaves_the_old_file(
    failure: BaseException,
    status: int,
    says: str,
    asked: list[tuple[dict[str, Any], Sizes]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def build(program: Any, values: Any, sizes: Sizes, file: Path) -> None:
        file.write_bytes(b"half")
        raise failure

    monkeypatch.setattr(aot, "build", build)
    Path("x.pt2").write_text("old")
    before = sorted(os.listdir())
    assert main(["build", "threshold", "--vocab", "9", "-o", "x.pt2"]) == status
    assert says in capsys.readouterr().err
    assert Path("x.pt2").read_text() == "old"
    assert sorted(os.listdir()) == before


def test_a_full_disk_is_said_and_leaves_the_old_file(
    asked: list[tuple[dict[str, Any], Sizes]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    Path("x.pt2").write_text("old")
    before = sorted(os.listdir())
    assert main(["build", "threshold", "--vocab", "9", "-o", "x.pt2"]) == 2
    assert "error[E0432]: `x.pt2` cannot be written: no space left on device" in capsys.readouterr().err
    assert Path("x.pt2").read_text() == "old"
    assert sorted(os.listdir()) == before
