"""The word `thin` in an eager step on a CPU: the rounds end as soon as no row picks a position.

The results equal those of `module_orders`, bit for bit. Shapes: B rows, T window positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..language.words import Extent
from .eager_graph import EagerGraph, EagerNode, column
from .eager_values import BOOL, DOUBLE, REAL


def kernel_weights(distance: Tensor, width: Tensor) -> Tensor:
    """1 - exp(-d² / width²), without cancellation far inside the width."""
    return -torch.expm1(-(distance.square() / width.double().square()))


def gap_weights(distance: Tensor, width: Tensor) -> Tensor:
    return (distance > 0) & ~(distance < width)


def thinned(mask: Tensor, score: Tensor, condition: Tensor, weight: Tensor, at_most: int) -> Tensor:
    """At most `at_most` picks in each row. A pick multiplies each score by the weight of its distance.

    `weight [B, T]` has the dtype of the score.
    """
    hopeful = torch.where(mask & (score > 0), score, 0)
    return (_of_row if len(mask) == 1 else _of_rows)(hopeful, condition, weight, at_most)


def _of_row(score: Tensor, condition: Tensor, weight: Tensor, at_most: int) -> Tensor:
    """The picks in the only row, which the host follows."""
    score, holds, last = score[0], condition[0].tolist(), score.shape[1] - 1
    both_ways = torch.cat([weight[0].flip(0), weight[0, 1:]])  # by distance from -last to last
    picks: list[int] = []
    while len(picks) < at_most:
        best, at = score.max(0)
        value, pick = best.item(), int(at.item())
        if value != value:
            score = _with_values(score)
            continue
        if value <= 0 or not holds[pick]:
            break
        picks.append(pick)
        score = score * both_ways.narrow(0, last - pick, last + 1)
    chosen = torch.zeros_like(condition)
    return chosen.index_fill_(1, torch.tensor(picks, device=chosen.device), True) if picks else chosen


def _of_rows(score: Tensor, condition: Tensor, weight: Tensor, at_most: int) -> Tensor:
    places = torch.arange(score.shape[1], device=score.device)
    chosen, picks = torch.zeros_like(condition), 0
    while picks < at_most:
        best, pick = score.max(1, keepdim=True)
        values = best.view(-1).tolist()
        if any(value != value for value in values):
            score = _with_values(score)
            continue
        goes_on = condition.gather(1, pick) & (best > 0)
        if True not in goes_on.view(-1).tolist():
            break
        distance, picks = places - pick, picks + 1
        chosen = chosen | (goes_on & (distance == 0))
        score = torch.where(goes_on, score * weight.gather(1, distance.abs()), score)
    return chosen


def _with_values(score: Tensor) -> Tensor:
    """Scores without a value become 0, since neither is ever picked. A maximum would find NaN."""
    return torch.where(score > 0, score, 0)


def thin(
    g: EagerGraph,
    name: str,
    at_most: int,
    mask: EagerNode,
    score: EagerNode,
    condition: EagerNode,
    width: EagerNode,
) -> EagerNode:
    """The node of `thin` or `thin_by_kernel`."""
    if name == "thin_by_kernel":
        width, score = g.cast(width, REAL), g.cast(score, REAL)
    assert score.dtype is not None
    if width.extent is Extent.ROW:
        width = g.call(column, width, extent=Extent.ROW, dtype=width.dtype)
    distance = g.places(DOUBLE) if name == "thin_by_kernel" else g.places()
    weights, dtype = (kernel_weights, DOUBLE) if name == "thin_by_kernel" else (gap_weights, BOOL)
    weight = g.cast(g.call(weights, distance, width, extent=Extent.POSITION, dtype=dtype), score.dtype)
    operands = (g.full(mask), g.full(score), g.full(condition), weight)
    picks = min(at_most, g.length)
    return g.call(thinned, *operands, picks, extent=Extent.POSITION, dtype=BOOL, within=operands[0].inside)
