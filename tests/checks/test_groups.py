"""Reductions by group in the checks: their types, and what no proof may take them for."""

from __future__ import annotations

import pytest

import dsldec

BEST = "commit top(masked, 1, by=conf)"


def codes(*lines: str) -> list[str]:
    text = "policy p():\n  window blocks(8)\n" + "".join(f"  {line}\n" for line in lines)
    return [one.code for one in dsldec.check(text)[1]]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("commit masked and std(conf, each=pos // 4) > 0 at least 1 by conf", "E0203"),
        ("commit masked and fraction(masked, each=pos // 4) > 0 at least 1 by conf", "E0203"),
        ("commit masked and count(masked, each=conf) > 0 at least 1 by conf", "E0204"),
        ("commit masked and count(masked, each=masked) > 0 at least 1 by conf", "E0204"),
        ("commit masked and min(conf, margin, each=pos) > 0 at least 1 by conf", "E0203"),
        ("commit top(masked, count(masked, each=pos // 4), by=conf) at least 1 by conf", "E0207"),
        (f"{BEST}\n  finish when any(masked, each=pos // 4)", "E0207"),
        ("commit masked and mean(conf, each=pos // 4) > entropy at least 1 by conf", "E0205"),
    ],
)
def test_misfits(line: str, code: str) -> None:
    assert codes(line) == [code]


@pytest.mark.parametrize(
    "condition",
    [
        "max(conf, each=pos // 2) > 0.5",
        "min(conf, each=pos // 2) > 0.5",
        "cumsum(max(conf, each=pos // 2 - 1)) < 2",
        "cumsum(mean(conf, each=run(masked))) < 2",
    ],
)
def test_no_direction_along_an_order_is_proved(condition: str) -> None:
    """Another group may have any value, and a position outside all groups has none."""
    line = f"commit prefix(masked, by=conf, while={condition}) at least 1 by conf"
    assert codes(line) == ["W0301"]


def test_what_is_never_negative_is_known_of_counts_and_sums() -> None:
    for sum_ in ("count(masked, each=pos // 2 - 1)", "sum(conf, each=run(masked))"):
        assert codes(f"commit prefix(masked, by=conf, while=cumsum({sum_}) < 9) at least 1 by conf") == []
        assert codes(f"commit prefix(masked, by=conf, while=cumsum(-{sum_}) < -9) at least 1 by conf") == [
            "W0301"
        ]
