"""A transformer of the shape of an 8B model with random weights, as a denoiser. Its answers mean nothing; its
time is that of a real model of this shape.

Plain torch: RMS norm, rotary positions, grouped queries in torch's attention function, SwiGLU. It sees the
whole canvas. Shapes: B rows, L columns of the canvas, V vocabulary, D hidden size. Not here: sizes (`sizes`).
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dsldec.models.huggingface import HuggingFaceDenoiser, denoiser_of

from .sizes import Sizes

LONGEST = 4096  # columns that a canvas may have
THETA = 500000.0  # base of the rotary frequencies


class Layer(nn.Module):
    def __init__(self, sizes: Sizes, how: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.key_heads = sizes.heads, sizes.key_heads
        self.head = sizes.hidden // sizes.heads

        def linear(into: int, out: int) -> nn.Linear:
            return nn.Linear(into, out, bias=False, **how)

        self.qkv = linear(sizes.hidden, (sizes.heads + 2 * sizes.key_heads) * self.head)
        self.output = linear(sizes.hidden, sizes.hidden)
        self.gate_up, self.down = linear(sizes.hidden, 2 * sizes.mlp), linear(sizes.mlp, sizes.hidden)
        self.norms = nn.ParameterList([nn.Parameter(torch.ones(sizes.hidden, **how)) for _ in range(2)])

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`x [B, L, D]`; `cos`, `sin` `[B, 1, L, head size]`."""
        rows, length, _ = x.shape
        parts = self.qkv(_normed(x, self.norms[0])).view(rows, length, -1, self.head).transpose(1, 2)
        query, key, value = parts.split([self.heads, self.key_heads, self.key_heads], 1)
        attended = F.scaled_dot_product_attention(
            _turned(query, cos, sin), _turned(key, cos, sin), value, enable_gqa=True
        )
        x = x + self.output(attended.transpose(1, 2).reshape(rows, length, -1))
        gate, up = self.gate_up(_normed(x, self.norms[1])).chunk(2, -1)
        x = x + self.down(F.silu(gate) * up)
        return x


def _normed(x: Tensor, weight: Tensor) -> Tensor:
    return F.rms_norm(x, (x.shape[-1],), weight, 1e-6)


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Transformer(nn.Module):
    """`depth` layers, which use the weights of `sizes.distinct` layers in turn. Called as the models of
    transformers are: `model(input_ids=ids [B, L]).logits [B, L, V]`.
    """

    def __init__(self, sizes: Sizes, device: torch.device, depth: int) -> None:
        super().__init__()
        how: dict[str, Any] = {"device": device, "dtype": sizes.dtype}
        self.depth = depth
        self.layers = nn.ModuleList([Layer(sizes, how) for _ in range(min(depth, sizes.distinct))])
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.hidden, **how)
        self.norm = nn.Parameter(torch.ones(sizes.hidden, **how))
        self.head = nn.Linear(sizes.hidden, sizes.vocabulary, bias=False, **how)
        size = sizes.hidden // sizes.heads
        frequencies = THETA ** -(torch.arange(0, size, 2, device=device).float() / size)
        self.register_buffer("frequencies", torch.cat([frequencies, frequencies]))
        self.config = SimpleNamespace(vocab_size=sizes.vocabulary, max_position_embeddings=LONGEST)

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> SimpleNamespace:
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device).unsqueeze(0)
        angles = position_ids.unsqueeze(-1) * self.frequencies
        x = self.embedding(input_ids)
        cos, sin = (one.to(x.dtype).unsqueeze(1) for one in (angles.cos(), angles.sin()))
        for number in range(self.depth):
            x = self.layers[number % len(self.layers)](x, cos, sin)
        return SimpleNamespace(logits=self.head(_normed(x, self.norm)))


def transformer(sizes: Sizes, device: torch.device, depth: int) -> HuggingFaceDenoiser:
    """The transformer as a denoiser that can use a KV cache. Its weights are the same in every process on one
    kind of device.
    """
    torch.manual_seed(0)
    model = Transformer(sizes, device, depth).eval().requires_grad_(False)
    # Logits of some size, so that confidences differ between positions.
    model.head.weight.mul_(4.0)
    denoiser = HuggingFaceDenoiser(
        model, None, sizes.vocabulary - 1, sizes.vocabulary - 2, sizes.window, mask=None
    )
    denoiser.head.probe(torch.arange(8, device=device).unsqueeze(0))  # reads values, which waits
    return denoiser


def in_blocks(sizes: Sizes, device: torch.device, depth: int) -> HuggingFaceDenoiser:
    """A model of transformers of the same shape, causal between blocks, whose KV cache is exact."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.mlp,
        num_hidden_layers=depth,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.key_heads,
        max_position_embeddings=LONGEST,
        eos_token_id=sizes.vocabulary - 2,
        bos_token_id=None,
        pad_token_id=None,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
        is_causal=False,
    )
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    try:
        torch.set_default_dtype(sizes.dtype)
        with device:
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    return denoiser_of(
        model.eval().requires_grad_(False), mask_id=sizes.vocabulary - 1, block_length=sizes.window
    )
