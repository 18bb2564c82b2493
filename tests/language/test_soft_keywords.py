"""Keywords that may be names: they are reserved only where they are read."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.language.fmt import formatted
from dsldec.language.words import SOFT_KEYWORDS
from dsldec.source import Source


def text_with(word: str, other: str = "n") -> str:
    """A policy with this name for a parameter, and the other name for a state, where keywords stand too."""
    return (
        f"policy p({word}: int = 2 in 1..9, level: prob = 0.5 in 0.1..0.9):\n"
        "  window blocks(8)\n"
        f"  state {other}: int = 0 per block\n"
        f"  set {other} = {other} + {word}\n"
        f"  commit masked and conf > level as token at least {word} by conf at most max(1, {other} - {word}) by conf\n"
        f"  commit top(masked, {word}, by=conf, each=pos // {word})\n"
        f"  fill when {other} * {word} - {word} > -{word} and ({word} > 1 or {other} == {word})\n"
    )


@pytest.mark.parametrize("word", sorted(SOFT_KEYWORDS))
def test_a_soft_keyword_may_be_a_parameter_or_a_state(word: str) -> None:
    for text in (text_with(word), text_with("n", word)):
        policy, diagnostics = dsldec.check(text)
        assert policy is not None
        assert diagnostics == []
        assert formatted(Source(text, "x"))[0] == text
    plain, named = (dsldec.load(text_with(name)).program for name in ("qqq", word))
    assert str(plain).replace("qqq", word) == str(named)


@pytest.mark.parametrize("word", sorted(SOFT_KEYWORDS))
def test_a_soft_keyword_may_name_a_value(word: str) -> None:
    text = f"policy p():\n  window blocks(8)\n  {word} = 0.5 * max(conf)\n  commit masked and conf >= {word} at least 1 by conf\n"
    policy, diagnostics = dsldec.check(text)
    assert policy is not None
    assert diagnostics == []
    assert formatted(Source(text, "x"))[0] == text


@pytest.mark.parametrize("word", sorted(SOFT_KEYWORDS))
@pytest.mark.parametrize(
    "line", ["fill when {0} > 3", "commit top(masked, {0}, by=conf)", "x = {0}", "set n = n + {0}"]
)
def test_without_such_a_name_the_keyword_is_a_mistake(word: str, line: str) -> None:
    text = f"policy p:\n  window blocks(8)\n  state n: int = 0 per block\n  {line.format(word)}\n  commit masked\n"
    _, diagnostics = dsldec.check(text)
    wrong = [d for d in diagnostics if d.code[0] == "E"]
    assert [(d.code, d.span.text) for d in wrong if d.span] == [("E0101", word)]
    assert wrong[0].message == f"a name or value is missing before `{word}`"


@pytest.mark.parametrize(
    ("line", "word", "message"),
    [
        ("commit at least 1 by conf", "at", "a name or value is missing before `at`"),
        ("commit masked as at least 1 by conf", "at", "a name or value is missing before `at`"),
        ("commit masked at least by conf", "by", "a name or value is missing before `by`"),
        ("commit masked at leest 1 by conf", "leest", "`leest` cannot stand here"),
        ("when = 3", "when", "`when` is a word of the language"),
        ("def most(x) = x + 1", "most", "`most` is a word of the language"),
    ],
)
def test_messages_stay(line: str, word: str, message: str) -> None:
    _, diagnostics = dsldec.check(f"policy p:\n  window blocks(8)\n  {line}\n  commit masked\n")
    assert [(d.span.text, d.message) for d in diagnostics if d.code[0] == "E" and d.span] == [(word, message)]
