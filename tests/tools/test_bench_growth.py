"""`dsldec bench growth`: its ratios are for each unit, and its methods do the same work."""

from __future__ import annotations

import pytest

from dsldec.tools import bench_growth
from dsldec.tools.bench_goals import GoalOptions
from dsldec.tools.bench_growth import DecodeSize, FreeDenoiser, StepSize
from dsldec.tools.rounds import Ratio


def test_every_ratio_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {what: (StepSize(1, 8, 64), StepSize(2, 8, 64)) for what in bench_growth.STEPS}
    monkeypatch.setattr(bench_growth, "STEPS", small)
    sizes = (DecodeSize(generated=32), DecodeSize(2, generated=32))
    monkeypatch.setattr(bench_growth, "DECODES", {"prompts, each token": sizes})
    monkeypatch.setattr(bench_growth, "PROMPTS", 5)
    monkeypatch.setattr(bench_growth, "_policies", lambda: [("static", "eager")])
    found = bench_growth.goals(GoalOptions(rounds=1), lambda text: None)
    names = [one.name for one in found]
    assert len(set(names)) == len(names) == len(small) + 1 + 3
    assert all(one.ratio.median > 0 for one in found)
    assert [one.name for one in found if one.at_most is None] == [names[-1]]
    only = bench_growth.goals(GoalOptions(rounds=1, only=("decode",)), lambda text: None)
    assert [one.name for one in only] == ["decode, eager: prompts, each token, 1 to 2"]


def test_a_time_is_divided_by_its_units() -> None:
    assert bench_growth._divided(Ratio(8.0, 6.0, 10.0), 4) == Ratio(2.0, 1.5, 2.5)


def test_prompts_together_and_one_after_the_other_take_other_numbers_of_calls() -> None:
    policy = bench_growth.load("static").bind(tokens=4, block=16)
    prompts, lengths, calls = [[n, 1] for n in range(6)], [4, 40, 8, 8, 4, 40], []
    for together in (6, 2):
        denoiser = FreeDenoiser(2, 16, 50)
        assert bench_growth._many(denoiser, prompts, lengths, policy, 2, together) == sum(lengths)
        calls.append(denoiser.calls)
    assert calls[0] < calls[1]
