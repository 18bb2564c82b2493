"""Models whose logits are for the next position: the shift is undone before a policy reads them."""

from __future__ import annotations

import torch
from torch import Tensor

import dsldec
from dsldec.models.huggingface import from_pretrained
from dsldec.models.shifted import Shifted

from ..toy import ToyDenoiser


class SpeaksOfTheNext(ToyDenoiser):
    """The toy denoiser as a model would be that says at each position what comes after it."""

    def __call__(self, ids: Tensor) -> Tensor:
        logits = super().__call__(ids)
        return torch.cat([logits[:, 1:], torch.zeros_like(logits[:, :1])], dim=1)


def test_a_policy_decodes_the_same_through_the_shift() -> None:
    prompt = [9, 17, 0]
    for policy in ("dico", "threshold"):
        plain = dsldec.decode(
            ToyDenoiser(7, 1.0), [prompt], policy, gen_length=24, backend="eager", trace=True
        )
        through = dsldec.decode(
            Shifted(SpeaksOfTheNext(7, 1.0)), [prompt], policy, gen_length=24, backend="eager", trace=True
        )
        assert plain.ids[0].tolist() == through.ids[0].tolist()
        assert plain.trace == through.trace
        not_undone = dsldec.decode(SpeaksOfTheNext(7, 1.0), [prompt], policy, gen_length=24, backend="eager")
        assert not_undone.ids[0].tolist() != plain.ids[0].tolist()


def test_the_wrapper_is_the_denoiser_in_everything_else() -> None:
    wrapped = Shifted(ToyDenoiser(7, 1.0))
    assert (wrapped.mask_id, wrapped.vocab_size) == (39, 40)
    assert not hasattr(wrapped, "encode")
    assert hasattr(from_pretrained(), "kept")
    assert not hasattr(Shifted(from_pretrained()), "kept")


def test_a_model_of_hugging_face_is_shifted_when_asked() -> None:
    plain, moved = from_pretrained(), from_pretrained(shift_logits=True)
    ids = torch.tensor([plain.encode("What is 3+4?") + [plain.mask_id] * 4] * 2)
    lengths = [ids.shape[1], ids.shape[1] - 2]
    there, here = plain(ids, lengths), moved(ids, lengths)
    assert torch.equal(here[:, 1:], there[:, :-1])
    assert torch.equal(here[:, 0], there[:, 0])
