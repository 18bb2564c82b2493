"""A Monte-Carlo bound on the log-likelihood of an answer, for a denoiser that sees the whole canvas.

The bound of LLaDA (Nie et al., arXiv:2502.09992, equation 6 and appendix B.5). For an answer of L tokens
after a prompt, with l uniform in 1..L and S a uniform set of l of its positions,

    log p(answer | prompt) >= E over l, S of (L / l) * sum over i in S of log p(token i | canvas, S masked).

The mean over samples estimates the right side: it is a bound on the value in expectation, and not the value.
If an answer has at most `samples` sets of positions (7 tokens with 128 samples), all sets are computed, and
the right side is exact. Shapes: R rows of the input, L canvas length, W columns of logits, V vocabulary. Not
here: texts and tokens (`texts`), the loop over requests (`model`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...backends import noise
from ...models.denoiser import capability, columns_keyword
from ...runtime.logits import as_logits


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt and the answer to score. `key`: the start of its random numbers."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    key: int = 0

    @property
    def length(self) -> int:
        """The columns of the canvas."""
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class MaskedCopy:
    """One row of the input: the pair at place `pair`, with these positions of its answer masked. `weight`:
    the factor of the sum of their log-probabilities.
    """

    pair: int
    masked: tuple[int, ...]
    weight: float


def bounds(
    denoiser: Any, pairs: Sequence[Pair], samples: int, batch: int
) -> Iterator[tuple[int, float, int]]:
    """For each pair its place, the bound in nats, and the rows of the input. Pairs of one length share calls,
    so that no row is padded; `batch`: the most rows of a call.
    """
    by_length: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        by_length.setdefault(pair.length, []).append(place)
    for length in sorted(by_length, reverse=True):
        sums = {place: [0.0, 0.0] for place in by_length[length]}
        copies = (copy for place in by_length[length] for copy in masked_copies(place, pairs[place], samples))
        open_places = list(by_length[length])
        while rows := list(itertools.islice(copies, batch)):
            for copy, value in zip(rows, _log_probabilities(denoiser, pairs, rows), strict=True):
                sums[copy.pair][0] += copy.weight * value
                sums[copy.pair][1] += 1
            while open_places and open_places[0] != rows[-1].pair:  # the copies of a pair are consecutive
                yield _of(open_places.pop(0), sums)
        for place in open_places:
            yield _of(place, sums)


def _of(place: int, sums: dict[int, list[float]]) -> tuple[int, float, int]:
    return place, sums[place][0], int(sums[place][1])


def masked_copies(place: int, pair: Pair, samples: int) -> Iterator[MaskedCopy]:
    """The masked copies of a pair; the bound is the weighted sum over them. None for an empty answer."""
    length = len(pair.answer)
    if length == 0:
        return
    if length <= samples.bit_length() and 2**length - 1 <= samples:
        for count in range(1, length + 1):
            # Each l has the probability 1 / L, and each set of l positions is equally likely.
            weight = 1 / (count * math.comb(length, count))
            for masked in itertools.combinations(range(length), count):
                yield MaskedCopy(place, masked, weight)
        return
    generator = torch.Generator().manual_seed(noise.mixed_int(pair.key, length) % 2**63)
    # Systematic sampling: the counts are spread evenly over 1..L, and each is uniform there.
    start = float(torch.rand((), generator=generator, dtype=torch.float64)) * length
    for sample in range(samples):
        count = 1 + int((start + sample * length / samples) % length)
        drawn = torch.randperm(length, generator=generator)[:count].sort().values.tolist()
        yield MaskedCopy(place, tuple(drawn), length / count / samples)


def _log_probabilities(denoiser: Any, pairs: Sequence[Pair], rows: Sequence[MaskedCopy]) -> list[float]:
    """For each row the sum of the log-probabilities at its masked positions."""
    device = torch.device(getattr(denoiser, "device", "cpu"))
    answers = [pairs[row.pair].answer for row in rows]
    width = max(map(len, answers))
    canvases = torch.tensor([[*pairs[row.pair].prompt, *pairs[row.pair].answer] for row in rows])
    # Column 0 of these is the first column of the longest answer: every answer ends at the canvas's end.
    masked = torch.zeros(len(rows), width, dtype=torch.bool)
    for at, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        masked[at, torch.tensor(row.masked) + width - len(answer)] = True
    targets = canvases[:, -width:].clone()
    canvases[:, -width:][masked] = denoiser.mask_id
    logits = _logits(denoiser, canvases.to(device), width)
    scores = torch.log_softmax(logits.float(), dim=-1)
    of_targets = scores.gather(-1, targets.to(scores.device).unsqueeze(-1)).squeeze(-1).cpu()
    return torch.where(masked, of_targets.double(), 0.0).sum(1).tolist()


def _logits(denoiser: Any, canvases: Tensor, width: int) -> Tensor:
    """Logits `[R, W, V]` of the last W columns of `canvases [R, L]`."""
    length, vocab_size = canvases.shape[1], denoiser.vocab_size
    if capability(denoiser, "selects_columns") and width < length:
        columns = torch.arange(length - width, length, device=canvases.device).expand(len(canvases), -1)
        given = denoiser(canvases, **{columns_keyword(denoiser): columns})
        return as_logits(given, len(canvases), width, vocab_size)
    return as_logits(denoiser(canvases), len(canvases), length, vocab_size)[:, -width:]
