"""What a model does, asked of the model itself: does it see both sides, does it hide padding, how many logits
does it give.

A configuration may say what it likes, and a model's own code may drop the attention mask it is given, as
LLaDA's first release did. Some forwards of a few dozen tokens tell, once, when a model is loaded.

Shapes: b rows, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LENGTH, PADDED = 48, 8  # more than the blocks of 4 to 32 that block-causal models have
# Rounding, as a share of what padding does when it is seen.
ROUNDING = 0.05


def keys_mask(filled: Tensor) -> Tensor:
    """`filled [b, L]` as most models want it."""
    return filled.long()


def square_mask(filled: Tensor) -> Tensor:
    """`filled [b, L]` as `[b, 1, L, L]`: for code that hands its mask to torch as it is (Dream). No row of it
    is empty.
    """
    return filled[:, None, None, :].expand(-1, 1, filled.shape[1], -1)


MaskBuilder = Callable[[Tensor], Tensor]
MASKS: tuple[MaskBuilder, ...] = (keys_mask, square_mask)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a model was seen to do. `mask`: how padding is hidden from it, None where it cannot be.

    `sees_both_sides`: of the canvas; of its own block, and nothing after it, where blocks were asked for
    (`blocks`).
    """

    vocab_size: int
    sees_both_sides: bool
    mask: MaskBuilder | None


@torch.inference_mode()
def probe(
    model: Any, vocab_size: int, avoid: Sequence[int], context: int | None, device: torch.device
) -> Probed:
    """Feed the model some rows of ordinary ids, none of them in `avoid`. Raises whatever the model raises."""
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
    """Some ids, none of them in `avoid` where that can be."""
    return [one for one in range(min(vocab_size, 64 + len(avoid))) if one not in avoid] or [0]


@torch.inference_mode()
def counts_padding(model: Any, pad_id: int, vocab_size: int, mask: MaskBuilder, device: torch.device) -> bool:
    """Whether a model that is given no mask hides as many of the last positions as there are ids of padding
    (FlauBERT, XLM).
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
    """Whether the last position is heard of at the first one; or, by models with a sliding window, as far
    left as the one before it.

    In a model that is causal between blocks, the one before it is heard of one position less far: as far as
    its block begins.
    """
    last = row.shape[1] - 1
    far = _reach(model, row, alone, last, ordinary)
    return far == last or (far > 0 and far == _reach(model, row, alone, last - 1, ordinary))


def _reach(model: Any, row: Tensor, alone: Tensor, at: int, ordinary: Sequence[int]) -> int:
    """How many positions to the left the id at this one is heard of. One shape, one kernel: what does not
    hear gives the same bits.
    """
    heard = (model(input_ids=changed(row, at, ordinary)).logits != alone).any(-1)[0, : at + 1]
    return at - int(heard.int().argmax()) if heard.any() else 0


def changed(row: Tensor, at: int, ordinary: Sequence[int], end: int | None = None) -> Tensor:
    """The row with another id at one position, or at all up to `end`."""
    other = row.clone()
    for position in range(at, at + 1 if end is None else end):
        other[:, position] = next((one for one in ordinary if one != int(row[0, position])), 0)
    return other


def _mask(model: Any, ids: Tensor, alone: Tensor) -> MaskBuilder | None:
    """The first form of mask that hides what stands after `alone`'s positions, in a batch with a row that has
    none to hide.
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
        # Not a form that this code takes: some assert it (LLaDA), some fail deep inside torch.
        except Exception:
            continue
        if not hidden > ROUNDING * seen:
            return mask
    return None


def distance(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().max())
