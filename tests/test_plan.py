"""Are the numbers of a plan those of the facts under the policy's parameter values?"""

from __future__ import annotations

import pytest

import dsldec
from dsldec.plan import Plan

from .shipped import LIBRARY

GUIDED = (
    "policy guided(scale: real = 1.5):\n  window all\n  logits cfg(scale)\n  commit top(masked, 1, by=conf)\n"
)
SLIDING = "policy slid(n: int = 5 in 1..9):\n  window sliding(max_masks=3, max_length=n)\n  commit top(masked, 1, by=conf)\n"


@pytest.mark.parametrize("name", LIBRARY)
@pytest.mark.parametrize("gen_length", [1, 7, 64, 256])
def test_a_plan_has_the_numbers_of_the_facts(name: str, gen_length: int) -> None:
    policy = dsldec.load(name)
    plan, facts, values = policy.plan(gen_length), policy.facts, policy.parameters
    assert plan.block_length == facts.block_length(gen_length, values)
    assert plan.max_forwards == facts.forwards_bound(gen_length, values) == plan.max_forwards_of(gen_length)
    assert plan.rows_per_forward == facts.rows_per_forward(values)
    assert plan.drafts == facts.lookahead(values)
    assert plan.guidance == facts.guidance(values)
    assert plan.kept_bytes(100) == facts.kept_bytes(100, values)
    assert plan.max_forwards_of(9, given_inside=True) == facts.forwards_bound(9, values, True)


def test_every_number_is_bound() -> None:
    plan = dsldec.load("static", block=4, tokens=2).plan(10)
    assert (plan.window, plan.window_size, plan.window_parameter) == ("blocks", 4, "block")
    assert (plan.block_length, plan.floor_per_step, plan.max_forwards) == (4, 2, 5)
    plan = dsldec.load("static", block=4).plan(3)
    assert (plan.window_size, plan.block_length) == (4, 3)
    plan = dsldec.load(SLIDING, n=7).plan(3)
    assert (plan.window, plan.window_size, plan.max_masks, plan.block_length) == ("sliding", 7, 3, 3)
    assert plan.caches == ("none", "exact")


def test_drafts_and_guidance_count_rows() -> None:
    policy = dsldec.load(GUIDED, scale=0.5)
    assert (policy.plan(8).guidance, policy.plan(8).rows_per_forward) == (0.5, 2)
    plan = policy.plan(8, lookahead=3)
    assert (plan.drafts, plan.rows_per_forward, plan.window_size) == (3, 6, None)
    assert dsldec.load("freedave", drafts=4).plan(8).drafts == 4


def test_a_plan_is_frozen_and_equal_by_value() -> None:
    plan = dsldec.load("threshold").plan(64)
    assert plan == dsldec.load("threshold").plan(64) != dsldec.load("threshold").plan(65)
    with pytest.raises(AttributeError):
        plan.gen_length = 3  # type: ignore[misc]
    assert isinstance(plan, Plan)


@pytest.mark.parametrize("wrong", [0, -1, "8", None, 2.5])
def test_a_length_of_nothing_is_refused(wrong: int) -> None:
    with pytest.raises(dsldec.UsageError, match="`gen_length` must be a whole number of 1 or more"):
        dsldec.load("threshold").plan(wrong)
