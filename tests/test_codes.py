"""Every code has two policies: the bad one gets this code and no other, the good one gets no diagnostic."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dsldec
from dsldec.codes import CODES, Code

SHOWN = [code for code in CODES.values() if code.bad]


@pytest.mark.parametrize("code", SHOWN, ids=lambda code: code.code)
def test_the_bad_policy_gets_the_code_and_the_good_one_none(code: Code) -> None:
    _, diagnostics = dsldec.check(code.bad)
    assert [diagnostic.code for diagnostic in diagnostics] == [code.code]
    good, diagnostics = dsldec.check(code.good)
    assert good is not None
    assert diagnostics == []


def test_codes_of_the_language_have_examples() -> None:
    assert all(code.bad for code in CODES.values() if code.code[1:3] not in ("04", "05"))


def test_the_code_uses_exactly_the_listed_codes() -> None:
    package = Path(dsldec.__file__).parent
    texts = [path.read_text() for path in package.rglob("*.py") if path.name != "codes.py"]
    used = {found for text in texts for found in re.findall(r"\"([EW]0\d{3})\"", text)}
    assert used == set(CODES)
