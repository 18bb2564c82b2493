"""The probe of a model: which positions attend to which, and whether padding is masked out."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from dsldec.models.probe import LENGTH, keys_mask, probe, square_mask

SIZE = 40


class Hears:
    """Logits count the ids that a position may hear of; `form` is the rank of the mask it heeds, 0 for none."""

    def __init__(self, may: Callable[[Tensor, Tensor], Tensor], form: int = 2) -> None:
        self.may, self.form = may, form

    def __call__(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        at = torch.arange(input_ids.shape[1])
        heard = self.may(at[:, None], at[None, :]).expand(len(input_ids), -1, -1)
        if attention_mask is not None and self.form:
            if attention_mask.dim() != self.form:
                raise AssertionError("a mask of another form")
            heard = heard & (
                attention_mask.bool()[:, None, :] if self.form == 2 else attention_mask.bool()[:, 0]
            )
        return SimpleNamespace(logits=heard.float() @ torch.nn.functional.one_hot(input_ids, SIZE).float())


def everything(to: Tensor, of: Tensor) -> Tensor:
    return (to >= 0) & (of >= 0)


def near(to: Tensor, of: Tensor) -> Tensor:
    return (to - of).abs() <= 3


def before(to: Tensor, of: Tensor) -> Tensor:
    return of <= to


def near_and_before(to: Tensor, of: Tensor) -> Tensor:
    return (of <= to) & (of > to - 4)


def blocks(size: int) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda to, of: of // size <= to // size


@pytest.mark.parametrize(
    ("may", "both"),
    [
        (everything, True),
        (near, True),
        (before, False),
        (near_and_before, False),
        *((blocks(size), False) for size in (2, 4, 8, 16, 32)),
    ],
)
def test_whether_both_sides_are_seen(may: Callable[[Tensor, Tensor], Tensor], both: bool) -> None:
    assert probe(Hears(may), SIZE, [0, 1], None, torch.device("cpu")).sees_both_sides == both


@pytest.mark.parametrize(("form", "mask"), [(0, None), (2, keys_mask), (4, square_mask)])
def test_how_padding_is_hidden(form: int, mask: object) -> None:
    assert probe(Hears(everything, form), SIZE, [0, 1], None, torch.device("cpu")).mask is mask


@pytest.mark.parametrize("context", [LENGTH, 12, 10, 3])
def test_a_short_context_is_kept_to(context: int) -> None:
    def within(to: Tensor, of: Tensor) -> Tensor:
        assert to.max() < context
        return everything(to, of)

    probed = probe(Hears(within), SIZE, [0], context, torch.device("cpu"))
    assert (probed.vocab_size, probed.sees_both_sides, probed.mask) == (SIZE, True, keys_mask)
