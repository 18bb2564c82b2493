"""The decoding loops of LLaDA (arXiv:2502.09992) and Fast-dLLM (arXiv:2505.22618), written plainly from their
descriptions, in batches.

Each computes the logits of the whole canvas and a softmax of them in float64, and the host waits for the GPU
in each step. Shapes: B rows, L columns of the canvas. Not here: the confidences (`dsldec.tools.baselines`),
the rules in dsldec (`policies/static.policy`, `threshold.policy`, `factor.policy`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dsldec.models.denoiser import Denoiser
from dsldec.tools.baselines import float64_softmax

Rule = Callable[[Tensor, Tensor], Tensor]  # confidence [B, L] and the open positions, to those to write


def most_confident(conf: Tensor, is_open: Tensor, tokens: int = 1) -> Tensor:
    """LLaDA: the most confident positions of each row, one row after the other."""
    chosen = torch.zeros_like(is_open)
    for row in range(len(conf)):
        count = min(tokens, int(is_open[row].sum()))
        chosen[row, conf[row].topk(count).indices] = True
    return chosen


def above_threshold(conf: Tensor, is_open: Tensor, threshold: float = 0.9) -> Tensor:
    """Fast-dLLM: the positions above a threshold, and the best one."""
    best = torch.zeros_like(is_open).scatter(1, conf.argmax(1, keepdim=True), True)
    return is_open & (best | (conf > threshold))


def by_factor(conf: Tensor, is_open: Tensor, factor: float = 1.0) -> Tensor:
    """Fast-dLLM's factor rule, row by row: the most confident n positions with (n + 1)(1 - conf) below the
    factor, at least one.
    """
    chosen = torch.zeros_like(is_open)
    for row in range(len(conf)):
        count = int(is_open[row].sum())
        if not count:
            continue
        sorted_, places = conf[row].topk(count)
        n = 1
        while n < count and (n + 2) * (1 - float(sorted_[n])) < factor:
            n += 1
        chosen[row, places[:n]] = True
    return chosen


RULES: dict[str, Rule] = {"static": most_confident, "threshold": above_threshold, "factor": by_factor}
NAMES = {"static": "LLaDA", "threshold": "Fast-dLLM, threshold", "factor": "Fast-dLLM, factor"}


@torch.no_grad()
def published_loop(
    denoiser: Denoiser, canvas: Tensor, begin: int, block: int, rule: Rule
) -> tuple[Tensor, int]:
    """All ids `[B, L]` and the number of forwards, for a canvas with masks from column `begin` on."""
    canvas, forwards = canvas.clone(), 0
    for start in range(begin, canvas.shape[1], block):
        window = torch.zeros_like(canvas, dtype=torch.bool)
        window[:, start : start + block] = True
        while bool((is_open := (canvas == denoiser.mask_id) & window).any()):
            token, conf = float64_softmax(denoiser(canvas))
            forwards += 1
            conf = torch.where(is_open, conf, float("-inf"))
            canvas = torch.where(rule(conf, is_open) & is_open, token, canvas)
    return canvas, forwards
