"""The user's reference, `grammar/README.md`: its policies are sound and its table is the table of words."""

from __future__ import annotations

import re

import pytest
import torch

import dsldec
from dsldec.checks.kinds import signature
from dsldec.language.words import WORDS, Polarity, Word
from dsldec.resources import grammar_file

REFERENCE = (grammar_file().parent / "README.md").read_text(encoding="utf-8")
POLICIES = re.findall(r"^```policy\n(.*?)^```$", REFERENCE, re.DOTALL | re.MULTILINE)


def row(word: Word) -> str:
    """A word's line of the table."""
    if word.gives is None:
        gives = "a number"
    else:
        gives = str(word.gives.kind) + (f", {word.gives.polarity}" if word.gives.polarity is not Polarity.NONE else "")
    return f"| `{signature(word)}` | {gives} | {word.meaning} |"


def test_the_table_is_current() -> None:
    wanted = "\n".join(map(row, WORDS.values()))
    assert REFERENCE.endswith(f"|---|---|---|\n{wanted}\n"), f"put these lines at the end of grammar/README.md:\n{wanted}"


@pytest.mark.parametrize("text", POLICIES)
def test_its_policies_run(text: str) -> None:
    policy, diagnostics = dsldec.check(text)
    assert diagnostics == []
    assert policy is not None
    mask = 9
    step = policy.compile("eager", mask_id=mask)
    logits = torch.randn(2, 6, 10, generator=torch.Generator().manual_seed(0))
    after, _, _ = step(logits, torch.full((2, 6), mask), torch.ones(2, 6, dtype=torch.bool), step.start(2, 6))
    assert (after != mask).any(1).all()


def test_there_is_a_tour() -> None:
    assert len(POLICIES) == 3
