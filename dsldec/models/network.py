"""The network of the embedded model in plain torch: the logits of transformers' `EuroBertForMaskedLM`.

transformers takes longer to import than torch. Here are the same operations in the same order, so the logits
are equal bit for bit on a CPU. The architecture is that of Llama (arXiv:2302.13971) without a causal mask, as
in EuroBERT (arXiv:2503.05500): RMSNorm before each part, rotary positions (arXiv:2104.09864), a gated
feed-forward part (SwiGLU, arXiv:2002.05202), and an embedding that is also the head.

Shapes: b rows, L positions, W selected columns, D hidden size, H heads, S = D / H, V vocabulary. Not here:
text, ids and options of the denoiser (`embedded`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .head import picked

# Fields of `config.json` that decide the computation, each with its only value here.
ONLY = {
    "architectures": ["EuroBertForMaskedLM"],
    "model_type": "eurobert",
    "attention_bias": False,
    "hidden_act": "silu",
    "mlp_bias": False,
    "tie_word_embeddings": True,
}
# Fields that hold a size, or that change no logit of a loaded model.
SIZES = ("head_dim", "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "vocab_size")  # fmt: skip
OTHER = frozenset(
    "attention_dropout bos_token_id classifier_pooling dtype eos_token_id initializer_range mask_token_id max_position_embeddings "
    "num_key_value_heads pad_token_id pretraining_tp rms_norm_eps rope_parameters transformers_version use_cache".split()
)


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one layer: norms `[D]`, projections `[out, in]`."""

    input_norm: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    feed_norm: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


NAMES = (
    "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
)  # fmt: skip


def computes(config: Mapping[str, Any]) -> bool:
    """Whether a network with this `config.json` is the one here."""
    rope = config.get("rope_parameters")
    return (
        config.keys() == {*ONLY, *SIZES, *OTHER}
        and all(config[name] == value for name, value in ONLY.items())
        and all(isinstance(config[name], int) for name in SIZES)
        and config["num_key_value_heads"] == config["num_attention_heads"]
        and config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]
        and isinstance(rope, dict)
        and rope.keys() == {"rope_theta", "rope_type"}
        and rope["rope_type"] == "default"
    )


class Network:
    """`ids [b, L] -> logits [b, L, V]`. The weights have one dtype and one device, and the names in the file
    of the embedded model. Raises `ValueError` for other names or shapes.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
        if {name: tuple(tensor.shape) for name, tensor in weights.items()} != _shapes(config):
            raise ValueError("these are not the weights of this configuration")
        self.eps, self.head_size = config["rms_norm_eps"], config["head_dim"]
        self.embedding, self.norm = weights["model.embed_tokens.weight"], weights["model.norm.weight"]
        self.layers = [
            Layer(*(weights[f"model.layers.{number}.{name}.weight"] for name in NAMES))
            for number in range(config["num_hidden_layers"])
        ]
        powers = torch.arange(0, self.head_size, 2, dtype=torch.float) / self.head_size
        inverse = 1.0 / (config["rope_parameters"]["rope_theta"] ** powers)
        self.frequencies = inverse.to(self.embedding.device)

    def parameters(self) -> Iterator[Tensor]:
        """Tensors on its device, as a model of torch has."""
        yield self.embedding

    def __call__(self, ids: Tensor, filled: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
        """Logits `[b, L, V]`, or `[b, W, V]` at `columns [b, W]`. `filled [b, L]` bool: the positions without
        padding; None where there is none.
        """
        states = F.embedding(ids, self.embedding)
        cos, sin = self._turns(ids.shape[1], states.dtype)
        seen = None if filled is None else filled[:, None, None].expand(-1, 1, ids.shape[1], -1)
        for layer in self.layers:
            states = states + self._attended(layer, self._normed(states, layer.input_norm), cos, sin, seen)
            inner = self._normed(states, layer.feed_norm)
            gated = F.silu(F.linear(inner, layer.gate)) * F.linear(inner, layer.up)
            states = states + F.linear(gated, layer.down)
        states = self._normed(states, self.norm)
        return F.linear(states if columns is None else picked(states, columns), self.embedding)

    def _normed(self, states: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm, in float32 in any dtype."""
        whole = states.to(torch.float32)
        whole = whole * torch.rsqrt(whole.pow(2).mean(-1, keepdim=True) + self.eps)
        return weight * whole.to(states.dtype)

    def _turns(self, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosine and sine of every position, `[1, 1, L, S]`."""
        positions = torch.arange(length, device=self.embedding.device)[None, :, None].float()
        angles = positions * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(dtype).unsqueeze(1), angles.sin().to(dtype).unsqueeze(1)

    def _attended(
        self, layer: Layer, states: Tensor, cos: Tensor, sin: Tensor, seen: Tensor | None
    ) -> Tensor:
        heads = (*states.shape[:-1], -1, self.head_size)
        query, key, value = (
            F.linear(states, weight).view(heads).transpose(1, 2)
            for weight in (layer.query, layer.key, layer.value)
        )
        query, key = (one * cos + _half_turned(one) * sin for one in (query, key))
        attended = F.scaled_dot_product_attention(query, key, value, seen, scale=self.head_size**-0.5)
        return F.linear(attended.transpose(1, 2).reshape(states.shape), layer.output)


def _half_turned(one: Tensor) -> Tensor:
    first, second = one.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    D, inner, V = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    of = dict(zip(NAMES, [(D,), *[(D, D)] * 4, (D,), (inner, D), (inner, D), (D, inner)], strict=True))
    shapes = {
        f"model.layers.{number}.{name}.weight": shape
        for number in range(config["num_hidden_layers"])
        for name, shape in of.items()
    }
    return shapes | {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
