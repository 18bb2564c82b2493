"""The observations of distributions over a small vocabulary, in double precision.

So the numbers of one position fit together: some logits give all of them. Shapes: `[..., V]` probabilities.
Not here: which distributions (`proposals`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    """x * log(y), 0 where x is 0."""
    product: Tensor = torch.special.xlogy(x, y)
    return product


def observe(wanted: Collection[str], p: Tensor, token: Tensor, before: Tensor | None) -> dict[str, Tensor]:
    """The wanted observations `[...]`, by name; `token` and `likeliest` are int64, the others float64.

    `token [...]`: the id that is proposed. `before`: the distributions of the step before; `None` in a first
    step, where `kl` and `js` are infinite.
    """
    values = p.topk(2, dim=-1).values
    first, second = values[..., 0], values[..., 1]
    conf = p.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    infinite = torch.full_like(conf, torch.inf)
    of: Mapping[str, Callable[[], Tensor]] = {
        "token": lambda: token,
        "likeliest": lambda: torch.where(conf == first, token, p.argmax(-1)),
        "conf": lambda: conf,
        "doubt": lambda: 1 - conf,
        "margin": lambda: first - second,
        "logit_margin": lambda: first.log() - second.log(),
        "entropy": lambda: 0.0 - xlogy(p, p).sum(-1),
        "kl": lambda: infinite if before is None else divergence(p, before),
        "js": lambda: infinite if before is None else jensen_shannon(p, before),
    }
    return {name: of[name]() for name in wanted if name in of}


def divergence(p: Tensor, before: Tensor) -> Tensor:
    """`[...]`: KL divergence of `p` from `before`, 0 or more."""
    terms = xlogy(p, p) - xlogy(p, before)
    return terms.sum(-1).clamp(min=0)


def jensen_shannon(p: Tensor, before: Tensor) -> Tensor:
    """`[...]`: Jensen-Shannon divergence of `p` and `before`, from 0 to log 2."""
    middle = (p + before) / 2
    return (divergence(p, middle) + divergence(before, middle)) / 2
