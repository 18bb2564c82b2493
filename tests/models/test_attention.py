"""A model with its own code that calls torch's attention function can use a KV cache, or the message says why
not.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import MaskedLMOutput

import dsldec
from dsldec.models.attention_hooks import ByTorch, ByTorchAndRotary
from dsldec.models.huggingface import HuggingFaceDenoiser

from .test_kv_cache import LENGTHS, SPANS, canvas, fed, kept_whole, near, near_plain
from .tiny import EOS, MASK, SIZE

WIDTH, HEADS = 16, 2


class Rotary(nn.Module):
    """As LLaDA has it: the tokens it is given are those from column 0 on, unless positions are given."""

    def forward(self, q: Tensor, k: Tensor, positions: Tensor | None = None) -> tuple[Tensor, Tensor]:
        at = torch.arange(q.shape[2])[None] if positions is None else positions
        angles = at[:, None, :, None] * 0.3 ** torch.arange(q.shape[3] // 2)
        return self.turned(q, angles), self.turned(k, angles)

    def turned(self, x: Tensor, angles: Tensor) -> Tensor:
        one, other = x.chunk(2, -1)
        return torch.cat(
            [one * angles.cos() - other * angles.sin(), other * angles.cos() + one * angles.sin()], -1
        )


class OwnCode(nn.Module):
    """Two layers of attention; `ways` are things that such code may do."""

    def __init__(self, *ways: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.ways, self.config = ways, type("Config", (), {"vocab_size": SIZE, "pad_token_id": 0})()
        self.embedding, self.head = nn.Embedding(SIZE, WIDTH), nn.Linear(WIDTH, SIZE)
        self.mix, self.back = (nn.ModuleList(nn.Linear(WIDTH, n * WIDTH) for _ in range(2)) for n in (3, 1))
        self.rotary = Rotary()

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, **given: Tensor) -> Any:
        if given and "positions" not in self.ways:
            raise TypeError("forward() got an unexpected keyword argument 'position_ids'")
        x = self.embedding(input_ids)
        for mix, back in zip(self.mix, self.back, strict=True):
            x = x + back(self.attention(mix(x), attention_mask, given.get("position_ids"))) * 3
        return MaskedLMOutput(logits=self.head(x))

    def attention(self, mixed: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        q, k, v = (each.unflatten(-1, (HEADS, -1)).transpose(1, 2) for each in mixed.chunk(3, -1))
        q, k = self.rotary(q, k, positions)
        if mask is not None:
            mask = mask.bool()[:, None, None, :]
        if "a mask" in self.ways:
            mask = (torch.arange(q.shape[2])[:, None] - torch.arange(q.shape[2])).abs() < 30
        if "its own attention" in self.ways:
            return ((q @ k.transpose(2, 3)).softmax(-1) @ v).transpose(1, 2).flatten(2)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def denoiser(*ways: str, **given: Any) -> HuggingFaceDenoiser:
    return HuggingFaceDenoiser(OwnCode(*ways).eval(), None, MASK, EOS, 8, max_length=64, **given)


@pytest.mark.parametrize("ways", [("positions",), ()])
@pytest.mark.parametrize("shift", [False, True])
def test_it_gives_what_the_plain_call_gives(ways: tuple[str, ...], shift: bool) -> None:
    own, ids = denoiser(*ways, shift_logits=shift), canvas()
    plain = own(ids, list(LENGTHS))
    for length in (24, 31):
        memory, whole = kept_whole(own, ids, length)
        assert type(memory.hook) is (ByTorch if ways else ByTorchAndRotary)
        assert memory.layers == 2
        near(whole[0], plain[0])
        near(whole[1, :17], plain[1, :17])
        near_plain(fed(memory, ids, SPANS), plain, SPANS)
    old, _ = kept_whole(own, canvas(1))
    assert (fed(old, ids, SPANS)[0, :5] - plain[1, 6:11]).abs().max() > 1e-2


def test_it_is_left_as_it_was() -> None:
    own, ids = denoiser(), canvas()
    plain = own(ids)
    memory, _ = kept_whole(own, ids)
    with pytest.raises(IndexError):
        fed(memory, ids + 10**6, [(0, 8, 12)])
    assert torch.equal(own(ids), plain)
    near(kept_whole(own, ids)[1][0], plain[0])


@pytest.mark.parametrize(
    ("ways", "says"),
    [
        (("positions", "a mask"), "passes its own mask to attention"),
        (("positions", "its own attention"), "computes attention in its own way"),
        (("its own attention",), "takes no position ids"),
    ],
)
def test_what_cannot_be_met_is_told(ways: tuple[str, ...], says: str) -> None:
    with pytest.raises(dsldec.UsageError, match=says) as error:
        denoiser(*ways).kv_cache(1, 8)
    assert error.value.diagnostic.code == "E0414"
