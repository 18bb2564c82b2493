"""Rules that need a small word give, as policies, the canvases of their naive loops, on random settings."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from dsldec.backends import noise

from ..toy import MASK, ToyDenoiser
from . import word_rules
from .test_published import PROMPTS, Ending, actual, loaded, see

Settings = dict[str, Any]


def _settings(name: str, rng: random.Random) -> Settings:
    block = rng.choice((4, 8, 13, 32, 64))
    of: dict[str, Callable[[], Settings]] = {
        "eos_last": lambda: {"steps": rng.randint(1, 20), "block": block},
        "entropy_shift": lambda: {"confidence": rng.choice((0.3, 0.5, 0.9)), "block": block},
        "dream": lambda: {
            "alg": rng.choice(("entropy", "maskgit_plus", "topk_margin")),
            "steps": rng.randint(2, 40),
        },
        "one_shot": lambda: {
            "taus": [rng.randint(1, 40) / 40 for _ in range(rng.randint(1, 9))],
            "cap": rng.choice((0.5, 0.75, 1.0)),
            "slack": rng.choice((0.0, 0.125, 0.25)),
            "block": block,
        },
        "llada_random": lambda: {"steps": rng.randint(1, 20), "block": block},
    }
    return of[name]()


NAMES = ("eos_last", "entropy_shift", "dream", "one_shot", "llada_random")


def assert_equal(name: str, denoiser: ToyDenoiser, length: int, settings: Settings, backend: str) -> None:
    policy = loaded(name).bind(**settings)
    steps = actual(policy, denoiser, length, backend)
    given = dict(policy.parameters)
    if name == "eos_last":
        given["eos"] = getattr(denoiser, "eos_id", None)
    for index, prompt in enumerate(PROMPTS):
        if name == "llada_random":
            key = noise.key(0, index)
            given["uniform"] = lambda step, place, key=key: noise.uniform_float(key, step, place, 1)
        rule = getattr(word_rules, name)(see(denoiser, prompt), [None] * length, **given)
        wanted = [[MASK if id_ is None else id_ for id_ in canvas] for canvas in rule]
        assert steps[index] == wanted, f"seed {denoiser.seed}, {settings}, length {length}, prompt {index}"


@pytest.mark.parametrize("name", NAMES)
def test_a_policy_steps_as_the_rule_on_random_settings(name: str) -> None:
    rng = random.Random(f"words {name}")
    for trial in range(12):
        length, seed, gain = rng.randint(9, 64), rng.randint(1, 5), rng.choice((1.0, 2.0, 4.0))
        denoiser = ToyDenoiser(seed, gain) if trial % 3 == 0 else Ending(seed, gain, rng.randint(8, 40))
        assert_equal(name, denoiser, length, _settings(name, rng), "eager")


@pytest.mark.parametrize("name", NAMES)
def test_the_slow_backend_steps_as_the_rule(name: str) -> None:
    rng = random.Random(f"slow {name}")
    assert_equal(name, Ending(4, 1.5, 30), 24, _settings(name, rng), "reference")


def test_the_end_of_text_comes_last() -> None:
    """What sets the rule apart: some canvases differ from those of plain LLaDA."""
    denoiser = Ending(2, 1.0, 30)
    settings = {"steps": 6, "block": 32}
    last = actual(loaded("eos_last").bind(**settings), denoiser, 64)
    assert last != actual(loaded("llada").bind(**settings), denoiser, 64)


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("dream", {"alg": "entropy"}, {"alg": "topk_margin"}),
        ("one_shot", {"taus": [0.9]}, {"taus": [0.9, 0.1]}),
    ],
)
def test_the_settings_tell(name: str, one: Settings, other: Settings) -> None:
    denoiser = ToyDenoiser(2, 1.0)
    assert actual(loaded(name).bind(**one), denoiser, 64) != actual(loaded(name).bind(**other), denoiser, 64)
