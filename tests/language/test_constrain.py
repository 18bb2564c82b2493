"""The line `logits constrain(...)` and parameters of kind `pattern`."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.language.fmt import formatted
from dsldec.source import Source

from ..shipped import LIBRARY

GOOD = 'policy p(shape: pattern = "a # b|c"):\n  window all\n  logits constrain(shape)\n  fill\n'


def codes(text: str) -> list[str]:
    return [one.code for one in dsldec.check(text)[1]]


def test_a_pattern_has_a_text_or_no_default() -> None:
    assert dsldec.load(GOOD).parameters == {"shape": "a # b|c"}
    assert dsldec.load(GOOD.replace(' = "a # b|c"', "")).parameters == {"shape": None}
    assert dsldec.load(GOOD, shape="x").parameters == {"shape": "x"}
    assert dsldec.load(GOOD.replace('"a # b|c"', '"""a"b"""')).parameters == {"shape": 'a"b'}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (GOOD.replace('"a # b|c"', "0.5"), "E0208"),
        (GOOD.replace('"a # b|c"', '"a" in 0..1'), "E0208"),
        (GOOD.replace("shape: pattern", "shape: real"), "E0208"),
        (GOOD.replace("(shape)", "(0.5)"), "E0204"),
        (GOOD.replace("(shape)", "()"), "E0203"),
        (GOOD.replace("logits constrain(shape)", "logits constrain"), "E0203"),
        (GOOD.replace("  fill", "  logits constrain(shape)\n  fill"), "E0302"),
        (GOOD.replace("  fill", "  commit masked and shape"), "E0204"),
        ("policy p(n: int):\n  window all\n  commit top(masked, n + 1, by=conf)\n", "E0213"),
    ],
)
def test_mistakes(text: str, code: str) -> None:
    assert code in codes(text)


def test_a_value_must_be_a_text() -> None:
    with pytest.raises(dsldec.UsageError, match="E0499"):
        dsldec.load(GOOD, shape=4)


def test_the_formatter_keeps_a_pattern() -> None:
    source = GOOD.replace("(shape: ", "( shape : ")
    assert formatted(Source(source, "p")) == (GOOD, [])


@pytest.mark.parametrize("name", LIBRARY)
def test_a_policy_without_a_pattern_gets_one(name: str) -> None:
    policy = dsldec.load(name)
    with_one = policy.constrained()
    assert (policy.constrains, with_one.constrains) == (None, "pattern")
    assert with_one.parameters == {**policy.parameters, "pattern": None}
    assert with_one.constrained() is with_one
    assert with_one.facts.forwards_formula == policy.facts.forwards_formula


def test_the_added_lines_fit_any_text() -> None:
    for text in (
        "policy best:\n  window all # no\n  fill",
        "policy best( ):\n  window blocks(\n    4)\n  pattern = 3\n  commit top(masked, pattern, by=conf)\n",
        "policy best(a: int = 2 in 1..4,):\n\twindow blocks(a)\n\tfill\n",
    ):
        policy, wrong = dsldec.check(text)
        assert policy is not None, wrong
        assert policy.constrained().constrains in ("pattern", "pattern_2")
