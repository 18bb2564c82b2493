"""Does `benchmarks/check.py` find a ratio that is too large, in the table as it is checked in?

No time is measured or asserted.
"""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from dsldec.cli import main

FOLDER = Path(__file__).parent.parent / "benchmarks"
spec = importlib.util.spec_from_file_location("benchmarks_check", FOLDER / "check.py")
assert spec is not None
assert spec.loader is not None
check = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check)


@pytest.fixture
def expected() -> dict[str, Any]:
    return json.loads((FOLDER / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture
def found(expected: dict[str, Any]) -> dict[str, Any]:
    """The same results as those of the table."""
    ratios = {name: row["ratio"] for name, row in expected["ratios"].items()}
    return copy.deepcopy({"machine": {}, "ratios": ratios, "forwards": expected["forwards"]})


def test_the_same_results_pass(expected: dict[str, Any], found: dict[str, Any]) -> None:
    assert check.differences(expected, found) == []
    assert all(row["ratio"] > 0 and row["tolerance"] > 1 for row in expected["ratios"].values())


def test_a_smaller_ratio_passes_and_one_beyond_its_tolerance_does_not(
    expected: dict[str, Any], found: dict[str, Any]
) -> None:
    name, row = next(iter(expected["ratios"].items()))
    found["ratios"][name] = row["ratio"] / 100
    assert check.differences(expected, found) == []
    found["ratios"][name] = row["ratio"] * row["tolerance"] * 1.01
    (line,) = check.differences(expected, found)
    assert line.startswith(f"{name}: ")


def test_another_number_of_forwards_and_a_missing_row_are_found(
    expected: dict[str, Any], found: dict[str, Any]
) -> None:
    name = next(iter(expected["forwards"]))
    found["forwards"][name] += 1
    found["ratios"].pop(next(iter(found["ratios"])))
    found["ratios"]["new"] = 1.0
    assert len(check.differences(expected, found)) == 3


def test_an_update_keeps_tolerances(expected: dict[str, Any], found: dict[str, Any]) -> None:
    again = check.updated(expected, found)
    assert again["ratios"] == expected["ratios"]
    assert again["forwards"] == expected["forwards"]


@pytest.mark.parametrize("command", check.COMMANDS.values())
def test_the_commands_have_options_of_dsldec(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    verb, part, *options = command.split()
    main([verb, part, "--help"])
    help_text = capsys.readouterr().out
    assert [one for one in options if one.startswith("--") and one not in help_text] == []
