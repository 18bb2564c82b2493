"""Are the hints for options of other programs right: is each line of policy text valid, and does each option
and parameter exist?
"""

from __future__ import annotations

import inspect
import re
import textwrap

import pytest

import dsldec
from dsldec.cli import (
    bench,
    comparing,
    decoding,
    evaluating,
    evolving,
    exporting,
    frontiers,
    listing,
    policies,
    tuning,
)
from dsldec.cli.dispatch import VERBS
from dsldec.cli.unknown import ANOTHER_VERB
from dsldec.instead import INSTEAD
from dsldec.spelling import keyword, on_command_line, option, setting, written
from dsldec.synonyms import _FIXED, _PARAMETER_OF, _VERBS, SHIPPED, WORDS, UnknownArgument, advice, normal

from .conftest import Accepted

VALUES = (
    None,
    "",
    "0.5",
    "0",
    "random",
    "origin",
    "topk_margin",
    "entropy",
    "x y",
    4,
    0.7,
    True,
    False,
    ["a"],
    [],
)
PARSERS = {
    "run": decoding._run_parser(), "evaluate": evaluating._evaluate_parser(), "model": decoding._model_parser(),
    "build": exporting._build_parser(), "export-hf": exporting._export_hf_parser(), "check": policies._check_parser(),
    "fmt": policies._fmt_parser(),
    "test": policies._test_parser(), "explain": policies._explain_parser(), "show": policies._show_parser(),
    "list": listing._list_parser(), "compare": comparing._compare_parser(), "frontier": frontiers._frontier_parser(),
    "tune": tuning._tune_parser(), "evolve": evolving._evolve_parser(),
    "bench step": bench._step_parser(), "bench loop": bench._loop_parser(), "bench batch": bench._batch_parser(),
}  # fmt: skip


def flags(verb: str) -> set[str]:
    return {name for action in PARSERS[verb]._actions for name in action.option_strings}


def answers(word: str) -> list[str]:
    """What is said of a word at both places, whatever stands beside it."""
    takes = frozenset(normal(one) for one in flags("run"))
    keywords = frozenset(inspect.signature(dsldec.decode).parameters)
    told = []
    for value in VALUES:
        told.append(
            advice(
                UnknownArgument(
                    word, value, 'dsldec.load("threshold", {})', {"confidence": 0.9, "block": 32}, keywords
                )
            )
        )
        with on_command_line():
            told.append(
                advice(UnknownArgument(word, value, parameters={"confidence": 0.9, "block": 32}, takes=takes))
            )
    return [one for one in told if one is not None]


@pytest.mark.parametrize("word", sorted(WORDS))
def test_what_is_told_of_a_word_is_there(word: str) -> None:
    told = answers(word)
    assert told
    for one in told:
        for code in re.findall(r"`([^`]*)`", one):
            if code.startswith("--"):
                assert any(code.split()[0] in flags(verb) for verb in PARSERS), one
            if (called := re.match(r"dsldec ([\w-]+)", code)) and called[1] != "--version":
                assert called[1] in VERBS, one
                used = set(re.findall(r"(?<!\S)--[\w-]+", code))
                assert used <= flags(called[1]) | {"--help"}, one


@pytest.mark.parametrize("word", sorted(INSTEAD))
def test_a_line_that_is_to_be_written_is_one_of_a_policy(word: str) -> None:
    for one in answers(word):
        for line in re.findall(r"`((?:draw|logits|commit) [^`]*)`", one):
            commit = (
                "" if line.startswith("commit") else "  commit masked and conf > 0.9 at least 1 by conf\n"
            )
            policy, diagnostics = dsldec.check(f"policy p():\n  window blocks(32)\n  {line}\n{commit}")
            assert policy is not None, (line, *map(str, diagnostics))


def test_shipped_policies_have_the_parameters_that_they_are_named_for() -> None:
    for parameter, policy in SHIPPED.items():
        assert parameter in dsldec.load(policy).parameters
    everything = {name for policy in dsldec.shipped_policies() for name in dsldec.load(policy).parameters}
    assert set(_PARAMETER_OF.values()) <= everything


def test_verbs_have_the_options_that_are_said_to_be_theirs() -> None:
    for verb, options in _VERBS.items():
        there = {normal(name.replace("--no-", "--")) for name in flags(verb)}
        assert options <= there, (verb, options - there)
    assert _VERBS["run"] == {normal(name) for name in flags("run") if not name.startswith("--no-")} - {
        "help",
        "h",
        "verify_rows",
    } | {"verify_rows"}
    for name, value in _FIXED.values():
        with on_command_line():
            written_as = option(name, value).strip("`").split()
        assert PARSERS["run"].parse_known_args(["x", *written_as])[1] == []
    assert set(ANOTHER_VERB.values()) <= set(VERBS)


def test_an_option_is_written_as_its_reader_writes_it() -> None:
    assert (option("gen_length", 8), option("cache", "none"), option("infill", True)) == (
        "`gen_length=8`",
        '`cache="none"`',
        "`infill=True`",
    )
    assert (option("raw", True), option("device"), setting("block", 4)) == (
        "`from_pretrained(..., raw=True)`",
        "`device`",
        "`block=4`",
    )
    with on_command_line():
        assert (option("gen_length", 8), option("cache", "none"), option("raw", True)) == (
            "`--gen-length 8`",
            "`--cache none`",
            "`--raw`",
        )
        assert (option("live", False), option("device"), setting("block", 4)) == (
            "`--no-live`",
            "`--device`",
            "`--set block=4`",
        )
        assert option("out", "a b.jsonl") == "`--out 'a b.jsonl'`"
    assert option("gen_length", 8) == "`gen_length=8`"
    assert keyword("x", written) != ""
    assert eval(written('a"b\\')) == 'a"b\\'


def told_of(word: str) -> tuple[str | None, str | None]:
    """The advice of `dsldec run` and of `decode` for a word without a value."""
    python = advice(UnknownArgument(word, takes=frozenset(inspect.signature(dsldec.decode).parameters)))
    with on_command_line():
        return advice(UnknownArgument(word, takes=frozenset(map(normal, flags("run"))))), python


def test_what_is_told_of_every_word(accepted: Accepted) -> None:
    """All words of the tables by their advice. A word that is lost shows here alone."""
    words: dict[tuple[str | None, str | None], list[str]] = {}
    for word in sorted(WORDS):
        words.setdefault(told_of(word), []).append(word)
    paragraphs = [
        f"{textwrap.fill(' '.join(alike), 110)}\n  run:    {run}\n  decode: {decode}\n"
        for (run, decode), alike in words.items()
    ]
    accepted("synonyms.txt", "\n".join(paragraphs))
