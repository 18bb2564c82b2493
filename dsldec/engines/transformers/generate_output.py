"""The result of `generate` as a dict: the ids, and for each generated id its confidence and its step.

transformers' `scores` are the logits of a whole vocabulary at each token, computed when every token before it
was known. Under a policy, one forward gives the logits of many positions, and the tokens are written in any
order. So there are none, and `output_scores=True` gives the confidence of each token instead.

Shapes: B rows, L prompt length with padding, G tokens of the longest answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from transformers.generation import GenerateDecoderOnlyOutput

from ...trace_step import NEVER, Logprobs

T = TypeVar("T")


@dataclass
class PolicyOutput(GenerateDecoderOnlyOutput):
    """The result of `generate(..., return_dict_in_generate=True)` under a policy; `sequences [B, L + G]`.

    Attributes:
        confidence: With `output_scores=True`: `[B, G]` float32, the denoiser's probability of the id in the
            step that wrote it. NaN for an id that no step wrote, such as padding.
        step: With `output_scores=True`: `[B, G]` int64, the step that wrote the id, from 0 on; -1 where
            `confidence` is NaN.
    """

    confidence: Tensor | None = None
    step: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The ids of one answer. `logprobs`: of the row's generated ids, of which `written` are in the answer."""

    ids: list[int]
    logprobs: Logprobs | None = None
    written: int = 0

    def confidence(self, length: int) -> list[float]:
        """The confidences of `length` positions."""
        known = [] if self.logprobs is None else self.logprobs.confidence[: self.written]
        return _filled([float("nan") if one is None else one for one in known], length, float("nan"))

    def step(self, length: int) -> list[int]:
        """The steps of `length` positions."""
        return _filled([] if self.logprobs is None else self.logprobs.step[: self.written], length, NEVER)


def output_of(input_ids: Tensor, answers: Sequence[Answer], pad_id: int, *, logprobs: bool) -> PolicyOutput:
    """The result for `input_ids [B, L]`. `logprobs`: with confidences and steps."""
    longest = max((len(answer.ids) for answer in answers), default=0)
    ids = [_filled(answer.ids, longest, pad_id) for answer in answers]
    generated = torch.tensor(ids, dtype=input_ids.dtype, device=input_ids.device)
    sequences: Tensor = torch.cat([input_ids, generated.reshape(len(answers), longest)], dim=1)
    if not logprobs:
        return PolicyOutput(sequences=sequences)  # type: ignore[arg-type]
    return PolicyOutput(
        sequences=sequences,  # type: ignore[arg-type]
        confidence=torch.tensor([answer.confidence(longest) for answer in answers], device=input_ids.device),
        step=torch.tensor([answer.step(longest) for answer in answers], device=input_ids.device),
    )


def _filled(values: Sequence[T], length: int, filler: T) -> list[T]:
    return [*values, *[filler] * (length - len(values))]
