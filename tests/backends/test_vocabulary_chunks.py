"""Reading the vocabulary chunk by chunk gives the same results as reading it in one piece."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from dsldec.backends import vocabulary, vocabulary_chunks
from dsldec.backends.compiled import OPTIONS
from dsldec.backends.vocabulary import Statistics, observe
from dsldec.backends.vocabulary_dispatch import reader

WORST = 3e-7  # relative; both forms are this close to float64


def assert_same(one: Statistics, other: Statistics) -> None:
    assert torch.equal(one.ties > 1, other.ties > 1)
    for name in ("best", "token", "score", "below"):
        assert torch.equal(getattr(one, name).nan_to_num(7.5), getattr(other, name).nan_to_num(7.5)), name
    for name in ("others", "spread"):
        torch.testing.assert_close(
            getattr(one, name), getattr(other, name), rtol=WORST, atol=1e-7, equal_nan=True
        )


def logits(size: int, dtype: torch.dtype, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 5, size, generator=generator) * torch.tensor([0.1, 1, 4, 10, 0]).view(5, 1)
    x[0, :, size // 3] += 25  # peaked
    if seed % 2:
        x = x.round()  # ties, within chunks and across
        x[1, 1, ::3] = float("-inf")
        x[1, 2] = float("-inf")
        x[1, 3, size // 2] = float("inf")
        x[1, 4, -1] = float("nan")
    return x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1025, 2048, 2049, 5000, 9000])
def test_chunks_equal_the_whole(size: int, dtype: torch.dtype) -> None:
    for seed, mask_id in product(range(4), (0, 1023, 1024, size // 3, size - 1, size + 5)):
        x = logits(size, dtype, seed)
        finite = x.float().amax(-1).abs() < float("inf")
        whole, chunks = vocabulary.statistics(x, mask_id), vocabulary_chunks.statistics(x, mask_id)
        assert torch.equal(chunks.best.abs() < float("inf"), finite)
        keep = lambda of: Statistics(*(getattr(of, name)[finite] for name in Statistics.__slots__))  # noqa: E731, B023
        assert_same(keep(whole), keep(chunks))
        assert_same(keep(whole), keep(vocabulary_chunks.statistics(x, torch.tensor(mask_id))))


def test_what_is_wanted_alone() -> None:
    x = logits(3000, torch.float32, 0)
    all_ = vocabulary_chunks.statistics(x, 5)
    for name in vocabulary.WANTED:
        alone = vocabulary_chunks.statistics(x, 5, [name])
        for other in ("token", "spread", "below"):
            assert (getattr(alone, other) is None) == (other != name)
        assert torch.equal(getattr(alone, name), getattr(all_, name))


def test_compiled_steps_read_large_vocabularies_in_chunks_and_eager_ones_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    of_chunks = vocabulary_chunks._of_chunks
    monkeypatch.setattr(
        vocabulary_chunks, "_of_chunks", lambda scores: calls.append(scores.shape[-1]) or of_chunks(scores)
    )
    read = reader(kernels=True, raw=True)
    compiled = torch.compile(
        lambda x: observe(x, 7, read=read), fullgraph=True, dynamic=False, options=OPTIONS
    )
    large, small = (10 * torch.randn(1, 4, size) for size in (vocabulary_chunks.LEAST_VOCABULARY, 4096))
    wanted = observe(large, 7, read=read)
    assert calls == []
    seen = compiled(large)
    assert calls == [vocabulary_chunks.CHUNK, vocabulary_chunks.CHUNK]
    assert torch.equal(seen["token"], wanted["token"])
    for name, value in wanted.items():
        torch.testing.assert_close(seen[name], value, rtol=1e-6, atol=1e-7)
    compiled(small)
    assert len(calls) == 2
