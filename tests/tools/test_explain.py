"""`dsldec explain`: codes and policies in words."""

from __future__ import annotations

import re

import pytest

import dsldec
from dsldec.cli import main
from dsldec.codes import CODES
from dsldec.language.words import DRAWS, NOISES, STATEMENTS, TRANSFORMS, WINDOWS, WORDS
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
    bound = policy.facts.forwards_bound(100, policy.parameters)
    fixed = policy.facts.window_size == "block" and f"in blocks of {block}" in out
    where = f" in blocks of {block}" if fixed else ".*"  # other windows have other words
    assert re.search(rf"for gen_length 100{where}: {bound}\n", out)


def test_the_bounds_of_two_shipped_policies(capsys: pytest.CaptureFixture[str]) -> None:
    for name, bound in (("static", "in blocks of 32: 100"), ("dico", "in blocks of 100: 260")):
        assert main(["explain", name, "--gen-length", "100"]) == 0
        assert f"for gen_length 100 {bound}\n" in capsys.readouterr().out


def test_values_change_the_bound(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "static", "--set", "tokens=3", "--set", "block=10", "--gen-length", "25"]) == 0
    assert "in blocks of 10: 10\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted({*WORDS, *WINDOWS, *NOISES, *DRAWS, *TRANSFORMS, *STATEMENTS}))
def test_every_word_is_explained(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", name]) == 0
    out = capsys.readouterr().out
    for words in (WORDS, WINDOWS, NOISES, DRAWS, TRANSFORMS):
        assert name not in words or words[name].meaning in out
    assert name not in STATEMENTS or STATEMENTS[name][1] in out
    assert main(["explain", name, "--set", "x=1"]) == 2


def test_what_cannot_be_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "E9999"]) == 2
    assert main(["explain", "staic"]) == 1
    assert "did you mean `static`?" in capsys.readouterr().err


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", "--target", "sglang", *arguments]) == 0
    return capsys.readouterr().out


def test_an_engine_that_can_run_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "threshold")
    assert out.startswith("threshold: SGLang can run it (`sglang serve --dllm-algorithm DslDec`)\n")
    assert "blocks of 32 (LLaDA2): yes; `block` is 32; at most 32 + 1 forwards for each block\n" in out
    assert "blocks of 4 (SDAR): yes; `block` is 4; at most 4 + 1 forwards for each block\n" in out
    assert "carried from block to block of a request: nothing" in out
    assert "that a request can set (`custom_params`): confidence\n" in out
    assert "at most 11 + 1 forwards" in explained(capsys, "static", "--set", "tokens=3")


def test_an_engine_that_can_run_the_policy_in_some_blocks(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "dico", "--set", "block=32")
    assert "blocks of 32 (LLaDA2): yes" in out
    assert "blocks of 4 (SDAR): no; its blocks have 32 positions, and the host's 4 are no multiple\n" in out
    assert "help: write `--set block=4`\n" in out
    assert "request: state_clusters, state_stale, step\n" in out


@pytest.mark.parametrize(
    ("arguments", "error", "help"),
    [
        (
            ["freedave"],
            "E0450]: the policy `freedave` cannot run",
            "write `--set drafts=1`: nothing is drafted",
        ),
        (["threshold", "--set", "block=3"], "E0450]: the policy `threshold`", "write `--set block=32`"),
        (["conf"], "E0423]: `--target` has no meaning for the word `conf`", "name a policy"),
        (["dico", "--gen-length", "8"], "E0423]: `--gen-length` has no meaning with `--target`", "out"),
    ],
)
def test_what_an_engine_cannot_run(
    arguments: list[str], error: str, help: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--target", "sglang", *arguments]) == 2
    said = capsys.readouterr().err
    assert error in said
    assert help in said
