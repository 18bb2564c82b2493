"""Rules that the library states from their authors' code give, as policies, what their naive loops give."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from dsldec.backends import noise

from ..toy import MASK, ToyDenoiser
from . import library_rules as rules
from .held_back_rules import Model
from .test_held_back import PROMPTS, SEED, canvases, loaded

Settings = dict[str, Any]
Rng = random.Random
TRIALS = 8
LENGTHS = (1, 7, 21, 33)


def _block(rng: Rng) -> int:
    return rng.choice((1, 4, 8, 13, 32))


def _steps(rng: Rng) -> int:
    return rng.choice((1, 2, 3, 5, 8, 13, 20))


SURE = (0.1, 0.3, 0.5, 0.7, 0.9)
# Parameters of a policy that are chosen at random.
CASES: dict[str, Callable[[Rng], Settings]] = {
    "klass": lambda rng: {
        "confidence": rng.choice(SURE),
        "calm": rng.choice((0.001, 0.01, 0.1, 0.5)),
        "patience": rng.randint(1, 3),
        "steps": _steps(rng),
        "block": _block(rng),
        "keep": rng.choice((256, 6)),
    },
    "prophet": lambda rng: {
        "early": rng.uniform(1, 4),
        "middle": rng.uniform(1, 3),
        "late": rng.uniform(0, 2),
        "answer": rng.randint(0, 20),
        "length": rng.choice((1, 5, 65536)),
        "tokens": rng.randint(1, 3),
        "block": _block(rng),
    },
    "slowfast": lambda rng: {
        "sure": rng.choice(SURE),
        "likely": rng.choice((0.1, 0.2, 0.3, 0.5)),
        "tries": rng.randint(2, 6),
        "wobble": rng.choice((0.5, 1.0, 3.0)),
        "block": rng.choice((7, 13, 32, 64)),
    },
    "saber": lambda rng: {
        "tokens": rng.randint(1, 5),
        "share": rng.choice((1, 2, 8)),
        "upstream": rng.random() < 0.5,
        "block": _block(rng),
    },
    "wino_plain": lambda rng: {
        "sure": rng.choice(SURE),
        "keep": rng.choice(SURE),
        "block": _block(rng),
    },
    "rcr": lambda rng: {
        "curve": rng.choice(("linear", "cosine", "square", "log", "exponential")),
        "steps": _steps(rng),
        "block": _block(rng),
    },
    "p2": lambda rng: {
        "steps": _steps(rng),
        "eta": rng.choice((0.0, 0.5, 1.0, 3.0)),
        "judged": rng.choice(("canvas", "token")),
        "ranking": rng.choice(("plain", "noisy")),
        "heat": rng.choice((0.1, 1.0)),
    },
    "p2_plus": lambda rng: {"steps": _steps(rng)},
    "remdm": lambda rng: {
        "kind": rng.choice(("cap", "rescale", "conf", "backward")),
        "eta": rng.choice((0.0, 0.05, 0.3, 1.0)),
        "steps": _steps(rng),
    },
    "remdm_loop": lambda rng: {
        "eta": rng.choice((0.02, 0.1)),
        "on": rng.choice((0.56, 0.71)),
        "off": rng.choice((0.06, 0.31)),
        "level": rng.choice((0.7, 0.9)),
        "steps": _steps(rng),
    },
    "remdm_llada": lambda rng: {
        "again": rng.randint(1, 4),
        "rounds": rng.randint(1, 9),
        "begin": rng.choice((0.0, 0.3, 0.875, 1.0)),
        "block": _block(rng),
    },
    "token_to_mask": lambda rng: {
        "rule": rng.choice(("low_prob", "t2t_remask", "logit_diff")),
        "level": rng.choice(SURE),
        "confidence": rng.choice(SURE),
        "share": rng.choice((0.0, 0.25, 1.0)),
        "block": _block(rng),
    },
}


def assert_equal(name: str, rng: Rng, backend: str) -> None:
    """Policy and rule give the same canvases, the policy in a batch and alone."""
    settings = CASES[name](rng)
    length, denoiser = rng.choice(LENGTHS), ToyDenoiser(rng.randint(1, 2), rng.choice((0.5, 1.0, 2.0, 4.0)))
    policy = loaded(name).bind(**settings)
    together = canvases(policy, denoiser, length, dict(enumerate(PROMPTS)), backend)
    alone = canvases(policy, denoiser, length, {1: PROMPTS[1]}, backend)
    said = f"seed {denoiser.seed}, gain {denoiser.gain}, length {length}, {settings}"
    assert alone[1] == together[1], said
    for id_, found in together.items():
        model = Model(denoiser, MASK, PROMPTS[id_], noise.key(SEED, id_))
        steps = getattr(rules, name)(model, [None] * length, **policy.parameters)
        assert found == [[MASK if id_ is None else id_ for id_ in canvas] for canvas in steps], said


@pytest.mark.parametrize("name", CASES)
def test_a_policy_steps_as_the_rule_on_random_settings(name: str) -> None:
    rng = Rng(f"library {name}")
    for _ in range(TRIALS):
        assert_equal(name, rng, "eager")


@pytest.mark.parametrize("name", CASES)
def test_the_slow_backend_steps_as_the_rule(name: str) -> None:
    assert_equal(name, Rng(f"slow library {name}"), "reference")
