"""Rules of several forms, and rules published since, give as policies the canvases of their naive loops."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from ..toy import MASK, ToyDenoiser
from . import more_rules
from .test_published import PROMPTS, Ending, actual, loaded, see

Settings = dict[str, Any]
Rng = random.Random
LENGTHS = (1, 2, 7, 24, 33)


def _block(rng: Rng) -> int:
    return rng.choice((2, 4, 8, 13, 32))


CASES: dict[str, Callable[[Rng], Settings]] = {
    "factor": lambda rng: {
        "budget": rng.choice((0.5, 0.75, 1.0, 2.0)),
        "form": rng.choice(("paper", "release")),
        "block": _block(rng),
    },
    "entropy_bounded": lambda rng: {
        "gamma": rng.choice((0.0, 0.1, 0.35, 1.0, 4.0)),
        "proxy": rng.choice(("entropy", "conf", "margin")),
        "bound": rng.choice(("joint", "sum")),
        "unit": rng.choice(("nats", "bits")),
        "block": _block(rng),
    },
    "dream_threshold": lambda rng: {"confidence": rng.choice((0.1, 0.3, 0.9)), "steps": 1},
    "bacd": lambda rng: {
        "lower": rng.choice((0.0, 0.2, 0.6)),
        "upper": rng.choice((0.3, 0.9)),
        "block": _block(rng),
    },
    "eos_banned": lambda rng: {"steps": rng.randint(1, 20), "block": _block(rng)},
    "dilated_spacing": lambda rng: {
        "sampler": rng.choice(("confidence", "entropy")),
        "tau": rng.choice((0.1, 0.3, 0.5)),
        "gamma": rng.choice((0.1, 0.7, 3.0)),
        "stride": rng.choice((0, 2, 8)),
        "block": _block(rng),
    },
}
DEFAULTS: dict[str, Settings] = {"dream_threshold": {"steps": 4}}


def assert_equal(name: str, denoiser: ToyDenoiser, length: int, settings: Settings, backend: str) -> None:
    policy = loaded(name).bind(**settings)
    steps = actual(policy, denoiser, length, backend)
    given = dict(policy.parameters)
    if name == "eos_banned":
        given |= {"eos": getattr(denoiser, "eos_id", None), "mask_id": MASK}
    for index, prompt in enumerate(PROMPTS):
        rule = getattr(more_rules, name)(see(denoiser, prompt), [None] * length, **given)
        wanted = [[MASK if id_ is None else id_ for id_ in canvas] for canvas in rule]
        assert steps[index] == wanted, f"seed {denoiser.seed}, {settings}, length {length}, prompt {index}"


@pytest.mark.parametrize("name", CASES)
def test_a_policy_steps_as_the_rule_on_random_settings(name: str) -> None:
    rng = random.Random(f"more {name}")
    assert_equal(name, ToyDenoiser(1, 2.0), 24, DEFAULTS.get(name, {}), "eager")
    for _ in range(8):
        length, settings = rng.choice(LENGTHS), CASES[name](rng)
        if name == "dream_threshold":  # the release wants a share without a rest
            settings["steps"] = rng.choice([n for n in range(1, length + 1) if length % n == 0])
        seed, gain = rng.randint(1, 3), rng.choice((0.5, 1.0, 2.0, 4.0))
        denoiser = Ending(seed, gain, 14) if name == "eos_banned" else ToyDenoiser(seed, gain)
        assert_equal(name, denoiser, length, settings, "eager")


@pytest.mark.parametrize("name", CASES)
def test_the_slow_backend_steps_as_the_rule(name: str) -> None:
    rng = random.Random(f"slow {name}")
    assert_equal(name, ToyDenoiser(3, 2.0), 24, CASES[name](rng), "reference")


@pytest.mark.parametrize(
    ("name", "one", "other"),
    [
        ("factor", {"form": "paper"}, {"form": "release"}),
        ("entropy_bounded", {"bound": "joint", "gamma": 1.0}, {"bound": "sum", "gamma": 1.0}),
        ("entropy_bounded", {"unit": "nats", "gamma": 1.0}, {"unit": "bits", "gamma": 1.0}),
        ("entropy_bounded", {"proxy": "entropy", "gamma": 1.0}, {"proxy": "margin", "gamma": 1.0}),
        ("dilated_spacing", {"sampler": "confidence", "tau": 0.1}, {"sampler": "entropy"}),
    ],
)
def test_the_forms_differ(name: str, one: Settings, other: Settings) -> None:
    denoiser = ToyDenoiser(2, 1.0)
    assert actual(loaded(name).bind(**one), denoiser, 33) != actual(loaded(name).bind(**other), denoiser, 33)
