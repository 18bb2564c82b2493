"""The statistics of the logits on a CPU, chunk by chunk, so that the second loop over a chunk reads the
nearest cache.

Shapes: B rows, T window positions, V vocabulary, C chunks of W ids. The logits of a position are larger than
that cache, so two loops over all of them read memory twice. Chunks pay only in compiled steps: in an eager
step, every loop reads memory anyway. Not here: the definition of the statistics, and their form by torch
(`vocabulary`).
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from .vocabulary import WANTED, Statistics

CHUNK = 1024  # W; few enough for a float32 sum
LEAST_VOCABULARY = 8192  # with fewer ids, the logits of a position fit into the cache
LEAST_DISTANCE = -200.0  # its exp is 0 in float32, and 0 times it is 0, unlike 0 times -inf
LOWEST = -3e38  # a finite best score for a chunk in which all scores are -inf


def pay(logits: Tensor) -> bool:
    """Whether chunks are faster for these logits."""
    return (
        torch.compiler.is_compiling() and logits.device.type == "cpu" and logits.shape[-1] >= LEAST_VOCABULARY
    )


def statistics(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """As `vocabulary.statistics`. The sums may differ in the last bits; `ties` counts each chunk without the
    winner at most once.
    """
    bests, weights, spreads = _chunks(logits)
    best = bests.amax(-1, keepdim=True)
    winner = _first(bests == best)
    _, scores = scores_of_chunk(logits, winner)
    is_winner = torch.arange(bests.shape[-1], device=bests.device) == winner
    wins = scores == best
    # As in `vocabulary`, the sum excludes one best id. The rest is in the winner's chunk and in the other
    # chunks.
    weight = torch.where(wins, 0.0, (scores - best).exp())
    distance = (bests - best.clamp(min=LOWEST)).clamp(min=LEAST_DISTANCE)
    share = torch.where(is_winner, 0.0, distance.exp())
    ties_there = wins.sum(-1, dtype=torch.int32)
    token = score = spread = below = None
    if "token" in wanted:
        token, score = likeliest(logits, bests, mask_id)
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
    """The results of `_of_chunks` for all ids, each read from memory once.

    The last chunk is separate, even if W divides V: Inductor runs both loops over a chunk one after the other
    only while the chunks do not cover the whole row of memory.
    """
    whole = (logits.shape[-1] - 1) // CHUNK * CHUNK
    first = _of_chunks(logits[..., :whole].unflatten(-1, (-1, CHUNK)))
    last = _of_chunks(logits[..., whole:].unsqueeze(-2))
    best, weight, spread = (torch.cat(both, -1) for both in zip(first, last, strict=True))
    return best, weight, spread


def _of_chunks(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For chunks `[B, T, C, W]`: the best score, the sum of weights, and the sum of weight times distance,
    all `[B, T, C]`.

    Weights and distances are relative to the best score of the chunk.
    """
    scores = scores.float()
    best = scores.amax(-1)
    distance = scores - best.clamp(min=LOWEST).unsqueeze(-1)
    weight = distance.exp()
    # The clamp is part of the spread alone: it would take a tenth of the time of a step without entropy.
    return best, weight.sum(-1), (weight * distance.clamp(min=LEAST_DISTANCE)).sum(-1)


def scores_of_chunk(logits: Tensor, which: Tensor, width: int = CHUNK) -> tuple[Tensor, Tensor]:
    """The ids and scores `[B, T, W]` of one chunk for each position, `which [B, T, 1]`; -inf beyond the last
    id.
    """
    size = logits.shape[-1]
    ids = which * width + torch.arange(width, device=logits.device)
    return ids, torch.where(ids < size, logits.gather(-1, ids.clamp(0, size - 1)).float(), float("-inf"))


def _first(holds: Tensor) -> Tensor:
    """The first index `[B, T, 1]` where `holds [B, T, C]` is true; the last index if it is true nowhere."""
    places = torch.arange(holds.shape[-1], device=holds.device)
    return torch.where(holds, places, holds.shape[-1] - 1).amin(-1, keepdim=True)


def likeliest(
    logits: Tensor, bests: Tensor, mask_id: int | Tensor, width: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """The best id other than MASK, the lower of equal ones, and its score, `[B, T]`.

    `bests [B, T, C]`: the best scores of the chunks. Only the chunk of MASK and the chunk of the winner are
    read again.
    """
    of_mask = torch.zeros_like(bests[..., :1], dtype=torch.int64) + mask_id // width
    ids, scores = scores_of_chunk(logits, of_mask, width)
    others = torch.where(ids == mask_id, float("-inf"), scores).amax(-1, keepdim=True)
    best = torch.where(torch.arange(bests.shape[-1], device=bests.device) == of_mask, others, bests)
    score = best.amax(-1, keepdim=True)
    ids, scores = scores_of_chunk(logits, _first(best == score), width)
    token = torch.where((scores == score) & (ids != mask_id), ids, logits.shape[-1] - 1).amin(-1)
    return token, score.squeeze(-1)
