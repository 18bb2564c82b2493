"""Block-causal models: who sees whom, as a mask in the form that a model's code takes, and which form that
is.

A position sees its own block both ways and all blocks before it. Blocks of N positions are counted from the
canvas's first column, prompt included (Arriola et al., Block Diffusion, arXiv:2503.09573; SDAR, LLaDA2 and
Fast-dLLM v2 generate so).

Shapes: b rows, L positions, V vocabulary. Not here: how long a model's blocks are (`traits`), models that see
the whole canvas (`probe`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .probe import LENGTH, ROUNDING, Probed, changed, distance, ordinary_ids

# `seen [b, 1, L, L]` bool and a dtype, to what a model's code wants to be given.
MaskForm = Callable[[Tensor, torch.dtype], Tensor]


def as_truth(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """True where a position is seen: what torch's own attention takes."""
    return seen


def as_scores(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores: 0 where a position is seen, the lowest number elsewhere (LLaDA2,
    transformers' eager code).
    """
    return torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)


def as_weights(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """1 where a position is seen, 0 elsewhere: for code that turns it into scores itself (transformers' older
    eager code).
    """
    return seen.to(dtype)


# Scores come last: code that makes scores of weights would hide the same with them, and lose all others in
# rounding.
FORMS: tuple[MaskForm, ...] = (as_truth, as_weights, as_scores)


@dataclass(frozen=True, slots=True)
class BlockMask:
    """`filled [b, L]` (bool) as a mask of a block-causal model. No row of it is empty: every block sees the
    first one.
    """

    block_length: int
    form: MaskForm
    dtype: torch.dtype

    def __call__(self, filled: Tensor) -> Tensor:
        block = torch.arange(filled.shape[1], device=filled.device) // self.block_length
        seen = (block <= block.unsqueeze(1)) & filled[:, None, None, :]
        return self.form(seen, self.dtype)


@torch.inference_mode()
def probe_blocks(
    model: Any,
    vocab_size: int,
    avoid: Sequence[int],
    context: int | None,
    device: torch.device,
    block_length: int,
) -> Probed:
    """Which form of mask makes this model see its blocks; without any, a model may do so by itself. Raises
    what the model raises.
    """
    wanted = max(LENGTH, 2 * block_length)
    ordinary = ordinary_ids(vocab_size, avoid)
    row = torch.tensor(
        [[ordinary[at * 7 % len(ordinary)] for at in range(min(context or wanted, wanted))]], device=device
    )
    dtype = next(iter(model.parameters())).dtype
    tried: list[tuple[float, Probed]] = []
    refused: list[Exception] = []
    for mask in (*(BlockMask(block_length, form, dtype) for form in FORMS), None):
        try:
            leak, size = _leak(model, row, mask, block_length, ordinary)
        # Not a form that this code takes.
        except Exception as error:
            refused.append(error)
            continue
        tried.append((leak, Probed(size, leak <= ROUNDING, mask)))
        if leak == 0:
            break
    if not tried:
        raise refused[0]
    return min(tried, key=lambda one: one[0])[1]


def _leak(
    model: Any, row: Tensor, mask: BlockMask | None, block_length: int, ordinary: Sequence[int]
) -> tuple[float, int]:
    """What the first block hears that it must not, as a share of what it hears of its own last id; and how
    many logits there are.

    It must not hear of what comes after it, nor of its last id where that is padding. Endless where that id,
    shown, is not heard of at both ends of the canvas. A mask that is taken for something else may hide much,
    and what is hidden may round differently where a model sorts its rows (mixtures of experts): the form that
    leaks least is the right one.
    """
    end, length = min(block_length, row.shape[1]), row.shape[1]

    def logits(ids: Tensor, filled: int = length) -> Tensor:
        given = (
            {}
            if mask is None
            else {"attention_mask": mask((torch.arange(length, device=ids.device) < filled).unsqueeze(0))}
        )
        found: Tensor = model(input_ids=ids, **given).logits
        return found

    alone, inside, after = (
        logits(row),
        logits(changed(row, end - 1, ordinary)),
        logits(changed(row, end, ordinary, length)),
    )
    size = int(alone.shape[-1])
    if not (inside != alone).any(-1)[0, [0, -1]].all():
        return math.inf, size
    leaks = [distance(after[:, :end], alone[:, :end])]
    if mask is not None and end > 1:
        padded, other = logits(row, end - 1), logits(changed(row, end - 1, ordinary, length), end - 1)
        leaks.append(distance(padded[:, : end - 1], other[:, : end - 1]))
    # Weights that are no numbers are told when they show, by what decodes.
    return 0.0 if math.isnan(sum(leaks)) else sum(leaks) / distance(inside[:, :end], alone[:, :end]), size
