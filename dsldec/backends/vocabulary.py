"""The pass over the vocabulary: from logits to what a policy may observe at each position.

Shapes: B rows, T window positions, V vocabulary. The only place that reads logits. Written so that a compiler makes
two passes of it: the maximum, then everything else at once.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

OBSERVATIONS = ("conf", "doubt", "margin", "logit_margin", "entropy")


def observe(logits: Tensor, mask_id: int, wanted: Collection[str] = OBSERVATIONS) -> dict[str, Tensor]:
    """Observations of `logits [B, T, V]`, cast to float32 first; every result is `[B, T]`.

    `token` (int64) is the best id other than `mask_id`, ties to the lower id. Over the whole vocabulary, MASK included:
    `conf` = p(token), `doubt` = 1 - conf without cancellation, `margin` and `logit_margin` = best less second best as
    probability and as logit, `entropy` in nats. `finite` (bool): the logits are neither NaN nor +inf nor all -inf.
    What is not `wanted` may be left out; `token`, `conf`, `doubt` and `finite` never are.
    """
    scores = logits.float()
    ids = torch.arange(scores.shape[-1], device=scores.device, dtype=torch.int32)
    is_mask = ids == mask_id
    best = scores.amax(-1, keepdim=True)
    best_token = torch.where(is_mask, float("-inf"), scores).amax(-1, keepdim=True)
    wins = scores == best
    ties = wins.sum(-1)
    last = scores.shape[-1] - 1
    token = torch.where((scores == best_token) & ~is_mask, ids, last).amin(-1).long()
    # The winner stays out of the sum: next to its 1.0, float32 would lose the tail that 1 - conf is made of.
    distance = scores - best
    weight = torch.where(wins, 0.0, distance.exp())
    others = weight.sum(-1) + (ties - 1)
    total = 1 + others
    head = (best_token - best).squeeze(-1).exp()
    token_wins = (best_token == best).squeeze(-1)
    seen = {
        "token": token,
        "conf": head / total,
        "doubt": torch.where(token_wins, others, total - head) / total,
        "finite": best.squeeze(-1).isfinite(),
    }
    if "entropy" in wanted:
        spread = torch.where(weight > 0, weight * distance, 0.0).sum(-1)
        seen["entropy"] = torch.log1p(others) - spread / total
    if "margin" in wanted or "logit_margin" in wanted:
        below = torch.where(wins, float("-inf"), scores).amax(-1)
        seen["logit_margin"] = best.squeeze(-1) - torch.where(ties > 1, best.squeeze(-1), below)
        seen["margin"] = -torch.expm1(-seen["logit_margin"]) / total
    return seen
