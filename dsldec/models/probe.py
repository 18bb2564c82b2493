"""What does a model really do? Does it see both sides, does it hide padding, how many logits does it give?

A configuration may be wrong, and a model's own code may drop its attention mask, as LLaDA's first release
did. A few forwards of some dozen tokens show it, once, when a model is loaded.

Shapes: b rows, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LENGTH, PADDED = 48, 8  # more than the blocks of 4 to 32 that block-causal models have
# Bound on rounding, relative to the effect of visible padding.
ROUNDING = 0.05


def keys_mask(filled: Tensor) -> Tensor:
    """`filled [b, L]` in the form that most models take."""
    return filled.long()


def square_mask(filled: Tensor) -> Tensor:
    """`filled [b, L]` as `[b, 1, L, L]`, for code that hands its mask to torch unchanged (Dream). No row of
    it is empty.
    """
    return filled[:, None, None, :].expand(-1, 1, filled.shape[1], -1)


MaskBuilder = Callable[[Tensor], Tensor]
MASKS: tuple[MaskBuilder, ...] = (keys_mask, square_mask)


@dataclass(frozen=True, slots=True)
class Probed:
    """The results of the probe. `mask`: the form that hides padding, None where no form does.

    `sees_both_sides`: of the canvas. For `probe_blocks` in `blocks`: of the block alone, and nothing after
    it.
    """

    vocab_size: int
    sees_both_sides: bool
    mask: MaskBuilder | None


@torch.inference_mode()
def probe(
    model: Any, vocab_size: int, avoid: Sequence[int], context: int | None, device: torch.device
) -> Probed:
    """Call the model with rows of ordinary ids, without those in `avoid`. Raises the errors of the model."""
    room = LENGTH + PADDED if context is None else min(context, LENGTH + PADDED)
    length = max(2, room - PADDED)
    ordinary = ordinary_ids(vocab_size, avoid)
    ids = torch.tensor([[ordinary[at * 7 % len(ordinary)] for at in range(room)]], device=device)
    alone = model(input_ids=ids[:, :length]).logits
    return Probed(
        int(alone.shape[-1]),
        _sees_both_sides(model, ids[:, :length], alone, ordinary),
        _mask(model, ids, alone),
    )


def ordinary_ids(vocab_size: int, avoid: Sequence[int]) -> list[int]:
    """Some ids. None of them is in `avoid`, where that is possible."""
    return [one for one in range(min(vocab_size, 64 + len(avoid))) if one not in avoid] or [0]


@torch.inference_mode()
def counts_padding(model: Any, pad_id: int, vocab_size: int, mask: MaskBuilder, device: torch.device) -> bool:
    """Whether a model without a mask hides padding by itself: as many of the last positions as there are
    padding ids (FlauBERT, XLM).
    """
    ids = torch.tensor(
        [[(pad_id + 1) % vocab_size, pad_id, (pad_id + 1) % vocab_size, (pad_id + 2) % vocab_size]],
        device=device,
    )
    alone = model(input_ids=ids).logits
    seen = model(input_ids=ids, attention_mask=mask(torch.ones_like(ids, dtype=torch.bool))).logits
    other = ids.clone()
    other[0, -1] = ids[0, 0]
    return distance(alone, seen) > ROUNDING * distance(model(input_ids=other).logits, seen)


def _sees_both_sides(model: Any, row: Tensor, alone: Tensor, ordinary: Sequence[int]) -> bool:
    """Whether the first position depends on the last one. With a sliding window: whether the last position
    reaches as far left as the one before it.

    In a block-causal model, the position before the last one reaches one position less far: both reach the
    start of their block.
    """
    last = row.shape[1] - 1
    far = _reach(model, row, alone, last, ordinary)
    return far == last or (far > 0 and far == _reach(model, row, alone, last - 1, ordinary))


def _reach(model: Any, row: Tensor, alone: Tensor, at: int, ordinary: Sequence[int]) -> int:
    """How many positions to the left depend on the id at this position. All calls have one shape and so one
    kernel: positions that do not depend on it get identical bits.
    """
    differing = (model(input_ids=changed(row, at, ordinary)).logits != alone).any(-1)[0, : at + 1]
    return at - int(differing.int().argmax()) if differing.any() else 0


def changed(row: Tensor, at: int, ordinary: Sequence[int], end: int | None = None) -> Tensor:
    """The row with another id at one position, or at all positions up to `end`."""
    other = row.clone()
    for position in range(at, at + 1 if end is None else end):
        other[:, position] = next((one for one in ordinary if one != int(row[0, position])), 0)
    return other


def _mask(model: Any, ids: Tensor, alone: Tensor) -> MaskBuilder | None:
    """The first form of mask that hides all positions after those of `alone`, in a batch with a row that has
    no padding.
    """
    length = alone.shape[1]
    if ids.shape[1] == length:
        return None
    both = ids.expand(2, -1)
    filled = torch.arange(ids.shape[1], device=ids.device) < torch.tensor(
        [[length], [ids.shape[1]]], device=ids.device
    )
    seen = distance(model(input_ids=both).logits[:1, :length], alone)
    for mask in MASKS:
        try:
            hidden = distance(model(input_ids=both, attention_mask=mask(filled)).logits[:1, :length], alone)
        # The code does not take this form: some code asserts it (LLaDA), other code fails deep inside torch.
        except Exception:
            continue
        if not hidden > ROUNDING * seen:
            return mask
    return None


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().max())
