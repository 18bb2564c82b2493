"""The baselines of the benchmarks: the arithmetic of published decoders, written plainly from their
descriptions.

Shapes: B rows, T positions, V vocabulary. Not here: timing (`rounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


# --- the steps of published decoders, for `bench peers`

TokenAndConf = tuple[Tensor, Tensor]  # token and confidence [B, T]
PeerStep = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, ...]]

CONFIDENCE, BUDGET = 0.9, 1.0  # Fast-dLLM's defaults
CALM = 0.01  # KLASS, in nats
SURE_MARGIN, SAFE_CONFIDENCE = 3.0, 0.98  # DiCo, of its last phase


def float32_softmax(logits: Tensor) -> TokenAndConf:
    """Token and confidence as dInfer's compiled step computes them: softmax in float32, argmax, gather."""
    token = logits.argmax(-1)
    p = torch.softmax(logits.float(), -1)
    return token, p.gather(-1, token.unsqueeze(-1)).squeeze(-1)


def best_of_each_row(conf: Tensor, tokens: int = 1) -> Tensor:
    """The `tokens` most confident positions `[B, T]`, one row after the other, as LLaDA's sampler does."""
    chosen = torch.zeros_like(conf, dtype=torch.bool)
    for row in range(len(conf)):
        chosen[row, conf[row].topk(tokens).indices] = True
    return chosen


def most_confident(conf: Tensor, tokens: int = 1) -> Tensor:
    """The `tokens` most confident positions `[B, T]` of all rows at once."""
    return torch.zeros_like(conf, dtype=torch.bool).scatter(-1, conf.topk(tokens, -1).indices, True)


def confident(conf: Tensor) -> Tensor:
    """The positions of at least `CONFIDENCE`, or the best one of a row without any (dInfer's form of
    Fast-dLLM's rule).
    """
    return conf >= (conf.amax(-1, keepdim=True) - 1e-5).clamp(max=CONFIDENCE)


def in_budget(conf: Tensor) -> Tensor:
    """Fast-dLLM's factor rule: the longest prefix of the sorted positions with (n + 1)(1 - conf) below the
    budget, at least one position.
    """
    sorted_, ids = conf.sort(-1, descending=True)
    rank = torch.arange(1, conf.shape[-1] + 1, device=conf.device)
    fits = ((rank + 1) * (1 - sorted_) < BUDGET).cumprod(-1).bool() | (rank == 1)
    return torch.zeros_like(fits).scatter(-1, ids, fits)


def peer_step(
    policy: str, read: Callable[[Tensor], TokenAndConf], commit: Callable[[Tensor], Tensor]
) -> PeerStep:
    """A published decoder's step for the rule of a shipped policy.

    It takes `logits [B, T, V]`, `canvas [B, T]` and the probabilities `[B, T, V]` float32 of the previous
    step, and returns the next canvas and what the rule stores. MASK is the last id. `read` gives token and
    confidence; `commit` chooses positions by the confidences. KLASS also compares
    distributions, and DiCo (arXiv:2602.23792) also reads margins, in its last phase.
    """

    def step(logits: Tensor, canvas: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        token, conf = read(logits)
        is_open = canvas == logits.shape[-1] - 1
        conf = torch.where(is_open, conf, float("-inf"))
        chosen = commit(conf)
        stored: tuple[Tensor, ...] = ()
        if policy == "klass":
            p = torch.softmax(logits.float(), -1)
            calm = (p * ((p + 1e-12).log() - (before + 1e-12).log())).sum(-1) < CALM
            chosen, stored = chosen | ((conf > CONFIDENCE) & calm), (p,)
        elif policy == "dico":
            best, second = logits.topk(2, -1).values.unbind(-1)
            chosen = chosen | (best - second > SURE_MARGIN) | (conf > SAFE_CONFIDENCE)
        return torch.where(chosen & is_open, token, canvas), *stored

    return step


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
