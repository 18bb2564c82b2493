"""Does every form of reading the logits agree with the plain reading, which shares no code with them?

Reals within 2e-6; ids, ties and infinities exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dsldec.backends import vocabulary, vocabulary_chunks, vocabulary_tiles
from dsldec.backends.reference_vocabulary import LEAST_REST, PlainLogitsView, probabilities

Reader = Callable[..., vocabulary.Statistics]
READERS: dict[str, Reader] = {
    "torch": vocabulary.statistics,
    "float32": vocabulary.plain_statistics,
    "chunks": vocabulary_chunks.statistics,
    "tiles": vocabulary_tiles.statistics,
}
REALS = ("conf", "doubt", "margin", "logit_margin", "entropy")
KINDS = ("normal", "sharp", "ties", "banned", "half", "flat")


def logits_of(kind: str, vocabulary_size: int, seed: int) -> Tensor:
    """`[2, 3, V]`: noise, sharp peaks, few distinct values, some -inf, rounded to bfloat16, or all equal."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(2, 3, vocabulary_size, generator=generator)
    if kind == "ties":
        return (2 * noise).round()
    if kind == "banned":
        return torch.where(torch.rand(noise.shape, generator=generator) < 0.4, -math.inf, noise).index_fill(
            -1, torch.tensor([0]), 1.0
        )
    scale = {"normal": 1.0, "sharp": 20.0, "half": 3.0, "flat": 0.0}[kind]
    return (scale * noise).bfloat16() if kind == "half" else scale * noise


def plain(logits: Tensor, mask_id: int) -> list[PlainLogitsView]:
    return [PlainLogitsView(row.float().tolist(), mask_id) for row in logits]


def assert_close(found: Tensor, expected: Any, about: str = "") -> None:
    torch.testing.assert_close(
        found, torch.tensor(expected), rtol=2e-6, atol=2e-6, msg=lambda text: f"{about}: {text}"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_observations(kind: str, reader: str) -> None:
    for seed, size in enumerate((2, 5, 40, 1500)):
        logits = logits_of(kind, size, seed)
        for mask_id in (0, size - 1):
            found = vocabulary.observe(logits, mask_id, read=READERS[reader])
            expected = [view.observe(REALS, "argmax") for view in plain(logits, mask_id)]
            for name in ("token", "finite"):
                assert found[name].tolist() == [row[name] for row in expected], name
            for name in REALS:
                assert_close(found[name], [row[name] for row in expected], f"{name}, V={size}")


@pytest.mark.parametrize("reader", READERS)
def test_logits_that_are_not_finite(reader: str) -> None:
    """Token and `finite` are exact; the reals of such a position are not compared."""
    bad = [
        [math.nan, 1.0, 2.0],
        [1.0, math.nan, 2.0],
        [1.0, math.inf, 2.0],
        [-math.inf] * 3,
        [1.0, 2.0, math.nan],
    ]
    logits = torch.tensor([bad])
    for mask_id in range(3):
        found = vocabulary.observe(logits, mask_id, read=READERS[reader])
        (expected,) = (view.observe(REALS, "argmax") for view in plain(logits, mask_id))
        assert found["finite"].tolist() == [expected["finite"]] == [[False] * len(bad)]
        if reader != "chunks":  # of no use where the logits are not finite
            assert found["token"].tolist() == [expected["token"]]


def test_ban_bias_and_probability() -> None:
    logits = logits_of("normal", 40, 1)
    views = plain(logits, 39)
    table = [i / 8 for i in range(30)]
    for found, expected in (
        (vocabulary.banned(logits, [torch.tensor(3), torch.tensor(99)]), [v.banned([3, 99]) for v in views]),
        (
            vocabulary.biased(logits, torch.tensor(5), torch.tensor(0.3)),
            [v.biased(5, torch.tensor(0.3).item()) for v in views],
        ),
        (
            vocabulary.biased_everywhere(logits, torch.tensor(table)),
            [v.biased_everywhere(table) for v in views],
        ),
        (vocabulary.biased_everywhere(logits, torch.tensor(0.3)), [v.biased_everywhere(0.3) for v in views]),
    ):
        assert found.tolist() == [view.logits for view in expected]
        ids = torch.tensor([[3, 5, -1], [40, 39, 0]])
        p = [view.probability(row) for view, row in zip(expected, ids.tolist(), strict=True)]
        assert_close(vocabulary.probability(found, ids), p)


@pytest.mark.parametrize("kind", ["normal", "ties", "banned", "half", "flat"])
@pytest.mark.parametrize("keep", [0, 3, 39, 40, 64])
def test_distributions(kind: str, keep: int) -> None:
    before, now = logits_of(kind, 40, 3), logits_of(kind, 40, 4)
    stored = vocabulary.log_probabilities(before, keep)
    plainly = torch.tensor([view.log_probabilities(keep) for view in plain(before, 39)])
    assert stored.shape == plainly.shape
    if keep >= 40:
        assert_close(stored.exp(), plainly.exp().tolist())
    else:
        for found, expected in zip(stored.flatten(0, 1), plainly.flatten(0, 1), strict=True):
            assert by_id(found).keys() == by_id(expected).keys()
            for id_, p in by_id(expected).items():
                # The rest is a difference from 1, and its logarithm is known to fewer places than the rest.
                assert by_id(found)[id_] == pytest.approx(p, abs=2e-6)
    same = vocabulary.divergence(before, stored, keep)
    assert_close(
        same,
        [view.divergence(row, keep) for view, row in zip(plain(before, 39), stored.tolist(), strict=True)],
    )
    expected = [view.divergence(row, keep) for view, row in zip(plain(now, 39), stored.tolist(), strict=True)]
    torch.testing.assert_close(
        vocabulary.divergence(now, stored, keep), torch.tensor(expected), rtol=1e-5, atol=1e-5
    )


def by_id(distribution: Tensor) -> dict[float, float]:
    """Probability by id, `rest` under -2; `NO_ID`s are together."""
    logs, ids = (half.tolist() for half in distribution.chunk(2))
    named = {id_: math.exp(log) for id_, log in zip(ids[:-1], logs[:-1], strict=True)}
    return {**named, -2.0: max(math.exp(logs[-1]), LEAST_REST)}


def test_the_divergence_between_equal_distributions_is_nothing() -> None:
    (view, *_) = plain(logits_of("normal", 40, 3), 39)
    for keep in (5, 64):
        assert view.divergence(view.log_probabilities(keep), keep) == [0.0] * 3


@pytest.mark.parametrize("kind", ["normal", "sharp", "ties", "banned", "half"])
def test_draws(kind: str) -> None:
    """The noise has 52 bits: sums that differ in the last bit of a double are equal about never."""
    for seed, (temperature, top_p, top_k) in enumerate(
        [
            (0.7, 1.0, 0),
            (1.0, 0.8, 0),
            (2.0, 1.0, 3),
            (0.5, 0.3, 2),
            (0.0, 0.9, 0),
            (-1.0, 1.0, 5),
            (1.5, 0.0, 0),
            (math.inf, 1.0, 0),
            (math.inf, 0.5, 4),
        ]
    ):
        logits = logits_of(kind, 40, seed)
        key, step, pos = (
            torch.tensor([5, -(2**63)]),
            torch.tensor([0, 7]),
            torch.tensor([[0, 1, 2], [8, 9, 10]]),
        )
        numbers = (torch.tensor(temperature), torch.tensor(top_p), torch.tensor(top_k))
        for method in ("gumbel", "nucleus"):
            found = vocabulary.sampled(logits, 39, method, *numbers, key, step, pos)
            given = [numbers[0].item(), *([numbers[1].item(), top_k] if method == "nucleus" else [])]
            expected = [
                view.observe((), method, *given, key[row].item(), step[row].item(), pos[row].tolist())[
                    "token"
                ]
                for row, view in enumerate(plain(logits, 39))
            ]
            assert found.tolist() == expected, (method, temperature, top_p, top_k)


def test_draws_have_the_probabilities_of_the_logits() -> None:
    scores = [0.0, 1.0, 2.0, 3.0]
    view, expected = PlainLogitsView([scores] * 4000, 0), probabilities([1.0, 2.0, 3.0])
    tokens = view.observe((), "gumbel", 1.0, 3, 0, list(range(4000)))["token"]
    for id_, p in enumerate(expected, 1):
        assert tokens.count(id_) / 4000 == pytest.approx(p, abs=0.03)
