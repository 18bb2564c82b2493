"""The shipped policy for DiCo writes the same tokens as the authors' release on the toy denoiser: position by
position, phase by phase.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

import dsldec
from dsldec.policy import read

from ..toy import ToyDenoiser, golden
from .dico_loop import dico

DICO = dsldec.load("dico")


def assert_equal(case: dict[str, Any], backend: str) -> None:
    policy = DICO.bind(block=case["block"], upstream=case["policy"] == "dico_upstream", **case["args"])
    denoiser = ToyDenoiser(case["seed"], case["gain"])
    decoded = dsldec.decode(
        denoiser, [case["prompt"]], policy, gen_length=case["gen_length"], backend=backend, trace=True
    )
    assert decoded.ids[0].tolist() == case["ids"]
    assert decoded.forwards.tolist() == [case["forwards"]]
    assert [[step.phase, step.committed] for step in decoded.trace[0]] == case["steps"]
    assert case["forwards"] <= policy.facts.forwards_bound(case["gen_length"], policy.parameters)


def of_size(name: str, block: int, seeds: int) -> list[dict[str, Any]]:
    cases = golden(name)
    return [
        case
        for case in cases
        if (case["block"], case["args"].get("seeds", DICO.parameters["seeds"])) == (block, seeds)
    ]


@pytest.mark.parametrize("name", ["dico.json", "dico_wide.json"])
def test_every_golden(name: str) -> None:
    for case in golden(name):
        assert_equal(case, "eager")


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["dico.json", "dico_wide.json"])
def test_goldens_by_the_reference(name: str, every: int) -> None:
    for case in golden(name)[::every]:
        assert_equal(case, "reference")


@pytest.mark.slow
def test_those_of_one_size_compiled() -> None:
    cases = of_size("dico.json", block=64, seeds=4)
    assert len(cases) == 10
    for case in cases:
        assert_equal(case, "inductor")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "block", "seeds"),
    [
        ("dico.json", 32, 2),
        ("dico.json", 64, 2),
        ("dico_wide.json", 3, 3),
        ("dico_wide.json", 24, 6),
        ("dico_wide.json", 1, 7),
    ],
)
def test_those_of_more_sizes_compiled(name: str, block: int, seeds: int) -> None:
    cases = of_size(name, block, seeds)
    assert len(cases) >= 3
    for case in cases:
        assert_equal(case, "inductor")


def test_rows_of_a_batch_may_be_in_different_phases() -> None:
    prompts = [[9, 17, 0], [25, 0, 8], [1, 2, 3], [30, 4, 12]]
    policy = DICO.bind(block=16, seeds=3)

    def run(some: Sequence[list[int]]) -> Any:
        return dsldec.decode(
            ToyDenoiser(200, 0.5), some, policy, gen_length=32, backend="eager", trace=True, batch=4
        )

    together = run(prompts)
    assert any(len({row[step].phase for row in together.trace if step < len(row)}) > 1 for step in range(10))
    for index, prompt in enumerate(prompts):
        alone = run([prompt])
        assert together.ids[index].tolist() == alone.ids[0].tolist()
        assert together.trace[index] == alone.trace[0]


def test_the_bound_is_that_of_the_paper_s_loop() -> None:
    """One idle Divide and one idle Conquer step a visit."""
    assert DICO.facts.forwards_bound(256, DICO.parameters) == 256 + 2 * int(0.8 * 256)
    assert DICO.facts.state_bytes_per_position == 1


def test_the_file_is_short_enough_to_be_read_with_the_paper() -> None:
    assert len(read("dico")[0].splitlines()) < 60


# --- the rule as a plain loop, on settings that no golden has


def random_setting(number: int) -> dict[str, Any]:
    """Parameters from narrow and from wide ranges, their ends among them; blocks that do and do not divide
    the text.
    """
    rng = random.Random(number)

    def share(*values: float) -> float:
        return rng.choice(values) if rng.random() < 0.6 else round(rng.random(), 3)

    wide = number % 2 == 0
    return {
        "block": rng.randint(1, 40) if number % 4 else rng.randint(1, 6),
        "seeds": rng.randint(1, 10),
        "rounds": rng.randint(1, 10),
        "gap": rng.randint(0, 8),
        "seed_conf": share(0, 0.05, 0.1, 0.3, 0.5, 1) if wide else rng.choice((0.05, 0.1, 0.2, 0.3, 0.4)),
        "keep_conf": share(0, 0.1, 0.3, 0.6, 0.9, 1) if wide else rng.choice((0.3, 0.4, 0.5, 0.6, 0.7)),
        "safe_conf": share(0, 0.5, 0.9, 0.98, 1) if wide else rng.choice((0.9, 0.98, 0.99)),
        "sure_margin": rng.choice((0.0, 0.5, 1.5, 3.0, 6.0, 100.0)),
        "settled": share(0, 0.2, 0.5, 0.7, 0.8, 0.9, 1),
        "pull": share(0, 0.5, 1),
        "pull_floor": share(0, 0.05, 0.5, 1),
        "upstream": rng.random() < 0.5,
    }


def steps_of(policy: dsldec.Policy, number: int, length: int) -> list[tuple[str, list[int]]]:
    denoiser = ToyDenoiser(number, number % 7 / 4)
    decoded = dsldec.decode(
        denoiser, [[3, number % 39]], policy, gen_length=length, backend="eager", trace=True
    )
    return [(step.phase, step.committed) for step in decoded.trace[0]]


def assert_as_the_loop(
    number: int, policy: dsldec.Policy, length: int | None = None, **changed: Any
) -> list[tuple[str, list[int]]]:
    """Bind the setting of a number, less what is changed, and compare every step with the loop's."""
    setting = random_setting(number) | changed
    length = length or 1 + number * 37 % 64
    bound = policy.bind(**{name: value for name, value in setting.items() if name != "margin"})
    _, steps = dico(ToyDenoiser(number, number % 7 / 4), [3, number % 39], length, **setting)
    assert steps_of(bound, number, length) == steps, setting
    return steps


def test_random_settings_as_the_loop() -> None:
    phases = {phase for number in range(30) for phase, _ in assert_as_the_loop(number, DICO)}
    assert phases == {"divide", "conquer", "finalize"}


@pytest.mark.slow
def test_many_random_settings_as_the_loop() -> None:
    for number in range(1_000, 3_000):
        assert_as_the_loop(number, DICO)


def test_the_release_s_quirk_shows() -> None:
    """It changes what some settings write, so that comparing both ways means something."""
    assert any(
        assert_as_the_loop(n, DICO, upstream=True) != assert_as_the_loop(n, DICO, upstream=False)
        for n in range(10, 24)
    )


# --- the paper's ablations

NO_GUIDANCE: dict[str, Any] = {"pull": 0.0, "pull_floor": 1.0}
NO_MARGIN = (
    "commit masked and (logit_margin > sure_margin or conf > safe_conf) at least 1 by conf",
    "commit top(masked, 1, by=conf)",
)


def test_without_trajectory_guidance() -> None:
    changed = [
        n
        for n in range(8)
        if assert_as_the_loop(n, DICO, **NO_GUIDANCE)
        != assert_as_the_loop(n, DICO, pull=0.5, pull_floor=0.05)
    ]
    assert changed


def test_without_the_logit_margin() -> None:
    """One line of the policy changed, and one word of the loop."""
    text = read("dico")[0]
    assert text.count(NO_MARGIN[0]) == 1
    edited = dsldec.load(text.replace(*NO_MARGIN))
    changed = [
        n for n in range(8) if assert_as_the_loop(n, edited, margin=False) != assert_as_the_loop(n, DICO)
    ]
    assert changed


@pytest.mark.parametrize("seeds", range(1, 11))
def test_one_to_ten_seeds(seeds: int) -> None:
    for number in (3, 8):
        steps = assert_as_the_loop(
            number, DICO, length=48, block=48, seeds=seeds, seed_conf=0.1, pull_floor=1.0
        )
        assert 1 <= max(len(places) for phase, places in steps if phase == "divide") <= seeds


@pytest.mark.parametrize("block", [128, 256])
def test_semi_autoregressive_and_whole(block: int) -> None:
    """Blocks of 128 of 256 positions, and all of them as one, with the paper's parameters."""
    assert_as_the_loop(
        5, DICO, length=256, **{**DICO.parameters, "block": block, "seeds": 4 if block == 128 else 8}
    )
