"""Every shipped policy, in small runs: rows are independent, decoding ends within the proved bound with no
MASK, prompts stay, and the slow reference gives the same ids.
"""

from __future__ import annotations

from typing import Any

import pytest

import dsldec

from ..toy import MASK
from .runs import (
    EVEN,
    HUGE,
    LENGTH,
    NOT_A_NUMBER,
    ON_MASK,
    PROMPTS,
    REQUEST_IDS,
    Adversarial,
    WithEnd,
    run,
    small,
)

NAMES = dsldec.shipped_policies()
WORLDS = ((2, 2.0), (1, 4.0), (7, 0.5))  # seed and gain of the toy
# Forwards of more rows than the batch has: the logits of a row must not depend on them.
pytestmark = pytest.mark.filterwarnings("ignore::dsldec.DecodingWarning")


def rows_of(decoded: dsldec.Decoded) -> list[Any]:
    return [(ids.tolist(), n) for ids, n in zip(decoded.ids, decoded.forwards.tolist(), strict=True)]


def require_sound(name: str, decoded: dsldec.Decoded, prompts: list[list[int]], length: int) -> None:
    most = small(name).plan(length).max_forwards
    assert max(decoded.forwards.tolist()) <= most
    for ids, prompt in zip(decoded.ids, prompts, strict=True):
        assert ids.tolist()[: len(prompt)] == prompt
        assert MASK not in ids.tolist()


def require_independent_rows(name: str, world: tuple[int, float], length: int) -> None:
    """A batch gives what each row gives alone, in every order."""
    denoiser = WithEnd(*world)
    whole = run(name, denoiser, length=length)
    require_sound(name, whole, PROMPTS, length)
    order = [2, 0, 1]
    moved = run(name, denoiser, [PROMPTS[i] for i in order], [REQUEST_IDS[i] for i in order], length=length)
    assert rows_of(moved) == [rows_of(whole)[i] for i in order]
    for prompt, id_, row in zip(PROMPTS, REQUEST_IDS, rows_of(whole), strict=True):
        assert rows_of(run(name, denoiser, [prompt], [id_], length=length)) == [row]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_independent_and_end_within_the_bound(name: str) -> None:
    require_independent_rows(name, WORLDS[0], LENGTH)


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", NAMES)
def test_longer_rows_are_independent(name: str, world: tuple[int, float]) -> None:
    require_independent_rows(name, world, 40)


@pytest.mark.parametrize("name", NAMES)
def test_adversarial_logits_end_too(name: str) -> None:
    prompts = [[EVEN, 3], [ON_MASK, 3], [HUGE, 3]]
    decoded = run(name, Adversarial(), prompts)
    assert decoded.errors == [None] * len(prompts)
    require_sound(name, decoded, prompts, LENGTH)


def test_logits_without_a_value_are_an_error_of_their_row() -> None:
    decoded = run("threshold", Adversarial(), [[EVEN, 3], [NOT_A_NUMBER, 3]], REQUEST_IDS[:2])
    assert decoded.errors[0] is None
    assert "E0406" in str(decoded.errors[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_logits_without_a_value_are_an_error_under_every_policy(name: str) -> None:
    decoded = run(name, Adversarial(), [[EVEN, 3], [NOT_A_NUMBER, 3]], REQUEST_IDS[:2])
    assert decoded.errors[0] is None
    assert "E0406" in str(decoded.errors[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gives_the_same_ids(name: str) -> None:
    given = (name, WithEnd(*WORLDS[1]), PROMPTS[:1], REQUEST_IDS[:1], 6)
    assert rows_of(run(*given, backend="reference")) == rows_of(run(*given))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_reference_gives_the_same_ids_in_longer_runs(name: str) -> None:
    for world in WORLDS:
        given = (name, WithEnd(*world), PROMPTS, REQUEST_IDS, 24)
        assert rows_of(run(*given, backend="reference")) == rows_of(run(*given))
