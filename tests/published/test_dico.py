"""DiCo, as shipped, writes what the authors' release writes on the toy denoiser: position by position, phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

import dsldec
from dsldec.policy import read

from ..toy import ToyDenoiser, golden

DICO = dsldec.load("dico")


def assert_equal(case: dict[str, Any], backend: str) -> None:
    policy = DICO.bind(block=case["block"], upstream=case["policy"] == "dico_upstream", **case["args"])
    denoiser = ToyDenoiser(case["seed"], case["gain"])
    decoded = dsldec.decode(denoiser, [case["prompt"]], policy, gen_length=case["gen_length"], backend=backend, trace=True)
    assert decoded.ids[0].tolist() == case["ids"]
    assert decoded.forwards.tolist() == [case["forwards"]]
    assert [[step.phase, step.committed] for step in decoded.trace[0]] == case["steps"]
    assert case["forwards"] <= policy.facts.forwards_bound(case["gen_length"], policy.parameters)


def of_size(name: str, block: int, seeds: int) -> list[dict[str, Any]]:
    cases = golden(name)
    return [case for case in cases if (case["block"], case["args"].get("seeds", DICO.parameters["seeds"])) == (block, seeds)]


@pytest.mark.parametrize("backend", ["eager", "reference"])
@pytest.mark.parametrize("name", ["dico.json", "dico_wide.json"])
def test_every_golden(name: str, backend: str) -> None:
    for case in golden(name):
        assert_equal(case, backend)


def test_those_of_one_size_compiled() -> None:
    cases = of_size("dico.json", block=64, seeds=4)
    assert len(cases) == 10
    for case in cases:
        assert_equal(case, "inductor")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "block", "seeds"),
    [("dico.json", 32, 2), ("dico.json", 64, 2), ("dico_wide.json", 3, 3), ("dico_wide.json", 24, 6), ("dico_wide.json", 1, 7)],
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
        return dsldec.decode(ToyDenoiser(200, 0.5), some, policy, gen_length=32, backend="eager", trace=True, batch=4)

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
