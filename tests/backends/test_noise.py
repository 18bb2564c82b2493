"""Random numbers from ints: the two forms agree, and their results look random."""

from __future__ import annotations

import torch

from dsldec.backends import noise

EXTREMES = [0, 1, -1, 2**63 - 1, -(2**63), 12345, -987654321]


def test_tensors_and_ints_agree() -> None:
    parts = torch.tensor(EXTREMES)
    one, two, three = parts.reshape(-1, 1, 1), parts.reshape(1, -1, 1), parts
    mixed, uniform = noise.mixed(one, two, three), noise.uniform(one, two, three, 5)
    for i, a in enumerate(EXTREMES):
        for j, b in enumerate(EXTREMES):
            assert mixed[i, j].tolist() == [noise.mixed_int(a, b, c) for c in EXTREMES]
            assert uniform[i, j].tolist() == [noise.uniform_float(a, b, c, 5) for c in EXTREMES]


def test_a_hash_once_and_for_ever() -> None:
    """Results of a seed are results: another hash would change them."""
    assert (noise.mixed_int(0), noise.mixed_int(1, 2), noise.key(0, 0)) == (
        -2152535657050944081,
        -1167764580585492399,
        -2152535657050944081,
    )


def test_uniform_numbers_lie_strictly_between_0_and_1() -> None:
    numbers = noise.uniform(torch.arange(200_000))
    assert 0 < numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    assert abs(numbers.mean().item() - 0.5) < 0.005
    counts = torch.histc(numbers, 20, 0, 1)
    assert (counts - 10_000).abs().max() < 500
    assert torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1].abs() < 0.01
    # The ends themselves: what all bits 0 and all bits 1 become.
    largest = (torch.tensor(2**noise.BITS - 1).float() + 0.5) / 2**noise.BITS
    assert largest < 1


def test_keys_of_requests_differ() -> None:
    keys = {noise.key(seed, request) for seed in range(50) for request in range(50)}
    assert len(keys) == 2500
    assert all(-(2**63) <= key < 2**63 for key in keys)
    assert noise.key(2**80 + 3, -5) == noise.key(3, 2**64 - 5)


def test_gumbel_noise() -> None:
    numbers = noise.gumbel(torch.arange(200_000))
    assert numbers.dtype == torch.float64
    assert abs(numbers.mean().item() - 0.5772) < 0.01
    assert abs(numbers.var().item() - 1.6449) < 0.03
