"""Each published rule that chooses the ends of its blocks, or decides by groups and by the step before, gives
as a policy the canvas after every forward that its naive loop gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dsldec.policy import Policy

from ..toy import MASK, ToyDenoiser
from . import adaptive, rules
from .test_published import PROMPTS, actual, loaded, see

# Rule, and the settings it is compared with, the policy's own defaults first.
CASES: dict[str, list[dict[str, Any]]] = {
    "cadllm": [
        {},
        {"begin": 8, "shortest": 2, "longest": 20, "fewest_steps": 3, "most_steps": 9},
        {"begin": 1, "shortest": 1, "longest": 64, "high": 0.6, "low": 0.1},
    ],
    "entropy_jump": [
        {},
        {"jump": 0.0, "shortest": 1, "longest": 9, "confidence": 0.5},
        {"jump": 0.2, "shortest": 3, "longest": 64},
    ],
    "multi_block": [
        {},
        {"block": 7, "buffer": 2, "confidence": 0.5, "add": 0.3, "decoded": 0.9},
        {"block": 4, "buffer": 3, "confidence": 0.7, "add": 0.5, "decoded": 0.25},
    ],
    "less": [
        {},
        {"keep": 6, "confidence": 0.3, "calm": 0.01, "block": 16},
        {"keep": 1, "confidence": 0.3, "calm": 0.1, "patience": 1, "block": 64},
    ],
    "dsb": [{}, {"block": 8, "confidence": 0.5}, {"block": 16, "longest": 16, "confidence": 0.7}],
}
WORLDS = ((1, 1.0), (2, 4.0), (3, 2.5))  # seed and gain of the toy denoiser


def expected(
    name: str, denoiser: ToyDenoiser, prompt: list[int], generated: int, **settings: Any
) -> list[list[int]]:
    """The canvas after each forward of the naive loop."""
    rule: Callable[..., rules.Steps] = getattr(adaptive, name)
    steps = rule(see(denoiser, prompt), [None] * generated, **settings)
    return [[MASK if id_ is None else id_ for id_ in canvas] for canvas in steps]


def assert_equal(
    policy: Policy, name: str, denoiser: ToyDenoiser, length: int, backend: str = "eager"
) -> None:
    steps = actual(policy, denoiser, length, backend)
    for index, prompt in enumerate(PROMPTS):
        wanted = expected(name, denoiser, prompt, length, **policy.parameters)
        assert steps[index] == wanted, f"seed {denoiser.seed}, gain {denoiser.gain}, {policy}, prompt {index}"


@pytest.mark.parametrize("name", CASES)
def test_a_policy_steps_as_the_published_rule(name: str) -> None:
    for seed, gain in WORLDS:
        for length, settings in zip((64, 45, 33), CASES[name], strict=False):
            assert_equal(loaded(name).bind(**settings), name, ToyDenoiser(seed, gain), length)


@pytest.mark.parametrize("name", CASES)
def test_the_slow_backend_steps_as_the_published_rule(name: str) -> None:
    assert_equal(loaded(name).bind(**CASES[name][1]), name, ToyDenoiser(4, 1.5), 24, "reference")
