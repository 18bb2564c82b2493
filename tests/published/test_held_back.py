"""Rules that were held back until the language was done give, as policies, the canvases of their naive loops."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import dsldec
from dsldec.backends import noise
from dsldec.runtime.decode import stream

from ..toy import MASK, ToyDenoiser
from . import held_back_rules as rules
from .test_published import Ending

Settings = dict[str, Any]
Rng = random.Random
PROMPTS = [[3, 7, 11, 2], [25, 0, 8, 19]]
SEED = 5
TRIALS = 8
LENGTHS = (1, 7, 21, 33)  # few, because the toy takes time to make its tables


def _block(rng: Rng) -> int:
    return rng.choice((4, 8, 13, 32))


def _steps(rng: Rng) -> int:
    return rng.choice((1, 2, 3, 5, 8, 13, 20))


SURE = (0.1, 0.3, 0.5, 0.7, 0.9)
# Parameters of a policy that are chosen at random.
CASES: dict[str, Callable[[Rng], Settings]] = {
    "sched": lambda rng: {
        "curve": rng.choice(("linear", "exponential", "listed")),
        "high": rng.uniform(2, 8),
        "low": rng.uniform(0, 3),
        "sharp": rng.uniform(0, 6),
        "taus": [rng.uniform(1, 7) for _ in range(rng.randint(1, 9))],
        "steps": _steps(rng),
    },
    "streaming": lambda rng: {"tau": rng.choice(SURE), "alpha": rng.uniform(0, 1), "block": _block(rng)},
    "wedlm": lambda rng: {"calm": rng.uniform(0, 3), "slope": rng.uniform(0, 0.2), "size": _block(rng)},
    "sdlm": lambda rng: {
        "measure": rng.choice(("product", "one")),
        "tau": rng.uniform(0, 0.9),
        "size": _block(rng),
    },
    "eb_bits": lambda rng: {"bits": rng.uniform(0, 4), "block": _block(rng)},
    "maskgit": lambda rng: {"steps": _steps(rng), "heat": rng.choice((0.0, 0.5, 4.5))},
    "halton": lambda rng: {
        "order": rng.sample(range(100), rng.randint(1, 70)),
        "steps": _steps(rng),
    },
    "dream_alg_temp": lambda rng: {
        "alg": rng.choice(("maskgit_plus", "topk_margin", "entropy")),
        "heat": rng.choice((0.05, 0.1, 0.5, 2.0)),
        "steps": _steps(rng),
    },
    "fast_diffuser": lambda rng: {
        "temperature": rng.choice((0.0, 0.2, 0.7, 1.5)),
        "confidence": rng.choice(SURE),
        "steps": _steps(rng),
        "block": _block(rng),
    },
    "remdm": lambda rng: {
        "kind": rng.choice(("cap", "rescale", "conf")),
        "eta": rng.choice((0.0, 0.05, 0.3, 1.0)),
        "steps": _steps(rng),
    },
    "p2_random": lambda rng: {
        "steps": _steps(rng),
        "eta": rng.choice((0.0, 0.5, 1.0, 3.0)),
        "heat": rng.choice((0.0, 0.1, 1.0)),
    },
    "rcr_curve": lambda rng: {
        "curve": rng.choice(("cosine", "square", "log")),
        "steps": _steps(rng),
        "block": _block(rng),
    },
    "jump_steps": lambda rng: {
        "counts": [rng.randint(0, 6) for _ in range(rng.randint(1, 8))],
        "block": _block(rng),
    },
    "wavefront": lambda rng: {"radius": rng.randint(1, 9), "tokens": rng.randint(1, 6)},
    "hierarchy_block": lambda rng: {
        "confidence": rng.choice(SURE),
        "part": rng.randint(1, 12),
        "block": _block(rng),
    },
    "many_marks": lambda rng: {
        "confidence": rng.choice(SURE),
        "newline": rng.randrange(MASK),
        "stop": rng.randrange(MASK),
        "trust": rng.choice((0.0, 0.1, 0.3)),
        "block": _block(rng),
    },
    "d3llm": lambda rng: {
        "calm": rng.uniform(0, 2),
        "add": rng.choice((0.1, 0.3, 0.6)),
        "decoded": rng.choice((0.5, 0.95)),
        "block": _block(rng),
    },
    "token_to_mask": lambda rng: {
        "rule": rng.choice(("low", "trigger", "drop")),
        "level": rng.choice(SURE),
        "confidence": rng.choice(SURE),
        "block": _block(rng),
    },
    "klass_js": lambda rng: {
        "confidence": rng.choice(SURE),
        "calm": rng.choice((0.001, 0.01, 0.1)),
        "patience": rng.randint(1, 3),
        "steps": _steps(rng),
        "block": _block(rng),
    },
    "guided": lambda rng: {
        "scale": rng.choice((0.0, 0.5, 2.0)),
        "heat": rng.choice((0.5, 1.0, 3.0)),
        "confidence": rng.choice(SURE),
        "block": _block(rng),
    },
    "lookum": lambda rng: {
        "rows": rng.randint(1, 5),
        "heat": rng.choice((0.05, 0.1, 1.0)),
        "cool": rng.choice((0.05, 0.5)),
        "tokens": rng.randint(1, 6),
        "block": _block(rng),
    },
}
ENDING = ("streaming",)  # rules that end with the text


@cache
def loaded(name: str) -> dsldec.Policy:
    return dsldec.load(name)


def canvases(
    policy: dsldec.Policy, denoiser: ToyDenoiser, length: int, prompts: dict[int, list[int]], backend: str
) -> dict[int, list[list[int]]]:
    """The canvas after each step, of the prompts with some request ids."""
    steps: dict[int, list[list[int]]] = {id_: [] for id_ in prompts}
    ids = list(prompts)
    rows = stream(
        denoiser, [*prompts.values()], policy, gen_length=length, backend=backend, stop_at_eos=False,
        seed=SEED, request_ids=ids,
        on_step=lambda event: steps[ids[event.index]].append(event.generated.tolist()),
    )  # fmt: skip
    for row in rows:
        assert row.error is None
        assert row.forwards == len(steps[ids[row.index]]) <= policy.plan(length).max_forwards
    return steps


def expected(name: str, denoiser: ToyDenoiser, length: int, id_: int, given: Settings) -> list[list[int]]:
    if name == "many_marks":
        given = given | {"marks": (given["newline"], given["stop"])}
        given = {key: given[key] for key in given if key not in ("newline", "stop")}
    if name in ENDING:
        given = given | {"eos": getattr(denoiser, "eos_id", None)}
    model = rules.Model(denoiser, MASK, PROMPTS[id_], noise.key(SEED, id_))
    rule: Callable[..., Any] = getattr(rules, name)
    found = rule(model, [None] * length, **given)
    return [[MASK if id_ is None else id_ for id_ in canvas] for canvas in found]


def assert_equal(
    name: str, denoiser: ToyDenoiser, length: int, settings: Settings, backend: str = "eager"
) -> None:
    """Policy and rule give the same canvases, the policy in a batch and alone."""
    policy = loaded(name).bind(**settings)
    together = canvases(policy, denoiser, length, dict(enumerate(PROMPTS)), backend)
    alone = canvases(policy, denoiser, length, {1: PROMPTS[1]}, backend)
    said = f"seed {denoiser.seed}, gain {denoiser.gain}, length {length}, {settings}"
    assert alone[1] == together[1], said
    for id_ in together:
        assert together[id_] == expected(name, denoiser, length, id_, dict(policy.parameters)), said


def world(rng: Rng, name: str) -> ToyDenoiser:
    seed, gain = rng.randint(1, 2), rng.choice((0.5, 1.0, 2.0, 4.0))
    return Ending(seed, gain, rng.choice((3, 14))) if name in ENDING else ToyDenoiser(seed, gain)


@pytest.mark.parametrize("name", CASES)
def test_a_policy_steps_as_the_rule_on_random_settings(name: str) -> None:
    rng = Rng(f"held back {name}")
    for _ in range(TRIALS):
        length = rng.choice(LENGTHS)
        assert_equal(name, world(rng, name), length, CASES[name](rng))


@pytest.mark.parametrize("name", CASES)
def test_the_slow_backend_steps_as_the_rule(name: str) -> None:
    rng = Rng(f"slow {name}")
    assert_equal(name, world(rng, name), 21, CASES[name](rng), "reference")
