"""Small runs of shipped policies on the toy denoiser, for all policies of the library.

Shapes: B rows, L positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

import dsldec

from ..networks import bound
from ..toy import MASK, VOCABULARY, ToyDenoiser

PROMPTS = [[3, 7, 11], [25], [0, 8]]
REQUEST_IDS = [5, 6, 9]
LENGTH = 11
# So that a run has several blocks, the last one shorter, and schedules write several positions in a step.
SHORT_BLOCK, FEW_STEPS = 4, 5
EVEN, ON_MASK, HUGE, NOT_A_NUMBER = range(4)  # the first id of a prompt chooses the logits of its row


class WithEnd(ToyDenoiser):
    """A toy with an end-of-text token."""

    eos_id = 4


class Adversarial:
    """Logits that no trained model gives. The first id of a row chooses them: all are equal; MASK alone is
    likely; some are huge; some are NaN.
    """

    mask_id, vocab_size, eos_id = MASK, VOCABULARY, 4

    def __call__(self, ids: Tensor) -> Tensor:
        logits = torch.zeros(*ids.shape, VOCABULARY)
        chosen = ids[:, 0]
        logits[chosen == ON_MASK, :, MASK] = 1e4
        logits[chosen == HUGE, :, 7] = 1e30
        logits[chosen == HUGE, :, 8] = -1e30
        logits[chosen == NOT_A_NUMBER, :, 9] = float("nan")
        return logits


@cache
def small(name: str) -> dsldec.Policy:
    """A shipped policy with short blocks and few steps, and with small networks where it needs some."""
    policy = bound(dsldec.load(name))
    wanted = {"block": SHORT_BLOCK, "steps": FEW_STEPS}
    fitting = {
        name: value
        for name, value in wanted.items()
        if (parameter := policy.program.parameters.get(name)) is not None
        and (parameter.smallest or 1) <= value <= (parameter.largest or value)
    }
    return policy.bind(**fitting)


def run(
    name: str,
    denoiser: object,
    prompts: Sequence[list[int]] = PROMPTS,
    request_ids: Sequence[int] = REQUEST_IDS,
    length: int = LENGTH,
    backend: str = "eager",
) -> dsldec.Decoded:
    return dsldec.decode(
        denoiser, prompts, small(name), gen_length=length, request_ids=request_ids, backend=backend
    )  # fmt: skip
