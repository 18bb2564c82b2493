"""Every published rule gives, as a policy, the canvas after every forward that its naive loop gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import torch

import dsldec
from dsldec.backends import noise
from dsldec.runtime.decode import stream

from ..toy import MASK, ToyDenoiser, mix
from . import rules

PROMPTS = [[3, 7, 11, 2], [25, 0, 8, 19]]

LORE = [(1 + 7 * id_ % 40) / 820 for id_ in range(40)]  # how often each id is met
# Rule, and the settings it is compared with; those of the policy's own defaults where none are given.
CASES: dict[str, list[dict[str, Any]]] = {
    "llada": [{"steps": 8, "block": 16}, {"steps": 5, "block": 32}, {"steps": 20, "block": 13}],
    "dream_maskgit_plus": [{"steps": 16}, {"steps": 40}],
    "dream_topk_margin": [{"steps": 16}, {"steps": 37}],
    "dream_entropy": [{"steps": 16}, {"steps": 64}],
    "dream_origin": [{"steps": 16}, {"steps": 40}],
    "sdar_dynamic": [{"block": 4}, {"block": 16, "confidence": 0.7, "steps": 6}],
    "sdar_entropy_bounded": [{"block": 4}, {"block": 32, "budget": 2.0}],
    "sglang_low_confidence": [{}, {"confidence": 0.5, "block": 8}],
    "threshold": [{}, {"confidence": 0.5, "block": 8}],
    "factor": [{}, {"budget": 0.75, "block": 64}],
    "frechet": [{}, {"delta": 0.05, "block": 64}],
    "entropy_bounded": [{}, {"gamma": 1.0, "block": 64}],
    "entropy_threshold": [{}, {"calm": 1.5, "block": 8}],
    "vllm_ceil": [{}, {"steps": 7, "block": 32}],
    "leftmost": [{}, {"tokens": 3, "block": 16}],
    "dinfer_threshold": [{}, {"confidence": 1.0}],
    "dinfer_hierarchy": [{}, {"confidence": 0.7, "low": 0.2, "block": 64}],
    "local_leap": [{}, {"anchor": 0.7, "near": 0.4, "radius": 2, "block": 64}],
    "klass": [
        {},
        {"steps": 10, "calm": 0.5, "confidence": 0.4, "block": 64},
        {"patience": 1, "steps": 5},
        {"calm": 0.05, "keep": 6},
    ],
    "slowfast": [{}, {"likely": 0.5}],
    "dus": [{}, {"base": 3, "levels": 3, "block": 30}],
    "certainty_prior": [{}, {"tokens": 3, "sigma": 3.0, "block": 64}],
    "dcd": [{}, {"confidence": 0.6, "masks": 8, "length": 20}],
    "early_eos": [{}],
    "adablock": [{}, {"confidence": 0.6, "trust": 0.05, "block": 64, "delimiter": 4}],
    "prophet": [{}, {"tokens": 2, "block": 64}],
    "wino_plain": [{}, {"sure": 0.4, "keep": 0.7, "block": 32}],
    "saber": [{}, {"share": 2.0, "block": 64}],
    "p2": [{}, {"steps": 30, "eta": 2.0}, {"eta": 0.0}],
    "rcr": [{}, {"steps": 20, "block": 64}],
    "remdm_loop": [{}, {"tokens": 32, "again": 9, "rounds": 6, "begin": 0.4}],
    "pc_sampler": [
        {"frequency": LORE},
        {"frequency": LORE, "slope": 0.0, "tokens": 3, "cap": 2.0},
        {"frequency": LORE, "block": 8},
    ],
    "joint_threshold": [
        {"confidence": 0.3},
        {"confidence": 0.1, "block": 64},
        {"change": 0.2, "extra": 3, "block": 8},
    ],
    "hierarchy_remask": [{}, {"low": 0.2, "keep": 0.8, "block": 64}],
}
ENDINGS = ("early_eos", "local_leap", "dcd")
WORLDS = ((1, 1.0), (2, 4.0))  # seed and gain of the toy denoiser
# Where some rules show what sets them apart: near ties, estimates one position apart, tokens that have
# changed.
TELLING = {"dinfer_threshold": (3, 5.0), "slowfast": (4, 5.0), "remdm_loop": (3, 4.0)}


class Ending(ToyDenoiser):
    """A toy that knows an end-of-text token: what it says at one place of the text."""

    def __init__(self, seed: int, gain: float, place: int) -> None:
        super().__init__(seed, gain)
        self.eos_id = mix(seed, 4, place) % MASK


@cache
def loaded(name: str) -> dsldec.Policy:
    return dsldec.load(name)


def see(denoiser: ToyDenoiser, prompt: list[int]) -> rules.See:
    """A forward of the toy, as the naive loops want it."""

    def forward(canvas: rules.Canvas) -> rules.Seen:
        ids = torch.tensor([prompt + [MASK if id_ is None else id_ for id_ in canvas]])
        return rules.seen(denoiser(ids)[0, len(prompt) :], MASK)

    return forward


def expected(
    name: str, denoiser: ToyDenoiser, prompt: list[int], generated: int, **settings: Any
) -> list[list[int]]:
    """The canvas after each forward of the naive loop."""
    rule: Callable[..., rules.Steps] = getattr(rules, name)
    steps = rule(see(denoiser, prompt), [None] * generated, **settings)
    return [[MASK if id_ is None else id_ for id_ in canvas] for canvas in steps]


def actual(
    policy: dsldec.Policy, denoiser: ToyDenoiser, length: int, backend: str = "eager"
) -> list[list[list[int]]]:
    """The canvas after each step, of each prompt."""
    steps: list[list[list[int]]] = [[] for _ in PROMPTS]
    rows = stream(
        denoiser, PROMPTS, policy, gen_length=length, backend=backend, stop_at_eos=False,
        on_step=lambda event: steps[event.index].append(event.generated.tolist()),
    )  # fmt: skip
    for row in rows:
        assert row.forwards == len(steps[row.index])
    return steps


def assert_equal(
    name: str,
    denoiser: ToyDenoiser,
    length: int,
    settings: dict[str, Any],
    backend: str = "eager",
    **more: Any,
) -> None:
    """Policy and rule give the same canvases; `more` is told to the rule alone."""
    policy = loaded(name).bind(**settings)
    given = {"masks_" if key == "masks" else key: value for key, value in policy.parameters.items()} | more
    steps = actual(policy, denoiser, length, backend)
    for index, prompt in enumerate(PROMPTS):
        if name == "dream_origin":
            key = noise.key(0, index)
            given["uniform"] = lambda step, position, key=key: noise.uniform_float(key, step, position, 1)
        wanted = expected(name, denoiser, prompt, length, **given)
        assert steps[index] == wanted, f"seed {denoiser.seed}, gain {denoiser.gain}, {policy}, prompt {index}"


@pytest.mark.parametrize("name", CASES)
def test_a_policy_steps_as_the_published_rule(name: str) -> None:
    for seed, gain in (*WORLDS, *([TELLING[name]] if name in TELLING else [])):
        for length, settings in zip((64, 45, 33), CASES[name], strict=False):
            assert_equal(name, ToyDenoiser(seed, gain), length, settings)


@pytest.mark.parametrize("name", CASES)
def test_the_slow_backend_steps_as_the_published_rule(name: str) -> None:
    assert_equal(name, ToyDenoiser(4, 1.5), 24, CASES[name][0], "reference")


@pytest.mark.parametrize("name", ENDINGS)
def test_a_policy_ends_with_the_text(name: str) -> None:
    for seed, gain in WORLDS:
        denoiser = Ending(seed, gain, 30)
        assert_equal(name, denoiser, 64, {}, eos=denoiser.eos_id)


def test_random_remasking_writes_its_share_anywhere() -> None:
    policy = loaded("llada_random")
    for seed, gain in WORLDS:
        denoiser = ToyDenoiser(seed, gain)
        for prompt, steps in zip(PROMPTS, actual(policy, denoiser, 45), strict=True):
            canvases = [[MASK] * 45, *steps]
            places = [
                [i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
                for before, after in pairwise(canvases)
            ]
            assert steps == expected(
                "llada_random", denoiser, prompt, 45, drawn=iter(places), **policy.parameters
            )
