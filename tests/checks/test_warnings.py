"""Warnings of conditions and bounds without effect, and of reductions over what a commit left."""

from __future__ import annotations

from pathlib import Path

import pytest

import dsldec

PARAMETERS = "level: prob = 0.5, n: int = 4 in 1..9, flag: bool = false, free: real = 1"
BEST = "commit top(masked, 1, by=conf)"


def warnings_of(*lines: str, window: str = "blocks(8)") -> list[str]:
    """The codes of the warnings, without those of unused names."""
    text = f"policy p({PARAMETERS}):\n  window {window}\n" + "".join(f"  {line}\n" for line in lines)
    _, diagnostics = dsldec.check(text)
    assert all(d.code[0] == "W" for d in diagnostics), diagnostics
    return [d.code for d in diagnostics if d.code not in ("W0201", "W0202", "W0301")]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["commit masked and conf > 2 at least 1 by conf"], "W0303"),
        (["commit masked and doubt >= 0 at least 1 by conf"], "W0303"),
        (["commit masked and level + 2 < conf at least 1 by conf"], "W0303"),
        (["commit masked and n > 0 at least 1 by conf"], "W0303"),
        (["commit masked and 0 <= conf <= 1 at least 1 by conf"], "W0303"),
        (["sure = conf > 1.5", "commit masked and sure at least 1 by conf"], "W0303"),
        ([BEST, "fill when false"], "W0303"),
        ([BEST, "fill when progress > 1"], "W0303"),
        (["lookahead 4 accept p(draft) > 2", BEST], "W0303"),
        (["state k: int = 1 per block", "set k = min(k + 1, 4)", "commit masked and k >= 5 at least 1 by conf"], "W0303"),
        (["commit masked at least n + 6 by conf at most 6 by conf"], "W0305"),
        (["commit masked at least 3 by conf at most 2 by conf"], "W0305"),
        (["commit masked and random > 1 at least 1 by conf"], "W0303"),
        (["commit masked and random(pos) > 2 at least 1 by conf"], "W0303"),
        (["phase a when false else b:", f"  {BEST}", "phase b:", f"  {BEST}"], "W0303"),
        ([BEST, "branch 2 as i:", "  commit masked and i >= 64", "pick by mean(conf)"], "W0303"),
        ([BEST, "branch 2 as i:", "  commit masked and conf > mean(conf)", "pick by mean(conf)"], "W0307"),
        ([BEST, "stay at most 0"], "W0304"),
        ([BEST, "edit committed as token at most 0"], "W0304"),
        ([BEST, "revoke committed at most n - 9"], "W0304"),
        (["phase a at most 0 visits else b:", f"  {BEST}", "  next b", "phase b:", f"  {BEST}", "  next a"], "W0304"),
        (["commit masked and conf > 0.9 at least 1 by conf", "fill when mean(conf) > 0.8"], "W0307"),
        (["commit masked and conf > 0.9 at least 1 by conf", "rest = max(doubt)", "fill when rest < 0.1"], "W0307"),
    ],
)  # fmt: skip
def test_what_has_no_effect_is_a_warning(lines: list[str], code: str) -> None:
    assert warnings_of(*lines) == [code]


def test_a_window_with_its_least_length_above_its_largest() -> None:
    assert warnings_of(BEST, window="until(1, min=5, max=4)") == ["W0306"]
    assert warnings_of(BEST, window="until(1, min=4, max=4)") == []


@pytest.mark.parametrize(
    "lines",
    [
        ["commit masked and conf > level at least 1 by conf"],
        ["commit masked and conf >= 1 at least 1 by conf"],
        ["commit masked and conf > free at least 1 by conf"],
        ["commit masked and kl(before) < 1000 at least 1 by conf"],
        [BEST, "fill when flag"],
        [BEST, "fill when progress >= 1 or idle"],
        [
            "def over(x, limit) = x > limit",
            "commit masked and (over(conf, 2) or over(conf, level)) at least 1 by conf",
        ],
        ["sure = mean(conf)", "commit masked and conf > sure at least 1 by conf"],
        ["sure = mean(conf)", "commit masked and conf > 0.9 at least 1 by conf", "fill when sure > 0.9"],
        ["commit masked and conf > 0.9 at least 1 by conf", "fill when mean(conf, over=masked) > 0.8"],
        ["commit masked and mean(conf) > 0.2 at least 1 by conf at most 8 by conf"],
        ["commit masked and before(conf) >= 0 at least 1 by conf"],
        ["commit masked at least n by conf at most 8 by conf"],
        ["commit masked and js(before) < 1 at least 1 by conf"],
        ["commit masked and random(pos) < level at least 1 by conf"],
        ["commit masked and count(masked, each=run(committed)) >= 1 at least 1 by conf"],
        [BEST, "branch n as i:", "  commit masked and i == 1 and conf > 0.9", "pick by mean(conf)"],
        ["state k: int = 1 per block", "set k = k + 1", "commit masked and k >= 5 at least 1 by conf"],
        [BEST, "revoke committed at most committed_now - n by doubt"],
    ],
)
def test_what_may_have_an_effect_is_none(lines: list[str]) -> None:
    assert warnings_of(*lines) == []


def test_a_prefix_of_the_first_and_of_likely_positions_has_no_warning() -> None:
    prefix = "commit prefix(masked, by=conf, while=rank == 1 or conf > level)"
    text = f"policy p({PARAMETERS}):\n  window blocks(8)\n  {prefix}\n"
    assert {d.code for d in dsldec.check(text)[1]} == {"W0201"}


def test_no_shipped_policy_has_a_warning() -> None:
    root = Path(__file__).parents[2]
    paths = [*root.glob("policies/*/*.policy")]
    assert len(paths) > 70
    for path in paths:
        _, diagnostics = dsldec.check(path.read_text())
        assert [d for d in diagnostics if d.code >= "W0303"] == []
