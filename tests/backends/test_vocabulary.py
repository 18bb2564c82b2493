"""The pass over the vocabulary against float64, and its ties."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dsldec.backends.vocabulary import observe


def plainly(logits: Tensor, mask_id: int) -> dict[str, Tensor]:
    """The same observations from their definitions, in float64."""
    p = logits.double().softmax(-1)
    others = logits.double().clone()
    others[..., mask_id] = float("-inf")
    # argmax of a CPU tensor does not promise the first of equals: look for it.
    token = (others == others.amax(-1, keepdim=True)).to(torch.uint8)
    token[..., mask_id] = 0
    token = token.argmax(-1)
    conf = p.gather(-1, token.unsqueeze(-1)).squeeze(-1)
    best_two = p.topk(2, -1).values
    logit_two = logits.double().topk(2, -1).values
    doubt = p.scatter(-1, token.unsqueeze(-1), 0).sum(-1)
    entropy = torch.special.entr(p).sum(-1)
    margins = {"margin": best_two[..., 0] - best_two[..., 1], "logit_margin": logit_two[..., 0] - logit_two[..., 1]}
    return {"token": token, "conf": conf, "doubt": doubt, "entropy": entropy} | margins


def assert_agrees(logits: Tensor, mask_id: int) -> None:
    given, wanted = observe(logits, mask_id), plainly(logits, mask_id)
    assert torch.equal(given["token"], wanted["token"])
    for name in ("conf", "doubt", "margin", "entropy", "logit_margin"):
        assert given[name].dtype == torch.float32
        torch.testing.assert_close(given[name].double(), wanted[name], rtol=2e-6, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("vocabulary", [2, 3, 40, 5000])
@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_against_float64(vocabulary: int, scale: float) -> None:
    torch.manual_seed(vocabulary)
    logits = scale * torch.randn(3, 7, vocabulary)
    for mask_id in (0, vocabulary - 1):
        assert_agrees(logits, mask_id)


def test_what_is_not_wanted_does_not_change_the_rest() -> None:
    logits = torch.randn(2, 5, 300)
    whole = observe(logits, 7)
    for wanted in ((), ("entropy",), ("margin",)):
        part = observe(logits, 7, wanted)
        assert {"token", "conf", "doubt", "finite", *wanted} <= set(part)
        assert all(torch.equal(part[name], whole[name]) for name in part)


def test_low_precision_logits_are_cast_first() -> None:
    logits = torch.randn(2, 5, 300).bfloat16()
    assert_agrees(logits, 7)


def test_ties_go_to_the_lower_id_and_never_to_mask() -> None:
    logits = torch.tensor([[[1.0, 3.0, 3.0, 3.0], [5.0, 1.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0]]])
    seen = observe(logits, mask_id=0)
    assert seen["token"].tolist() == [[1, 1, 1]]
    assert seen["margin"].tolist()[0][0] == 0
    assert seen["logit_margin"].tolist() == [[0, 4, 0]]
    assert_agrees(logits, 0)


def test_nothing_but_mask_is_likely() -> None:
    logits = torch.full((1, 1, 5), float("-inf"))
    logits[..., 2] = 0
    seen = observe(logits, mask_id=2)
    assert seen["token"].item() == 0
    assert (seen["conf"].item(), seen["doubt"].item(), seen["entropy"].item()) == (0, 1, 0)
    assert seen["finite"].item()


def test_doubt_keeps_the_tail_of_a_large_vocabulary() -> None:
    """1 - conf in float32 would be wrong in the second digit here."""
    torch.manual_seed(0)
    logits = torch.randn(1, 4, 126_464)
    logits[..., 5] = 24.0
    wanted = plainly(logits, 0)["doubt"]
    assert (wanted < 1e-4).all()
    assert ((observe(logits, 0)["doubt"].double() - wanted).abs() / wanted).max() < 2e-6


@pytest.mark.parametrize(("value", "finite"), [(float("nan"), False), (float("inf"), False), (float("-inf"), True)])
def test_what_is_finite(value: float, finite: bool) -> None:
    logits = torch.zeros(1, 2, 6)
    logits[0, 1, 3] = value
    assert observe(logits, 5)["finite"].tolist() == [[True, finite]]
    assert observe(torch.full((1, 1, 6), float("-inf")), 5)["finite"].tolist() == [[False]]
