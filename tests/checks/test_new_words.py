"""The mistakes of somebody who writes the newer words for the first time: what is proved, and what is typed."""

from __future__ import annotations

import pytest

import dsldec

BEST = "commit masked and conf > 0.9 at least 1 by conf"


def text(*lines: str, parameters: str = "", window: str = "blocks(8)") -> str:
    return f"policy p({parameters}):\n  window {window}\n" + "".join(f"  {line}\n" for line in lines)


def only(*lines: str, parameters: str = "", window: str = "blocks(8)") -> dsldec.Diagnostic:
    _, diagnostics = dsldec.check(text(*lines, parameters=parameters, window=window))
    (found,) = [one for one in diagnostics if one.code.startswith("E")]
    return found


def test_with_a_pattern_the_likeliest_id_is_not_sure_to_be_written() -> None:
    commit = "commit masked as likeliest at least 1 by conf"
    assert dsldec.check(text(commit))[0] is not None
    found = only("logits constrain(shape)", commit, parameters="shape: pattern")
    assert found.code == "E0301"
    assert "the pattern forbids" in found.label
    with pytest.raises(dsldec.PolicyError, match="E0301"):
        dsldec.load(text(commit)).constrained()
