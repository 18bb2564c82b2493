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


@pytest.mark.parametrize(
    ("lines", "parameters", "code", "help_"),
    [
        (["logits constrain(shape)", BEST], "", "E0201", "`shape: pattern`"),
        (['logits constrain("[0-9]+")', BEST], "", "E0101", 'in the policy\'s brackets `shape: pattern = "[0-9]+"`'),
        (["constrain(shape)", BEST], "shape: pattern", "E0101", "`logits constrain(pattern)`"),
        (["logits constrain(shape)", BEST], "shape: prob = 0.5", "E0204", "`shape: pattern`"),
        (["logits constrain(shape)", BEST], "shape: patern", "E0208", "did you mean `pattern`?"),
        (["logits constrain(shape)", BEST], "shape: regex", "E0208", "did you mean `pattern`?"),
        (["logits constrain(shape)", BEST], 'shape: pattern = "(?=a)b"', "E0491", "write what the text may be"),
        (["logits constrain(shape)", BEST], 'shape: pattern = ""', "E0490", "`()`"),
        (["t = 0.8 - 0.01 * step", "logits temperature(t)", BEST], "", "E0201", "write its value: `0.8 - 0.01 * step`"),
        (["uniform", BEST], "", "E0101", "`noise uniform`"),
        ([BEST, "fork 4 as i:", "  commit top(masked, i, by=conf)", "pick by mean(conf)"], "", "E0101", "`branch 4 as i:`"),
        ([BEST, "branch for i in 4:", "  commit top(masked, i, by=conf)", "pick by mean(conf)"], "", "E0101", "`branch 4 as i:`"),
        ([BEST, "branch n as i:", "  commit top(masked, i, by=conf)", "pick by mean(conf)"], "n: prob = 0.5", "E0204", "`n: int = 4 in 1..64`"),
        (["commit masked and net(conf) > 0.5 at least 1 by conf"], "net: network", "E0203", "`learned(net, ...)`"),
        (["commit masked and conf > percentile(conf, 0.5) at least 1 by conf"], "", "E0201", "did you mean `quantile`?"),
        (["logits ban(EOS)", BEST], "", "E0201", "did you mean `eos`?"),
        (["branch = 4", BEST], "", "E0101", "`my_branch = ...`"),
    ],
)  # fmt: skip
def test_a_mistake_has_a_help_to_type(lines: list[str], parameters: str, code: str, help_: str) -> None:
    found = only(*lines, parameters=parameters)
    assert found.code == code
    assert help_ in found.help


@pytest.mark.parametrize("name", ["at", "least", "by"])
def test_the_number_of_a_candidate_may_have_a_small_word_as_its_name(name: str) -> None:
    lines = [BEST, f"branch 4 as {name}:", f"  commit top(masked, {name}, by=conf)", "pick by mean(conf)"]
    assert dsldec.check(text(*lines))[0] is not None


def test_a_count_may_be_the_number_of_the_candidate_and_one_more() -> None:
    lines = ["branch 4 as i:", "  commit top(masked, 1 + i, by=conf)", "pick by mean(conf)"]
    assert dsldec.check(text(*lines))[0] is not None
    assert only(lines[0], "  commit top(masked, i, by=conf)", lines[2]).code == "E0301"
