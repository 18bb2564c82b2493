"""DiCo, written in the language, writes what the authors' release writes on the toy denoiser: position by position, phase by phase."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dsldec

from ..toy import ToyDenoiser, golden

DICO = dsldec.load(Path(__file__).parent / "dico.policy")


def assert_equal(case: dict[str, Any], backend: str) -> None:
    policy = DICO.bind(block=case["block"], **case["args"])
    denoiser = ToyDenoiser(case["seed"], case["gain"])
    decoded = dsldec.decode(denoiser, [case["prompt"]], policy, gen_length=case["gen_length"], backend=backend, trace=True)
    assert decoded.ids[0].tolist() == case["ids"]
    assert decoded.forwards.tolist() == [case["forwards"]]
    assert [[step.phase, step.committed] for step in decoded.trace[0]] == case["steps"]
    assert case["forwards"] <= policy.facts.forwards_bound(case["gen_length"], policy.parameters)


@pytest.mark.parametrize("name", ["dico.json", "dico_wide.json"])
def test_every_golden(name: str) -> None:
    for case in golden(name):
        assert_equal(case, "eager")


def test_a_sample_on_the_slow_backend() -> None:
    for case in [*golden("dico.json")[::8], *golden("dico_wide.json")[::5]]:
        assert_equal(case, "reference")


def test_rows_of_a_batch_may_be_in_different_phases() -> None:
    prompts = [[9, 17, 0], [25, 0, 8], [1, 2, 3], [30, 4, 12]]
    policy = DICO.bind(block=16, seeds=3)

    def run(some: list[list[int]]) -> Any:
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
