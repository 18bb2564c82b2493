"""The start of programs: which modules a verb imports, and the benchmark that times it."""

from __future__ import annotations

import pytest

from dsldec.tools import bench_start
from dsldec.tools.bench_goals import GoalOptions
from dsldec.tools.bench_start import BARE, TORCH, StartUp, Seconds


def test_the_first_line_and_the_end_are_compared_with_the_base() -> None:
    program = ("-c", "print(1)")
    taken = {program: [Seconds(2.0, 3.0), Seconds(4.0, 6.0)], TORCH: [Seconds(None, 2.0)] * 2}
    assert StartUp("first", program, line=True).goal(taken).ratio.median == pytest.approx(1.5)
    assert StartUp("whole", program).goal(taken).ratio.median == pytest.approx(2.25)
    taken[BARE] = [Seconds(None, 0.5)] * 2
    found = StartUp("more", program, more=True, at_most=3.0).goal(taken)
    assert found.ratio.median == pytest.approx(4.0)
    assert found.met is False


def test_only_wanted_programs_run() -> None:
    reported: list[str] = []
    (found,) = bench_start.goals(GoalOptions(rounds=1, only=("help",)), reported.append)
    assert found.name.startswith("help")
    assert found.ratio.median > 0
    assert not any("torch" in line for line in reported)


def test_a_program_that_fails_is_no_measurement(monkeypatch) -> None:
    monkeypatch.setattr(bench_start, "MEASURED", (StartUp("wrong", ("-c", "raise SystemExit('no such')")),))
    monkeypatch.setattr(bench_start, "TORCH", BARE)
    with pytest.raises(RuntimeError, match="no such"):
        bench_start.goals(GoalOptions(rounds=1), lambda line: None)
