"""The best ids of each position on a CPU, without a search among all ids.

Shapes: B rows, T window positions, V vocabulary. Not here: the best id alone (`vocabulary_tiles`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from .cpu_tiles import pay, tiles

GROUP = 4  # ids of a group in an eager step; the maxima of groups form groups again
GROUP_COMPILED = 16  # compiled code stores the maxima of all positions: this is a sixteenth of the logits
LEAST_VOCABULARY = 8192
TILE = 2**22  # logits; with fewer, the calls of the operations take long


def top(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The `k` best scores and their ids `[B, T, k]`, as `torch.topk` gives them.

    The best ids are in the `k` groups with the best maxima: if a better id were in another group, its maximum
    would be better than the maxima of `k` groups.
    """
    if logits.device.type != "cpu" or logits.shape[-1] < LEAST_VOCABULARY:
        scores, ids = logits.topk(k)
        return scores, ids
    if not pay(logits):
        return _top_of_groups(logits, k, GROUP_COMPILED, 1)
    found = [_top_of_groups(tile, k, GROUP, 8) for tile in tiles(logits, TILE)]
    scores, ids = (torch.cat(each).view(*logits.shape[:2], k) for each in zip(*found, strict=True))
    return scores, ids


def _top_of_groups(
    scores: Tensor, k: int, group: int, levels: int, *, in_order: bool = True
) -> tuple[Tensor, Tensor]:
    """As `top`, for `scores [..., V]`. Group i has the ids i, i + V/group, ...: such maxima are fast."""
    size = scores.shape[-1]
    if not levels or size % group or size < 2 * group * k:
        best, ids = scores.topk(k, sorted=in_order)
        return best, ids
    groups = size // group
    maxima = scores.unflatten(-1, (group, groups)).amax(-2)
    _, best_groups = _top_of_groups(maxima, k, group, levels - 1, in_order=False)
    ids = best_groups.unsqueeze(-1) + groups * torch.arange(group, device=scores.device)
    ids = ids.flatten(-2)
    best, which = scores.gather(-1, ids).topk(k, sorted=in_order)
    return best, ids.gather(-1, which)
