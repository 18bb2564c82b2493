"""Do the benchmarks with goals print what they measured, and do the goals hold where they should?

No time is measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dsldec.cli import main
from dsldec.tools import bench_goals
from dsldec.tools.bench_goals import Goal, GoalOptions
from dsldec.tools.rounds import Ratio

FOUND = [
    Goal("small", Ratio(1.5, 1.4, 1.6), 2.0),
    Goal("large", Ratio(2.5, 2.4, 2.6), 2.0),
    Goal("stated", Ratio(0.123456, 0.1, 0.2)),
]


def test_a_goal_holds_up_to_its_number_and_may_be_absent() -> None:
    assert [goal.met for goal in FOUND] == [True, False, None]
    assert Goal("equal", Ratio(2.0, 1.0, 3.0), 2.0).met


def test_the_beginnings_of_names_select() -> None:
    assert GoalOptions().wants("anything")
    options = GoalOptions(only=("static", "dico, eager"))
    assert [options.wants(name) for name in ("static, eager", "dico, eager, V=818", "dico")] == [
        True,
        True,
        False,
    ]


def test_the_command_prints_a_table_and_writes_every_ratio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[GoalOptions] = []

    def goals(options: GoalOptions, report: bench_goals.Report) -> list[Goal]:
        seen.append(options)
        report("a line of progress")
        return [goal for goal in FOUND if options.wants(goal.name)]

    monkeypatch.setitem(sys.modules, "dsldec.tools.bench_overhead", SimpleNamespace(goals=goals))
    file = tmp_path / "found.json"
    command = ["bench", "overhead", "--only", "s", "--rounds", "3", "--threads", "1", "--json", str(file)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "| small | 1.5 (1.4 to 1.6) | at most 2 | met |" in out
    assert "| stated | 0.123 (0.1 to 0.2) |  |  |" in out
    assert "large" not in out
    assert "a line of progress" in err
    assert seen == [GoalOptions(3, 1, ("s",), str(file))]
    rows = json.loads(file.read_text(encoding="utf-8"))["goals"]
    assert rows[0] == {"name": "small", "ratio": 1.5, "quartiles": [1.4, 1.6], "at_most": 2.0}


def test_a_missed_goal_is_named() -> None:
    assert list(bench_goals.table(FOUND))[3].endswith("| at most 2 | missed |")
