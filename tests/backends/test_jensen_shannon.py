"""The Jensen-Shannon divergence of two steps is that of its definition, and at most that over all ids."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.reference_vocabulary import LEAST_REST
from dsldec.backends.vocabulary import jensen_shannon, log_probabilities

from ..published.adaptive import divergence as over
from ..toy import ToyDenoiser
from .test_reference_vocabulary import logits_of, plain

KINDS = ("normal", "sharp", "ties", "banned", "half", "flat")
V = 40


def by_definition(now: Tensor, before: Tensor, keep: int) -> Tensor:
    """`[2, 3]`, in doubles, with the ids that were likeliest before and all others together."""
    found = torch.zeros(now.shape[:2], dtype=torch.float64)
    p, q = now.double().softmax(-1), before.double().softmax(-1)
    for row in range(now.shape[0]):
        for at in range(now.shape[1]):
            here, then = p[row, at].tolist(), q[row, at].tolist()
            ranked = sorted(range(V), key=lambda id_, then=then: (-then[id_], id_))  # type: ignore[misc]
            scores = before[row, at].tolist()
            last = scores[ranked[keep]] if keep < V else -math.inf
            kept = [id_ for id_ in ranked[:keep] if keep >= V or scores[id_] > last]
            parts = [[x[id_] for id_ in kept] for x in (here, then)]
            if keep < V:
                for part, x in zip(parts, (here, then), strict=True):
                    part.append(max(LEAST_REST, 1 - math.fsum(x[id_] for id_ in kept)))
            found[row, at] = over(*parts)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keep", [0, 3, 39, 40, 64])
def test_the_divergence_is_that_of_the_definition(kind: str, keep: int) -> None:
    before, now = logits_of(kind, V, 3), logits_of(kind, V, 4)
    stored = log_probabilities(before, keep)
    wanted = by_definition(now, before, keep)
    torch.testing.assert_close(jensen_shannon(now, stored, keep).double(), wanted, rtol=1e-5, atol=2e-6)
    slow = [
        view.jensen_shannon(row, keep) for view, row in zip(plain(now, V - 1), stored.tolist(), strict=True)
    ]
    torch.testing.assert_close(torch.tensor(slow).double(), wanted, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_between_0_and_log_2_and_grows_with_the_ids_that_are_told_apart(kind: str) -> None:
    before, now = logits_of(kind, V, 5), logits_of(kind, V, 6)
    whole = jensen_shannon(now, log_probabilities(before, V), V)
    assert (whole >= 0).all()
    assert (whole <= math.log(2) + 1e-6).all()
    for keep in (0, 1, 3, 12, 39):
        some = jensen_shannon(now, log_probabilities(before, keep), keep)
        assert (some >= 0).all()
        assert (some <= whole + 2e-6).all()


@pytest.mark.parametrize("keep", [3, V])
def test_equal_distributions_do_not_diverge_and_disjoint_ones_by_log_2(keep: int) -> None:
    logits = logits_of("normal", V, 7)
    assert not jensen_shannon(logits, log_probabilities(logits, V), V).any()
    assert (jensen_shannon(logits, log_probabilities(logits, keep), keep) < 1e-6).all()
    one, other = torch.full((1, 1, V), -math.inf), torch.full((1, 1, V), -math.inf)
    one[..., 3], other[..., 5] = 2.0, -7.0
    assert jensen_shannon(one, log_probabilities(other, keep), keep).item() == pytest.approx(
        math.log(2), abs=1e-4
    )


def test_it_is_finite_where_a_probability_is_tiny() -> None:
    far = torch.tensor([[[0.0, -103.0, -200.0, -1e30]]])
    near = torch.tensor([[[-103.0, 0.0, -1e30, -200.0]]])
    assert jensen_shannon(near, log_probabilities(far, 4), 4).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("window", ["blocks(9)", "sliding(max_masks=5, max_length=9)", "all"])
def test_all_backends_read_it_alike(window: str) -> None:
    """Also at the positions that enter a sliding window, where there is no step before."""
    policy = dsldec.load(
        f"policy p(calm: nats = 0.2):\n  window {window}\n  commit masked and js(before, keep=5) < calm at least 1 by conf\n"
    )
    for seed in range(6):
        texts = [
            dsldec.decode(
                ToyDenoiser(seed, 2.0), [[1, 2], [7]], policy, gen_length=30, backend=backend, trace=True
            ).trace
            for backend in ("reference", "eager")
        ]
        for slow, fast in zip(*texts, strict=True):
            assert [step.committed for step in slow] == [step.committed for step in fast]
