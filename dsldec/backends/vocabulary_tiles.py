"""The statistics of the logits in an eager step on a CPU, tile by tile, so that only the first operation of a
tile reads memory.

Shapes: B rows, T window positions, V vocabulary, C chunks of W ids; n positions of a tile. Without tiles,
each operation writes a tensor as large as the logits, whose memory the system maps anew. The host reads
tensors here, which is cheap on a CPU. Not here: the definition of the statistics (`vocabulary`), compiled
code (`vocabulary_chunks`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from . import vocabulary
from .vocabulary import WANTED, Statistics
from .vocabulary_chunks import likeliest, scores_of_chunk

TILE = 2**17  # logits; two buffers of a tile fit into most second caches
SMALL = 2**17  # up to this number of logits, fewer operations are faster than tiles
# W: with fewer ids a reduction is slow, with more ids the search in the best chunk is.
CHUNK, CHUNK_OF_FEW, FEW_IDS = 256, 32, 8192


class _Buffers(threading.local):
    """Memory for tiles, allocated once in each thread."""

    def __init__(self) -> None:
        self.made: dict[int, Tensor] = {}

    def like(self, tile: Tensor, number: int) -> Tensor:
        """The float32 buffer with this number, in the shape of a tile. The next tile writes over it."""
        size = tile.numel()
        if number not in self.made or self.made[number].numel() < size:
            with torch.inference_mode(False):  # an inference tensor could not be written in other modes
                self.made[number] = torch.empty(size)
        return self.made[number][:size].view(tile.shape)


_buffers = _Buffers()


def pay(logits: Tensor) -> bool:
    """Whether tiles are faster for these logits. Tracing and gradients need `vocabulary.statistics`."""
    return (
        type(logits) is Tensor
        and logits.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not (logits.requires_grad and torch.is_grad_enabled())
        and logits.numel() > 0
    )


def tiles(logits: Tensor) -> Iterator[Tensor]:
    """`logits [B, T, V]` as views `[n, V]`, in order."""
    at_once = max(1, TILE // logits.shape[-1]) * torch.get_num_threads()
    for rows in (logits.flatten(0, 1),) if logits.is_contiguous() else logits:
        yield from rows.split(at_once)


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
    return Statistics(**values)


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


def _by_tiles(logits: Tensor, mask_id: int, wanted: Collection[str]) -> Statistics:
    """The statistics of many logits."""
    width = CHUNK if logits.shape[-1] >= FEW_IDS else CHUNK_OF_FEW
    bests, shares, spread = _read(logits, width, "spread" in wanted)
    best, winner = bests.max(-1, keepdim=True)
    ids, scores = scores_of_chunk(logits, winner, width)
    at = scores.max(-1, keepdim=True).indices
    # As in `vocabulary`, the sum excludes one best id. The rest is in the winner's chunk and in the other
    # chunks. The chunk of the winner also gives the number by which the softmax divided.
    there = (scores - best).exp_().scatter_(-1, at, 0.0).sum(-1)
    total = (1 + there) / shares.gather(-1, winner).squeeze(-1)
    others = there + total * shares.scatter_(-1, winner, 0.0).sum(-1)
    of = _statistics(best, others, ids.gather(-1, at), wanted)
    if of.token is not None and mask_id in of.token.flatten().tolist():
        token, score = likeliest(logits, bests, mask_id, width)
        of = replace(of, token=token, score=score)
    if spread is not None:
        of = replace(of, spread=total * spread)
    if "below" in wanted:
        wins = scores == best
        below = torch.maximum(
            scores.masked_fill(wins, float("-inf")).amax(-1),
            bests.masked_fill(bests == best, float("-inf")).amax(-1),
        )
        ties = wins.sum(-1, dtype=torch.int32) + (bests == best).sum(-1, dtype=torch.int32) - 1
        of = replace(of, ties=ties, below=below)
    return of


def _read(logits: Tensor, width: int, with_spread: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """The best score of each chunk and the sum of the softmax over each chunk `[B, T, C]`; and the sum of the
    softmax times (score - best) `[B, T]`.
    """
    B, T, V = logits.shape
    chunks = -(-V // width)
    bests, shares = torch.empty(2, B * T, chunks).unbind()
    spread = torch.empty(B * T) if with_spread else None
    begin = 0
    for tile in tiles(logits):
        here = slice(begin, begin := begin + len(tile))
        softmax = _buffers.like(tile, 0)
        if tile.dtype != torch.float32:
            tile = _buffers.like(tile, 1).copy_(tile)
        _of_chunks(torch.amax, tile, width, bests[here])
        torch.softmax(tile, -1, out=softmax)
        _of_chunks(torch.sum, softmax, width, shares[here])
        if spread is not None:
            best = bests[here].amax(-1, keepdim=True)
            distance = torch.sub(tile, best, out=_buffers.like(tile, 1))
            spread[here] = distance.mul_(softmax).nansum(-1)  # 0 times -inf is NaN
    return (
        bests.view(B, T, chunks),
        shares.view(B, T, chunks),
        None if spread is None else spread.view(B, T),
    )


def _of_chunks(reduce: Callable[..., Tensor], tile: Tensor, width: int, out: Tensor) -> None:
    """`out [n, C]`: the reduction of each chunk of a tile."""
    whole = tile.shape[-1] // width
    reduce(tile[:, : whole * width].unflatten(-1, (whole, width)), -1, out=out[:, :whole])
    if whole * width < tile.shape[-1]:
        reduce(tile[:, whole * width :], -1, out=out[:, whole])
