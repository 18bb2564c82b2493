"""The baselines of the benchmarks: the arithmetic of published decoders, written plainly from their
descriptions.

Shapes: B rows, T positions, V vocabulary. Not here: timing (`rounds`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..models.denoiser import Denoiser


def one_read(logits: Tensor) -> Tensor:
    """The largest of all logits, 0-d. Every logit is read once and nothing is written. All other times are
    multiples of this one.
    """
    return logits.amax()


def float64_softmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Token and confidence `[B, T]`: the argmax of the logits and its entry of a float64 softmax.

    LLaDA's released sampler (arXiv:2502.09992) and Fast-dLLM's (arXiv:2505.22618) choose their commits so.
    """
    token = logits.argmax(-1)
    p = torch.softmax(logits.to(torch.float64), -1)
    return token, p.gather(-1, token.unsqueeze(-1)).squeeze(-1)


def softmax_topk(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Token, confidence and margin `[B, T]` from the two largest of a softmax, as margin rules do."""
    (best, second), ids = torch.softmax(logits.float(), -1).topk(2, -1).values.unbind(-1), logits.argmax(-1)
    return ids, best, best - second


def softmax_entropy(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Token, confidence and entropy (nats) `[B, T]` from a softmax and its logarithm, as entropy rules do."""
    p = torch.softmax(logits.float(), -1)
    conf, token = p.max(-1)
    return token, conf, -(p * (p + 1e-10).log()).sum(-1)


def static_loop(
    denoiser: Denoiser, prompt: Sequence[int], gen_length: int, block: int, tokens: int
) -> tuple[Tensor, int]:
    """Low-confidence remasking at temperature 0, one prompt at a time. Returns all ids `[L]` and the number
    of forwards.

    Each forward writes the `tokens` most confident masked positions of the first block that has any. The host
    waits for the device in each step.
    """
    device = getattr(denoiser, "device", "cpu")
    begin, forwards = len(prompt), 0
    canvas = torch.tensor([[*prompt, *[denoiser.mask_id] * gen_length]], device=device)
    while begin < canvas.shape[1]:
        end = min(begin + block, canvas.shape[1])
        while int((canvas[0, begin:end] == denoiser.mask_id).sum()) > 0:
            with torch.no_grad():
                token, conf = float64_softmax(denoiser(canvas))
            forwards += 1
            open_ = torch.zeros_like(canvas, dtype=torch.bool)
            open_[:, begin:end] = canvas[:, begin:end] == denoiser.mask_id
            conf = torch.where(open_, conf, float("-inf"))
            chosen = conf[0].topk(min(tokens, int(open_.sum()))).indices
            canvas[0, chosen] = token[0, chosen]
        begin = end
    return canvas[0], forwards
