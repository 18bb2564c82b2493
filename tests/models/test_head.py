"""Logits of chosen columns are those of the whole call, and the head computes no others."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from dsldec.models.head import picked
from dsldec.models.huggingface import HuggingFaceDenoiser, from_pretrained
from dsldec.models.shifted import Shifted
from dsldec.resources import embedded_model_folder

from . import tiny
from .tiny import MASK, NATIVE, OWN_CODE, denoiser_of

IDS = torch.tensor(
    [[5, 6, 7, 8, 9, 10, MASK, MASK, MASK, MASK], [11, 12, MASK, MASK, MASK, MASK, 0, 0, 0, 0]]
)
LENGTHS = [10, 6]
AT = torch.tensor([[6, 7, 9], [3, 2, 0]])


@contextmanager
def rows_of_the_head(denoiser: HuggingFaceDenoiser) -> Iterator[list[int]]:
    """How many positions the head computes logits of, call by call."""
    seen: list[int] = []
    hook = denoiser.model.get_output_embeddings().register_forward_hook(
        lambda layer, given, logits: seen.append(logits.shape[1])
    )
    try:
        yield seen
    finally:
        hook.remove()


@pytest.mark.parametrize("family", [*NATIVE, *OWN_CODE])
def test_chosen_logits_are_those_of_the_whole_call(family: str) -> None:
    denoiser = denoiser_of(family)
    assert denoiser.selects_columns
    whole = denoiser(IDS, LENGTHS)
    torch.testing.assert_close(denoiser(IDS, LENGTHS, columns=AT), picked(whole, AT), rtol=1e-5, atol=1e-5)
    assert denoiser.head.picks
    with rows_of_the_head(denoiser) as seen:
        again = denoiser(IDS, LENGTHS, columns=AT[:, :2])
    assert seen == [2]
    torch.testing.assert_close(again, picked(whole, AT[:, :2]), rtol=1e-5, atol=1e-5)
    with rows_of_the_head(denoiser) as seen:  # nothing is left behind that would pick from a whole call
        assert torch.equal(denoiser(IDS, LENGTHS), whole)
    assert seen == [10]


@pytest.mark.parametrize(
    "at", [torch.arange(10), torch.arange(9, -1, -1), torch.zeros(10, dtype=torch.int64)]
)
def test_as_many_columns_as_there_are_may_be_chosen_in_any_order(at: Tensor) -> None:
    denoiser = denoiser_of("eurobert")
    torch.testing.assert_close(
        denoiser(IDS, columns=at.expand(2, -1)), denoiser(IDS)[:, at], rtol=1e-5, atol=1e-5
    )


def test_the_embedded_model_chooses() -> None:
    denoiser = from_pretrained(embedded_model_folder())
    torch.testing.assert_close(
        denoiser(IDS, LENGTHS, columns=AT), picked(denoiser(IDS, LENGTHS), AT), rtol=1e-4, atol=1e-4
    )
    assert denoiser.head.picks


def test_half_precision_is_told_right_too() -> None:
    denoiser = denoiser_of("qwen3")
    denoiser.model.bfloat16()
    torch.testing.assert_close(denoiser(IDS, columns=AT), picked(denoiser(IDS), AT), rtol=2e-2, atol=2e-2)
    assert denoiser.head.picks


class Elsewhere(torch.nn.Module):
    """A model whose head is not where it says: `kind` tells how."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.config = kind, None
        self.embedding, self.head = torch.nn.Embedding(50, 16), torch.nn.Linear(16, 50)
        if kind == "per position":
            self.bias = torch.nn.Parameter(torch.randn(10, 1))

    def get_output_embeddings(self) -> Any:
        if self.kind == "not written":
            raise NotImplementedError
        return {"none": None, "tied": self.embedding}.get(self.kind, self.head)

    def forward(self, input_ids: Tensor) -> Any:
        hidden = self.embedding(input_ids).cumsum(1)
        if self.kind == "tied":
            logits = torch.nn.functional.linear(hidden, self.embedding.weight)
        elif self.kind == "flat":
            logits = self.head(hidden.flatten(0, 1)).unflatten(0, input_ids.shape)
        elif self.kind == "twice":
            logits = self.head(hidden) + self.head(hidden * 2)
        elif self.kind == "per position":
            logits = self.head(hidden) + self.bias[: input_ids.shape[1]]
        elif self.kind == "sums after":
            logits = self.head(hidden).cumsum(1)
        else:
            logits = self.head(hidden)
        return tiny.transformers.modeling_outputs.MaskedLMOutput(logits=logits)


@pytest.mark.parametrize(
    "kind", ["none", "not written", "tied", "flat", "twice", "per position", "sums after"]
)
def test_a_head_that_cannot_be_fed_so_gives_the_same_logits(kind: str) -> None:
    torch.manual_seed(0)
    denoiser = HuggingFaceDenoiser(Elsewhere(kind), None, MASK, None, 8, vocab_size=50, max_length=64)
    assert torch.equal(denoiser(IDS, columns=AT), picked(denoiser(IDS), AT))
    assert denoiser.head.picks is False


def test_an_error_of_the_model_leaves_no_hook_behind() -> None:
    denoiser = denoiser_of("qwen3")
    denoiser(IDS, columns=AT)
    for wrong in (IDS + 10**6, IDS):
        if wrong is IDS:
            assert denoiser(wrong).shape[1] == 10
        else:
            with pytest.raises(IndexError):
                denoiser(wrong, columns=AT)


def test_through_a_shift_the_columns_before_are_chosen() -> None:
    plain = denoiser_of("qwen3")
    moved, wrapped = denoiser_of("qwen3", shift_logits=True), Shifted(plain)
    assert wrapped.selects_columns
    for denoiser in (moved, wrapped):
        torch.testing.assert_close(
            denoiser(IDS, lengths=LENGTHS, columns=AT), picked(moved(IDS, LENGTHS), AT), rtol=1e-5, atol=1e-5
        )
    # A product of one row is summed in another order than one of ten, on some processors.
    first = moved(IDS, columns=torch.zeros(2, 1, dtype=torch.int64))[:, 0]
    torch.testing.assert_close(first, plain(IDS)[:, 0], rtol=1e-5, atol=1e-5)


def test_a_copied_denoiser_chooses_too() -> None:
    """The hooks of the original do nothing in a copy, which needs its own."""
    denoiser = denoiser_of("eurobert")
    wanted = denoiser(IDS, LENGTHS, columns=AT)
    other = copy.deepcopy(denoiser)
    assert torch.equal(other(IDS, LENGTHS, columns=AT), wanted)
    with rows_of_the_head(other) as seen:
        other(IDS, LENGTHS, columns=AT[:, :2])
    assert seen == [2]
