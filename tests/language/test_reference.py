"""The user's reference, `grammar/README.md`: its policies run, its tables are those of the code.

`pytest --accept` writes the tables anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import torch

import dsldec
from dsldec.checks.arguments import signature
from dsldec.language import limits
from dsldec.language.fmt import formatted
from dsldec.language.words import DRAWS, NOISES, STATEMENTS, TRANSFORMS, WINDOWS, WORDS, Polarity, Word
from dsldec.resources import grammar_file
from dsldec.source import Source
from dsldec.tools import cases
from dsldec.tools.cases import read_cases

from ..networks import bound

PAGE = grammar_file().parent / "README.md"
REFERENCE = PAGE.read_text(encoding="utf-8")
POLICIES = re.findall(r"^```policy\n(.*?)^```$", REFERENCE, re.DOTALL | re.MULTILINE)


def row(word: Word) -> str:
    """A word's line of the table."""
    if word.gives is None:
        gives = "what x is" if word.name in ("before", "shift") else "a number"
    else:
        gives = str(word.gives.kind) + (
            f", {word.gives.polarity}" if word.gives.polarity is not Polarity.NONE else ""
        )
    return f"| `{signature(word)}` | {gives} | {word.meaning} |"


def shapes(words: Mapping[str, Word]) -> list[str]:
    return [f"| `{signature(word)}` | {word.meaning} |" for word in words.values()]


TABLES = {
    "| statement | meaning |\n|---|---|": [
        f"| `{form.replace('|', chr(92) + '|')}` | {meaning} |" for form, meaning in STATEMENTS.values()
    ],
    "| after `window` | meaning |\n|---|---|": shapes(WINDOWS),
    "| after `noise` | meaning |\n|---|---|": shapes(NOISES),
    "| after `draw` | meaning |\n|---|---|": shapes(DRAWS),
    "| after `logits` | meaning |\n|---|---|": shapes(TRANSFORMS),
    "| word | gives | meaning |\n|---|---|---|": [row(word) for word in WORDS.values()],
}


@pytest.mark.parametrize("head", TABLES)
def test_the_tables_are_current(head: str, request: pytest.FixtureRequest) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page.count(head) == 1
    before, after = page.split(head)
    table = re.match(r"(\n\|.*)*", after)
    assert table is not None
    kept = [line for line in table.group().split("\n") if line.startswith("| `NAME = EXPR`")]
    wanted = "\n" + "\n".join([*TABLES[head], *kept])
    if request.config.getoption("--accept"):
        PAGE.write_text(before + head + wanted + after[table.end() :], encoding="utf-8")
        return
    assert table.group() == wanted, "run `pytest --accept tests/language/test_reference.py`"


@pytest.mark.parametrize("text", POLICIES)
def test_its_policies_run(text: str) -> None:
    policy, diagnostics = dsldec.check(text)
    assert diagnostics == [], "\n\n".join(map(str, diagnostics))
    assert policy is not None
    mask = 9
    step = bound(policy).compile("eager", mask_id=mask)
    logits = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    state = step.start(2, 6, vocab_size=10)
    after, _, _, _ = step(logits, torch.full((2, 6), mask), torch.ones(2, 6, dtype=torch.bool), state)
    if not policy.program.phases[0]:
        assert (after != mask).any(1).all()


@pytest.mark.parametrize("text", POLICIES)
def test_its_policies_are_formatted(text: str) -> None:
    assert formatted(Source(text)) == (text, [])


def test_there_is_a_tour_from_three_lines_to_phases_with_states() -> None:
    assert len(POLICIES[0].splitlines()) == 3
    assert any("phase" in text and "state" in text for text in POLICIES)


def test_its_case_is_one() -> None:
    (case,) = re.findall(r"^```cases\n(.*?)^```$", REFERENCE, re.DOTALL | re.MULTILINE)
    cases, diagnostics = read_cases(Source(case))
    assert diagnostics == []
    assert len(cases) == 1


def test_the_limits_are_those_of_the_code() -> None:
    section = REFERENCE.split("## Limits\n")[1].split("\n## ")[0]
    numbers = set(
        re.findall(
            r"(?<=[| ])\d[\d.e+]*(?=[ ,])",
            " ".join(line.split("|")[2] for line in section.split("\n") if line.startswith("|")),
        )
    )
    of_texts = (
        limits.LARGEST_TEXT,
        limits.LARGEST_POLICY,
        limits.DEEPEST_NESTING,
        limits.LARGEST_INT,
        f"{limits.LARGEST_REAL:g}",
    )
    of_work = (limits.MOST_DECLARED, limits.LARGEST_PROOF, limits.LARGEST_PROOFS, limits.MOST_DIAGNOSTICS)
    of_cases = (cases.LARGEST_TEXT, cases.MOST_FORWARDS, cases.MOST_POSITIONS, cases.MOST_SQUARES)
    assert numbers == {str(number) for number in (*of_texts, *of_work, *of_cases)}
