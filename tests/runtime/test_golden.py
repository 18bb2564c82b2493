"""The tokens that published rules write on the toy denoiser, position by position, on every backend."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

import dsldec
from dsldec.runtime.decode import Decoded

from ..shipped import CORE
from ..toy import MASK, ToyDenoiser, golden

CASES = golden("one_forward.json")


@cache
def loaded(name: str) -> dsldec.Policy:
    """One policy object a name: those bound from it share their compiled steps."""
    return dsldec.load(name)


def decode(case: dict[str, Any], backend: str) -> Decoded:
    arguments = {"tokens" if name == "k" else name: value for name, value in case["args"].items()}
    policy = loaded(case["policy"]).bind(block=case["block"], **arguments)
    denoiser = ToyDenoiser(case["seed"], case["gain"])
    decoded = dsldec.decode(
        denoiser, [case["prompt"]], policy, gen_length=case["gen_length"], backend=backend, trace=True
    )
    assert len(denoiser.calls) == case["forwards"], (
        "the denoiser was called another number of times than is counted"
    )
    assert set(denoiser.calls) == {(1, len(case["prompt"]) + case["gen_length"])}
    return decoded


def assert_equal(case: dict[str, Any], decoded: Decoded) -> None:
    assert decoded.ids[0].tolist() == case["ids"]
    assert decoded.forwards.tolist() == decoded.rows.tolist() == [case["forwards"]]
    assert [step.committed for step in decoded.trace[0]] == case["steps"]


def test_the_toy_is_the_denoiser_of_the_goldens() -> None:
    worked = golden("denoiser.json")[0]
    logits = ToyDenoiser(worked["seed"], worked["gain"])(torch.tensor([worked["ids"]]))
    assert logits[0].tolist() == worked["logits"]


@pytest.mark.parametrize("backend", ["eager", "reference"])
def test_every_golden(backend: str) -> None:
    for case in CASES:
        assert_equal(case, decode(case, backend))


def test_goldens_cover_the_shipped_policies() -> None:
    # In `tests/published`, `test_lookahead` and `tests/models/test_diffusion_gemma.py`.
    elsewhere = {"dico", "freedave", "freedave_plus", "klass", "lopa", "info_gain", "diffusion_gemma"}
    assert {case["policy"] for case in CASES} == set(CORE) - elsewhere


SLOW = {"frechet", "threshold", "entropy_bounded"}


def compiled_sample() -> list[dict[str, Any]]:
    """A case of every policy, all of one block size: one compilation a policy."""
    return [
        next(case for case in CASES if case["policy"] == name and case["block"] == 16)
        for name in sorted({case["policy"] for case in CASES})
    ]


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case["policy"], marks=[pytest.mark.slow] * (case["policy"] in SLOW))
        for case in compiled_sample()
    ],
)
def test_a_golden_of_every_policy_compiled(case: dict[str, Any]) -> None:
    assert_equal(case, decode(case, "inductor"))


@pytest.mark.slow
def test_every_golden_compiled() -> None:
    torch._dynamo.reset()
    for case in sorted(CASES, key=lambda case: (case["policy"], case["block"])):
        assert_equal(case, decode(case, "inductor"))


@pytest.mark.parametrize("backend", ["eager", "reference"])
def test_a_batch_of_different_lengths_gives_each_row_what_it_gets_alone(backend: str) -> None:
    prompts = [[1, 2, 3], [4], [5, 6, 7], [8, 9], [10, 11, 12], [13], []]
    policy = loaded("threshold").bind(confidence=0.6, block=8)

    def run(some: list[list[int]]) -> Decoded:
        return dsldec.decode(
            ToyDenoiser(5, 2.0), some, policy, gen_length=20, backend=backend, trace=True, batch=2
        )

    together = run(prompts)
    for index, prompt in enumerate(prompts):
        alone = run([prompt])
        assert together.ids[index].tolist() == alone.ids[0].tolist()
        assert together.forwards[index] == alone.forwards[0]
        assert together.trace[index] == alone.trace[0]
        assert MASK not in alone.ids[0].tolist()
