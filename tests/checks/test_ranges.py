"""The range of an operation holds what a step computes for any numbers of the ranges of its inputs."""

from __future__ import annotations

import math
import random

import pytest
import torch

from dsldec.checks.expression_ranges import compared
from dsldec.checks.ranges import ANY_INT, OPERATIONS, NumberRange, as_real, widened
from dsldec.language.arithmetic import ELEMENTWISE, float32

INTS = [
    0,
    1,
    2,
    3,
    7,
    64,
    65536,
    2**24 - 1,
    2**24,
    2**24 + 1,
    10**9,
    10**18,
    2**53 + 1,
    2**60,
    2**62,
    2**63 - 1,
]
REALS = [
    0.0,
    1e-30,
    0.1,
    0.3,
    0.5,
    0.6931472,
    0.99,
    1.0,
    1.5,
    2.7182817,
    64.0,
    88.0,
    88.5,
    2.0**24,
    1e18,
    1e30,
    math.inf,
]
COMPARISONS = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}  # fmt: skip
ONE_INPUT = ("negate", "absolute", "exp", "log", "sqrt", "floor", "ceil", "truncate")
Number = int | float


def some(chance: random.Random) -> tuple[NumberRange, list[Number]]:
    """A range and some of its numbers, its ends among them."""
    is_int = chance.random() < 0.5
    ends: list[Number] = []
    for _ in range(2):
        number = chance.choice(INTS) if is_int else float32(chance.choice(REALS))
        ends.append(number if chance.random() < 0.6 else -number)
    low, high = min(ends), max(ends)
    inside: list[Number] = [low, high]
    for one in (*INTS, *REALS):
        for number in (one, -one):
            if low <= number <= high:
                inside.append(int(number) if is_int and isinstance(one, int) else float32(number))
    inside = [x for x in inside if isinstance(x, int) == is_int]
    gap = not is_int and chance.random() < 0.2
    return NumberRange(low, high, integer=is_int, gap=gap), [*inside, *([math.nan] if gap else [])]


def holds(found: NumberRange, number: Number) -> bool:
    if isinstance(number, float) and math.isnan(number):
        return found.gap
    return found.low <= number <= found.high and (isinstance(number, int) or not found.integer)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_range_holds_every_result(name: str) -> None:
    chance = random.Random(name)
    for _ in range(3_000):
        (a, of_a), (b, of_b) = some(chance), some(chance)
        given = (a,) if name in ONE_INPUT else (a, b)
        found = OPERATIONS[name](*given)
        for x in chance.choices(of_a, k=4):
            for y in chance.choices(of_b, k=4):
                number = ELEMENTWISE[name](*((x, y)[: len(given)]))
                assert holds(found, number), (name, given, x, y, number, found)


@pytest.mark.parametrize("operator", COMPARISONS)
def test_a_decided_comparison_has_this_result(operator: str) -> None:
    chance = random.Random(operator)
    decided = 0
    for _ in range(3_000):
        (a, of_a), (b, of_b) = some(chance), some(chance)
        if (truth := compared(operator, a, b)) is None:
            continue
        decided += 1
        for x in chance.choices(of_a, k=4):
            for y in chance.choices(of_b, k=4):
                assert ELEMENTWISE[COMPARISONS[operator]](x, y) == truth, (a, operator, b, x, y)
    assert decided > 500


def test_a_joined_and_a_widened_range_hold_both() -> None:
    chance = random.Random(0)
    for _ in range(3_000):
        (a, of_a), (b, of_b) = some(chance), some(chance)
        for found in (a.joined(b), widened(as_real(a), as_real(b)) if not a.integer else ANY_INT.joined(b)):
            for x in (*of_a, *of_b):
                assert holds(found, x if found.integer else float32(x)), (a, b, x, found)


def test_exponentials_and_logarithms_of_torch_are_in_the_range_of_one_number() -> None:
    numbers = torch.cat([torch.linspace(-90, 89, 4_001), torch.rand(2_000) * 4 - 2]).float()
    for name, function, given in (("exp", torch.exp, numbers), ("log", torch.log, numbers.abs() + 1e-6)):
        for x, result in zip(given.tolist(), function(given).tolist(), strict=True):
            assert holds(OPERATIONS[name](NumberRange(x, x)), result), (name, x, result)
