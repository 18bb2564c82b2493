"""Which mask makes a block-causal model see its blocks, and in which form does the model's code take it?

A position sees its own block in both directions, and all blocks before it. Blocks of N positions are counted
from the canvas's first column, prompt included (Arriola et al., Block Diffusion, arXiv:2503.09573; SDAR,
LLaDA2 and Fast-dLLM v2 generate so).

Shapes: b rows, L positions, V vocabulary. Not here: the block length of a model (`traits`), models that see
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

# Takes `seen [b, 1, L, L]` bool and a dtype. Returns the mask in the form that a model's code takes.
MaskForm = Callable[[Tensor, torch.dtype], Tensor]


def as_truth(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """True where a position is seen. torch's own attention takes this form."""
    return seen


def as_scores(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """An addend for attention scores: 0 where a position is seen, the lowest number elsewhere. LLaDA2 and
    transformers' eager code take this form.
    """
    return torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)


def as_weights(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """1 where a position is seen, 0 elsewhere. transformers' older eager code takes this form and makes
    scores of it.
    """
    return seen.to(dtype)


# Scores come last. Code that turns weights into scores would hide the right positions with them too, but
# would lose the other scores in rounding.
FORMS: tuple[MaskForm, ...] = (as_truth, as_weights, as_scores)


@dataclass(frozen=True, slots=True)
class BlockMask:
    """The mask of a block-causal model for `filled [b, L]` (bool). No row of it is empty: every block sees
    the first block.
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
    """Find the form of mask with which this model sees its blocks. Some models need no mask. Raises the
    errors of the model.
    """
    target = max(LENGTH, 2 * block_length)
    ordinary = ordinary_ids(vocab_size, avoid)
    row = torch.tensor(
        [[ordinary[at * 7 % len(ordinary)] for at in range(min(context or target, target))]], device=device
    )
    dtype = next(iter(model.parameters())).dtype
    tried: list[tuple[float, Probed]] = []
    refused: list[Exception] = []
    for mask in (*(BlockMask(block_length, form, dtype) for form in FORMS), None):
        try:
            leak, size = _leak(model, row, mask, block_length, ordinary)
        # The code does not take this form.
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
    """How much the first block depends on later positions, relative to its dependence on its own last id; and
    the number of logits.

    The first block must not depend on later positions, nor on its last id where that id is padding. The
    result is infinite where a shown last id does not change the logits at both ends of the canvas. Code that
    misreads the form of a mask may still hide much. Hidden positions may change rounding where a model sorts
    its rows (mixtures of experts). So the form with the smallest leak is the right one.
    """
    end, length = min(block_length, row.shape[1]), row.shape[1]

    def logits(ids: Tensor, filled: int = length) -> Tensor:
        keywords = (
            {}
            if mask is None
            else {"attention_mask": mask((torch.arange(length, device=ids.device) < filled).unsqueeze(0))}
        )
        result: Tensor = model(input_ids=ids, **keywords).logits
        return result

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
    # NaN weights are reported later, by the decoder, when they show in the logits.
    return 0.0 if math.isnan(sum(leaks)) else sum(leaks) / distance(inside[:, :end], alone[:, :end]), size
