"""The statistics of the logits in an eager step on a CPU, tile by tile, so that only the first operation of a
tile reads memory.

Shapes: B rows, T window positions, V vocabulary, C chunks of W ids; n positions of a tile. Without tiles,
each operation writes a tensor as large as the logits, whose memory the system maps anew. The host reads
tensors here, which is cheap on a CPU. Not here: the definition of the statistics (`vocabulary`), the
tiles (`cpu_tiles`), compiled code (`vocabulary_chunks`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from . import vocabulary
from .cpu_tiles import tiles
from .vocabulary import WANTED, Statistics
from .vocabulary_chunks import LOWEST, likeliest, scores_of_chunk

SMALL = 2**16  # up to this number of logits, fewer operations are faster than tiles
# W: with fewer ids a reduction is slow, with more ids the search in the best chunk is.
CHUNK, CHUNK_OF_FEW, FEW_IDS = 256, 32, 8192
LOG2_E = math.log2(math.e)
LEAST_FAR = -1e30  # its exp is 0, and 0 times it is 0, unlike 0 times -inf


class _TileBuffers(threading.local):
    """Memory for tiles, allocated once in each thread."""

    def __init__(self) -> None:
        self.made: dict[int, Tensor] = {}

    def like(self, tile: Tensor, number: int) -> Tensor:
        """The float32 buffer with this number, in the shape of a tile. The next tile writes over it."""
        size = tile.numel()
        if number not in self.made or self.made[number].numel() < size:
            with torch.inference_mode(False):  # an inference tensor could not be written in other modes
                self.made[number] = torch.empty(size, dtype=torch.float32, device="cpu")
        return self.made[number][:size].view(tile.shape)


_buffers = _TileBuffers()


def statistics(logits: Tensor, mask_id: int | Tensor, wanted: Collection[str] = WANTED) -> Statistics:
    """As `vocabulary.statistics`. The sums may differ in the last bits; `ties` counts each chunk without the
    winner at most once, and is `None` unless `below` is wanted. With ties, `below` may be too
    low. `score` is the tensor `best` itself if MASK is the best id nowhere.
    """
    read = _small if logits.numel() <= SMALL else _by_tiles
    of = read(logits, int(mask_id), wanted)
    if math.isnan(of.others.sum().item()):
        return _with_not_finite(of, logits, mask_id, wanted)
    return of


def _with_not_finite(
    of: Statistics, logits: Tensor, mask_id: int | Tensor, wanted: Collection[str]
) -> Statistics:
    """The statistics with those of `vocabulary.statistics` at positions whose logits are not finite."""
    bad = of.others.isnan()
    there = vocabulary.statistics(logits[bad].unsqueeze(0), mask_id, wanted)
    values = {
        name: value.masked_scatter(bad, getattr(there, name).to(value.dtype))
        for name in Statistics.__slots__
        if (value := getattr(of, name)) is not None
    }
    return replace(of, **values)


def _small(logits: Tensor, mask_id: int, wanted: Collection[str]) -> Statistics:
    """The statistics in few operations."""
    scores = logits.float()
    best, token = scores.max(-1, keepdim=True)  # the lower of equal ids
    distance = scores - best
    weight = (distance.exp() if "spread" in wanted else distance.exp_()).scatter_(-1, token, 0.0)
    of = _statistics(best, weight.sum(-1), token, wanted)
    if "token" in wanted and mask_id in token.flatten().tolist():
        token, score = vocabulary.likeliest(scores, mask_id)
        of = replace(of, token=token, score=score.squeeze(-1))
    if "spread" in wanted:
        of = replace(of, spread=(weight * distance).nansum(-1))  # 0 times -inf is NaN
    if "below" in wanted:
        wins = scores == best
        below = scores.masked_fill(wins, float("-inf")).amax(-1)
        of = replace(of, ties=wins.sum(-1, dtype=torch.int32), below=below)
    return of


def _statistics(best: Tensor, others: Tensor, token: Tensor, wanted: Collection[str]) -> Statistics:
    """The statistics without `spread` and `below`, of `best` and `token [B, T, 1]`."""
    best = best.squeeze(-1)
    if "token" not in wanted:
        return Statistics(best, None, others)
    return Statistics(best, None, others, token.squeeze(-1), best)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """The results of one read of all chunks, for N positions of all rows together.

    `best [N, C]`: the best scores. `near [N, 1]`: the best score of all chunks but the best one. `weight
    [N, C]`: the sums of exp(score - near). `spread [N, C]`: the sums of exp(score - near) * (score - near),
    `None` unless wanted. Both mean nothing in the best chunk.

    Distances are from `near` and not from the best score, so that the largest terms are exact. The product of
    a large distance and `LOG2_E` is rounded, but it makes a small term.
    """

    best: Tensor
    near: Tensor
    weight: Tensor
    spread: Tensor | None


def _by_tiles(logits: Tensor, mask_id: int, wanted: Collection[str]) -> Statistics:
    """The statistics of many logits."""
    width = CHUNK if logits.shape[-1] >= FEW_IDS else CHUNK_OF_FEW
    chunks = _read(logits, width, "spread" in wanted)
    bests = chunks.best.view(*logits.shape[:2], -1)
    best, winner = bests.max(-1, keepdim=True)
    ids, scores = scores_of_chunk(logits, winner, width)
    at = scores.max(-1, keepdim=True).indices
    # As in `vocabulary`, the sum excludes one best id. The rest is in the winner's chunk and in the others.
    distance = scores - best
    weight = distance.exp().scatter_(-1, at, 0.0)
    # In float64: an error here would be one of the whole sum.
    far = chunks.near.view(best.shape).double() - best
    share = far.exp().float()
    elsewhere = chunks.weight.view(bests.shape).scatter_(-1, winner, 0.0).sum(-1, keepdim=True)
    others = weight.sum(-1) + (share * elsewhere).squeeze(-1)
    of = _statistics(best, others, ids.gather(-1, at), wanted)
    if of.token is not None and mask_id in of.token.flatten().tolist():
        token, score = likeliest(logits, bests, mask_id, width)
        of = replace(of, token=token, score=score)
    if chunks.spread is not None:
        spread = chunks.spread.view(bests.shape).scatter_(-1, winner, 0.0).sum(-1, keepdim=True)
        spread = (share * (spread + elsewhere * far.clamp(min=LEAST_FAR).float())).squeeze(-1)
        of = replace(of, spread=spread + weight.mul_(distance).nansum(-1))  # 0 times -inf is NaN
    if "below" in wanted:
        wins = scores == best
        below = torch.maximum(
            scores.masked_fill(wins, float("-inf")).amax(-1),
            bests.masked_fill(bests == best, float("-inf")).amax(-1),
        )
        ties = wins.sum(-1, dtype=torch.int32) + (bests == best).sum(-1, dtype=torch.int32) - 1
        of = replace(of, ties=ties, below=below)
    return of


def _read(logits: Tensor, width: int, with_spread: bool) -> _Chunks:
    """Read all chunks of `logits [B, T, V]`. The last chunk may be shorter; it is not part of the tiles."""
    positions, whole = logits[..., 0].numel(), logits.shape[-1] // width
    tail = logits[..., whole * width :].reshape(positions, 1, -1).float()
    chunks = whole + (tail.shape[-1] > 0)
    new = partial(torch.empty, dtype=torch.float32, device=logits.device)
    best, weight = new(2, positions, chunks).unbind()
    of = _Chunks(best, new(positions, 1), weight, new(positions, chunks) if with_spread else None)
    if chunks > whole:
        best[:, whole:] = tail.amax(-1)
    begin = 0
    for tile in tiles(logits[..., : whole * width].unflatten(-1, (whole, width))):
        here = slice(begin, begin := begin + len(tile))
        _read_tile(tile, of, here)
    if chunks > whole:
        distance = tail - of.near.unsqueeze(-1)
        torch.sum(distance.exp(), -1, out=weight[:, whole:])
        if of.spread is not None:
            of.spread[:, whole:] = distance.exp().mul_(distance).nansum(-1)
    return of


def _read_tile(tile: Tensor, of: _Chunks, here: slice) -> None:
    """Read a tile `[n, C, W]`, and write the results to the positions `here`."""
    whole = slice(tile.shape[1])
    if tile.dtype != torch.float32:
        tile = _buffers.like(tile, 2).copy_(tile)
    best, near = of.best[here], of.near[here]
    torch.amax(tile, -1, out=best[:, whole])
    torch.clamp(best.topk(min(2, best.shape[1])).values[:, -1:], min=LOWEST, out=near)
    power = torch.sub(tile, near.unsqueeze(-1), out=_buffers.like(tile, 0)).mul_(LOG2_E)
    # Not `exp`: in torch for x86, it is MKL's, which takes three times as long on other makers' processors.
    if of.spread is None:
        torch.sum(power.exp2_(), -1, out=of.weight[here, whole])
    else:
        weight = torch.exp2(power, out=_buffers.like(tile, 1))
        torch.sum(weight, -1, out=of.weight[here, whole])
        # 0 times -inf is NaN.
        of.spread[here, whole] = power.mul_(weight).nansum(-1).mul_(1 / LOG2_E)
