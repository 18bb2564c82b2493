"""`dsldec explain`: codes and policies in words."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.cli import main
from dsldec.codes import CODES
from dsldec.language.words import DRAWS, STATEMENTS, TRANSFORMS, WINDOWS, WORDS
from dsldec.resources import shipped_policies


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_explained(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", code.lower()]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{code}: {CODES[code].sentence}\n")
    assert len(out) < 3_000
    if CODES[code].bad:
        assert CODES[code].good.strip().splitlines()[-1] in out


@pytest.mark.parametrize("name", shipped_policies())
def test_every_policy_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", name, "--gen-length", "100"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}: ")
    policy = dsldec.load(name)
    block = policy.facts.block_length(100, policy.parameters)
    assert (
        f"for gen_length 100 in blocks of {block}: {policy.facts.forwards_bound(100, policy.parameters)}\n"
        in out
    )


def test_the_bounds_of_two_shipped_policies(capsys: pytest.CaptureFixture[str]) -> None:
    for name, bound in (("static", "in blocks of 32: 100"), ("dico", "in blocks of 100: 260")):
        assert main(["explain", name, "--gen-length", "100"]) == 0
        assert f"for gen_length 100 {bound}\n" in capsys.readouterr().out


def test_values_change_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "static", "--set", "tokens=3", "--set", "block=10", "--gen-length", "25"]) == 0
    assert "in blocks of 10: 10\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted({*WORDS, *WINDOWS, *DRAWS, *TRANSFORMS, *STATEMENTS}))
def test_every_word_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", name]) == 0
    out = capsys.readouterr().out
    for words in (WORDS, WINDOWS, DRAWS, TRANSFORMS):
        assert name not in words or words[name].meaning in out
    assert name not in STATEMENTS or STATEMENTS[name][1] in out
    assert main(["explain", name, "--set", "x=1"]) == 2


def test_what_cannot_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "E9999"]) == 2
    assert main(["explain", "staic"]) == 1
    assert "did you mean `static`?" in capsys.readouterr().err
