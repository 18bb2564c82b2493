"""Are two policies the same? By their trees without names, and by their steps with a fixed toy denoiser.

Policies that do the same are decoded with the real model once. Not here: whether a policy is correct
(`candidates`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields
from functools import cache

import torch
from torch import Tensor

from ...diagnostics import PolicyError, UsageError
from ...language import syntax
from ...language.walk import statements
from ...policy import Policy
from ...runtime.decode import decode
from ...runtime.decoded import DecodingStopped

LONGEST_TOY = 96  # positions, the prompt included
TOY_SEEDS = (11, 23, 47, 83)  # of the prompts
TOY_IDS, TOY_MASK, TOY_EOS, TOY_WIDTH = 16, 15, 1, 12


class ToyModel:
    """A small network with fixed random weights. Its confidences rise where the neighbours are written, and
    it ends its texts.
    """

    mask_id, vocab_size, eos_id, max_length = TOY_MASK, TOY_IDS, TOY_EOS, LONGEST_TOY

    def __init__(self) -> None:
        chance = torch.Generator().manual_seed(7)
        self.embedding = torch.randn(TOY_IDS, TOY_WIDTH, generator=chance)
        self.places = torch.randn(LONGEST_TOY, TOY_WIDTH, generator=chance)
        self.near = torch.randn(7, TOY_WIDTH, TOY_WIDTH, generator=chance) / TOY_WIDTH**0.5
        self.out = torch.randn(TOY_WIDTH, TOY_IDS, generator=chance)
        self.sharp = 0.5 + 5 * torch.rand(LONGEST_TOY, generator=chance) ** 2

    def __call__(self, ids: Tensor) -> Tensor:
        """Ids `[b, L]` to logits `[b, L, 16]`."""
        length = ids.shape[1]
        hidden = self.embedding[ids] + self.places[:length]
        padded = torch.nn.functional.pad(hidden, (0, 0, 3, 3))
        mixed = torch.stack([padded[:, at : at + length] @ self.near[at] for at in range(7)]).sum(0)
        written = (ids != TOY_MASK).float()
        around = torch.nn.functional.avg_pool1d(written[:, None], 5, 1, 2)[:, 0]
        scale = self.sharp[:length] * (0.5 + 2 * around)
        logits = torch.tanh(mixed / 3) @ self.out * scale[..., None]
        logits[..., TOY_EOS] += 3 * torch.sigmoid((torch.arange(length) - length / 2) / 2)
        return logits


@cache
def _toy() -> ToyModel:
    return ToyModel()


def behaviour(policy: Policy, gen_length: int) -> str:
    """A digest of all steps of a policy on the toy's prompts, with texts of this length, at most 64.

    Raises `UsageError` and `PolicyError` for a policy that the decoding refuses.
    """
    prompts = [[seed % (TOY_MASK - 1) + 1, seed // 7 + 1] for seed in TOY_SEEDS]
    decoded = decode(
        _toy(),
        prompts,
        policy,
        gen_length=min(gen_length, LONGEST_TOY * 2 // 3),
        backend="eager",
        batch=len(prompts),
        trace=True,
    )
    steps = [
        (int(forwards), [(sorted(one.ids.items()), one.revoked) for one in trace])
        for forwards, trace in zip(decoded.forwards, decoded.trace, strict=True)
    ]
    return hashlib.sha256(repr(steps).encode()).hexdigest()[:16]


def behaviour_or_none(policy: Policy, gen_length: int) -> str | None:
    """The digest, or `None` for a policy that does not decode."""
    try:
        return behaviour(policy, gen_length)
    except (UsageError, PolicyError, DecodingStopped):
        return None


def canonical(tree: syntax.PolicyDefinition) -> str:
    """A digest of a tree whose own names are replaced by numbers in their order."""
    names: dict[str, str] = {}
    own = [one.identifier.text for one in tree.parameters]
    own += [
        one.identifier.text
        for one in statements(tree)
        if isinstance(one, syntax.StateDeclaration | syntax.Let | syntax.Branch)
    ]
    for text in own:
        names.setdefault(text, f"#{len(names)}")
    content = _content((tree.parameters, tree.statements, tree.phases), names)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _content(value: object, names: dict[str, str]) -> object:
    """A tree as nested tuples, without spans and without its own names."""
    if isinstance(value, syntax.Node):
        inside = [_content(getattr(value, one.name), names) for one in fields(value) if one.name != "span"]
        return (type(value).__name__, *inside)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_content(one, names) for one in value)
    return names.get(value, value) if isinstance(value, str) else value
