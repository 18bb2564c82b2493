"""Are the fronts, AUP and the intervals those of their definitions and of published numbers?"""

from __future__ import annotations

import itertools
import math
import random

import pytest

from dsldec.tools.evaluation.intervals import wilson
from dsldec.tools.frontier.aup import aup
from dsldec.tools.frontier.points import Point, frontier_of, point_of
from dsldec.tools.frontier.resampling import BCA, WILSON, accuracy_interval, mean_interval
from dsldec.tools.measuring.scores import Measurement, PromptScore


def point(
    accuracy: float, forwards: float | None, speed: float = 0.0, curve: str = "a", rho: float = 0.0
) -> Point:
    return Point(curve, f"{curve}{accuracy}", {}, 10, 10, accuracy, (0, 1), "", forwards, rho, speed)


def test_aup_by_hand():
    assert aup([2.0], [80.0], 90.0) == 160.0
    weight = math.exp(-3 * (1 - 60 / 64))
    assert aup([3.0, 1.0], [60.0, 64.0], 64.0) == pytest.approx(64 + 0.5 * 2 * (60 * weight + 64))
    assert aup([1.0, 2.0], [50.0, 60.0], 50.0) == 50 + 0.5 * (50 + 60)  # a weight is at most 1
    assert aup([1.0, 2.0, 3.0], [50.0, 44.9, 50.0], 50.0) == aup([1.0, 3.0], [50.0, 50.0], 50.0)
    assert aup([1.0, 2.0], [50.0, 45.0], 50.0) > 50.0
    assert aup([], [], 50.0) == 0.0


@pytest.mark.parametrize(
    ("points", "best", "published"),
    [  # d3LLM leaderboard: data_llada.yaml, data_dream.yaml and dLLM_Results.csv
        ([(1, 74.02), (9.08, 73.10)], 74.98, 635.7170),
        ([(1, 74.00), (5.14, 72.63)], 74.98, 358.1422),
        ([(1, 74.79), (2.77, 74.68)], 74.98, 205.7811),
        ([(1, 32.76), (5.87, 30.92)], 41.15, 111.7453),
        ([(1, 42.00), (4.72, 41.60)], 63.60, 97.6125),
        ([(1, 83.68), (1.44, 79.00)], 83.94, 116.4864),
    ],
)  # fmt: skip
def test_aup_is_that_of_the_leaderboard(points, best, published):
    assert aup([rho for rho, _ in points], [y for _, y in points], best) == pytest.approx(published, abs=5e-4)


def test_the_front_is_what_a_slow_search_finds():
    generator = random.Random(0)
    for _ in range(50):
        points = [
            point(
                generator.randrange(5) / 5, generator.choice([None, 1, 2, 3, 4]), generator.choice([0, 1, 2])
            )
            for _ in range(generator.randrange(1, 9))
        ]
        found = frontier_of(points).points

        def beaten(one: Point, other: Point, gain) -> bool:
            at_least = other.accuracy >= one.accuracy and gain(other) >= gain(one)
            return at_least and (other.accuracy > one.accuracy or gain(other) > gain(one))

        for one in found:
            known = [other for other in found if other.forwards is not None]
            slow = one.forwards is not None and not any(beaten(one, o, lambda p: -p.forwards) for o in known)
            assert one.on_front == slow
            timed = [other for other in found if other.tokens_per_second]
            slow = one.tokens_per_second > 0 and not any(
                beaten(one, o, lambda p: p.tokens_per_second) for o in timed
            )
            assert one.on_speed_front == slow


def test_curves_have_the_best_accuracy_of_all_as_their_maximum():
    points = [
        point(0.9, 4, curve="a", rho=2.0),
        point(0.8, 4, curve="b", rho=2.0),
        point(0.78, 2, curve="b", rho=4.0),
    ]
    found = {curve.name: curve.aup for curve in frontier_of(points).curves}
    assert found["a"] == pytest.approx(180)
    assert found["b"] == pytest.approx(aup([2.0, 4.0], [80.0, 78.0], 90.0))
    assert [curve.aup for curve in frontier_of([point(0.5, 1)]).curves] == [None]


def test_equal_scores_get_wilsons_interval_and_others_the_bootstrap():
    pytest.importorskip("scipy")
    assert accuracy_interval([1.0] * 6) == (wilson(1.0, 6), WILSON)
    assert accuracy_interval([0.0] * 6) == (wilson(0.0, 6), WILSON)
    assert accuracy_interval([]) == ((0.0, 1.0), WILSON)
    (low, high), method = accuracy_interval([1.0] * 15 + [0.0] * 5)
    assert method == BCA
    assert 0.45 < low < 0.75 < high < 0.95
    assert accuracy_interval([1.0] * 15 + [0.0] * 5)[0] == (low, high)  # the seed is fixed
    assert mean_interval([3.0, 3.0]) == (3.0, 3.0)
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    assert 1 <= low < 2.5 < high <= 4


def test_the_interval_covers_the_mean_about_as_often_as_it_says():
    """180 samples of 40 prompts; 95 % of the intervals should have the true share. Wide enough for chance."""
    pytest.importorskip("scipy")
    generator, hits = random.Random(0), 0
    samples = [[float(generator.random() < 0.7) for _ in range(40)] for _ in range(180)]
    by_count = {
        count: accuracy_interval([1.0] * count + [0.0] * (40 - count))[0]
        for count in {int(sum(s)) for s in samples}
    }
    for sample in samples:
        low, high = by_count[int(sum(sample))]
        hits += low <= 0.7 <= high
    assert hits / len(samples) > 0.88


def test_a_failed_prompt_is_wrong_and_costs_nothing():
    pytest.importorskip("scipy")
    scores = (PromptScore(1.0, 4, 8), PromptScore(0.0, 0, 0, error="E0410: lost"))
    one = point_of("a", "a", {}, Measurement("a", scores, 2.0, (0, 1)), 3)
    assert (one.accuracy, one.forwards, one.failed, one.prompts, one.of) == (0.5, 4.0, 1, 2, 3)
    assert (one.tokens_per_forward, one.tokens_per_second) == (2.0, 4.0)


def test_ties_share_the_front():
    pairs = itertools.product((0.5,), (3, 3, 4))
    assert [one.on_front for one in frontier_of([point(*pair) for pair in pairs]).points] == [
        True,
        True,
        False,
    ]
