"""The statistics of one read of the logits on a CPU: chunk by chunk, so that a chunk's second loop finds it
in the nearest cache.

Shapes: B rows, T window positions, V vocabulary, C chunks of W ids. A row of logits is larger than that
cache: what goes over all of it twice reads it from memory twice. For compiled steps; eager, every loop is a
read of memory anyway. Not here: what the statistics are and the form that all others equal (`vocabulary`).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from .vocabulary import WANTED, Statistics

CHUNK = 1024  # W; also few enough for a plain float32 sum
LEAST_VOCABULARY = 8192  # below, a row lies in a cache as it is
LEAST_DISTANCE = -200.0  # exp of it is 0 in float32, and 0 times it is a number, unlike 0 times -inf
LOWEST = -3e38  # a finite stand-in for the best of nothing but -inf


def pay(logits: Tensor) -> bool:
    """Whether chunks are faster for these logits."""
    return (
        torch.compiler.is_compiling() and logits.device.type == "cpu" and logits.shape[-1] >= LEAST_VOCABULARY
    )


def statistics(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """As `vocabulary.statistics`; the sums may differ in the last bits, and `ties` in other chunks count once
    a chunk.
    """
    bests, weights, spreads = _chunks(logits)
    best = bests.amax(-1, keepdim=True)
    winner = _first(bests == best)
    _, scores = _chunk(logits, winner)
    is_winner = torch.arange(bests.shape[-1], device=bests.device) == winner
    wins = scores == best
    # One of the best ids is kept out of the sum, as everywhere: what is left is in the winner's chunk and in
    # the others.
    weight = torch.where(wins, 0.0, (scores - best).exp())
    distance = (bests - best.clamp(min=LOWEST)).clamp(min=LEAST_DISTANCE)
    share = torch.where(is_winner, 0.0, distance.exp())
    ties_there = wins.sum(-1, dtype=torch.int32)
    token = score = spread = below = None
    if "token" in wanted:
        token, score = _likeliest(logits, bests, mask_id)
    if "spread" in wanted:
        there = torch.where(weight > 0, weight * (scores - best), 0.0).sum(-1)
        spread = there + (share * (spreads + weights * distance)).sum(-1)
    if "below" in wanted:
        there = torch.where(wins, float("-inf"), scores).amax(-1)
        below = torch.maximum(there, torch.where(bests < best, bests, float("-inf")).amax(-1))
    return Statistics(
        best=best.squeeze(-1),
        ties=ties_there + ((bests == best) & ~is_winner).sum(-1, dtype=torch.int32),
        others=(share * weights).sum(-1) + weight.sum(-1) + (ties_there - 1),
        token=token,
        score=score,
        spread=spread,
        below=below,
    )


def _chunks(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`_of_chunks` of all ids, each read from memory once. The last chunk is shorter; it is there even where
    W divides V.

    (Inductor runs both loops of a chunk one after the other only while chunks are not one row of memory from
    end to end.)
    """
    whole = (logits.shape[-1] - 1) // CHUNK * CHUNK
    first = _of_chunks(logits[..., :whole].unflatten(-1, (-1, CHUNK)))
    last = _of_chunks(logits[..., whole:].unsqueeze(-2))
    best, weight, spread = (torch.cat(both, -1) for both in zip(first, last, strict=True))
    return best, weight, spread


def _of_chunks(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of chunks `[B, T, C, W]`, each relative to its own best: that best, the sums of weight and of weight
    times distance, `[B, T, C]`.
    """
    scores = scores.float()
    best = scores.amax(-1)
    distance = (scores - best.clamp(min=LOWEST).unsqueeze(-1)).clamp(min=LEAST_DISTANCE)
    weight = distance.exp()
    return best, weight.sum(-1), (weight * distance).sum(-1)


def _chunk(logits: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and scores `[B, T, W]` of one chunk a position, `which [B, T, 1]`; -inf past the last id."""
    size = logits.shape[-1]
    ids = which * CHUNK + torch.arange(CHUNK, device=logits.device)
    return ids, torch.where(ids < size, logits.gather(-1, ids.clamp(0, size - 1)).float(), float("-inf"))


def _first(holds: Tensor) -> Tensor:
    """The first place `[B, T, 1]` at which `holds [B, T, C]`, the last one where there is none."""
    places = torch.arange(holds.shape[-1], device=holds.device)
    return torch.where(holds, places, holds.shape[-1] - 1).amin(-1, keepdim=True)


def _likeliest(logits: Tensor, bests: Tensor, mask_id: int | Tensor) -> tuple[Tensor, Tensor]:
    """The best id other than MASK, ties to the lower one, and its score, `[B, T]`: only MASK's chunk and the
    winner's are read again.
    """
    of_mask = torch.zeros_like(bests[..., :1], dtype=torch.int64) + mask_id // CHUNK
    ids, scores = _chunk(logits, of_mask)
    others = torch.where(ids == mask_id, float("-inf"), scores).amax(-1, keepdim=True)
    best = torch.where(torch.arange(bests.shape[-1], device=bests.device) == of_mask, others, bests)
    score = best.amax(-1, keepdim=True)
    ids, scores = _chunk(logits, _first(best == score))
    token = torch.where((scores == score) & (ids != mask_id), ids, logits.shape[-1] - 1).amin(-1)
    return token, score.squeeze(-1)
