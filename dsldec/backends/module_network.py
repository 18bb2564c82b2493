"""`learned` as torch expressions: a network at all positions of all rows at once.

Shapes: B rows, T window positions. Everything is computed in the form's wide dtype, and the result is rounded
once to float32, so that a sum in another order gives the same float32 number, but for rare ties. Attention
forms `[B, T, T]` numbers for each head. Not here: the meaning as a slow loop (`reference_network`).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from ..networks.layers import (
    LARGEST_INPUT,
    LINEAR,
    SELF_ATTENTION,
    SILU,
    NetworkLayer,
    layers_of_text,
    number_of_weights,
)
from .numerics import Numerics


@cache
def _layers(sizes: str) -> tuple[NetworkLayer, ...]:
    return layers_of_text(sizes)


def learned(form: Numerics, sizes: str, weights: Tensor, mask: Tensor, *inputs: Tensor) -> Tensor:
    """The network's number at each position `[B, T]`; no value outside the mask `[B, T]`.

    `sizes`: the layers as `layers_text` writes them; `weights [P]`: of all layers in order; `inputs`:
    `[B, T]` each.
    """
    layers = _layers(sizes)
    x = torch.stack([_bounded(one).to(form.wide) for one in inputs], dim=-1)
    shapes = [shape for layer in layers for _, shape in layer.weights]
    parts = iter(weights[: number_of_weights(layers)].to(form.wide).split([math.prod(one) for one in shapes]))
    for layer in layers:
        x = _applied(layer, [next(parts).view(shape) for _, shape in layer.weights], x, mask)
    return torch.where(mask, x.squeeze(-1), float("nan")).float()


def _bounded(x: Tensor) -> Tensor:
    return torch.where(x.isnan(), 0.0, x).clamp(-LARGEST_INPUT, LARGEST_INPUT)


def _applied(layer: NetworkLayer, tensors: list[Tensor], x: Tensor, mask: Tensor) -> Tensor:
    if layer.name == LINEAR:
        weight, bias = tensors
        return torch.matmul(x, weight.t()) + bias
    if layer.name == SELF_ATTENTION:
        return _attended(layer.heads, tensors, x, mask)
    return x * torch.sigmoid(x) if layer.name == SILU else torch.sigmoid(x)


def _attended(heads: int, tensors: list[Tensor], x: Tensor, mask: Tensor) -> Tensor:
    """x `[B, T, W]` plus what its positions read of each other."""
    weight, bias, out, out_bias = tensors
    size = x.shape[-1] // heads
    projected = torch.matmul(x, weight.t()) + bias
    read = []
    for head in range(heads):  # one at a time: each needs B * T * T numbers
        query, key, value = (
            part[..., head * size : (head + 1) * size] for part in projected.chunk(3, dim=-1)
        )
        scores = torch.matmul(query, key.transpose(1, 2)) / math.sqrt(size)
        scores = torch.where(mask.unsqueeze(1), scores, float("-inf"))
        # A row without a position in the mask has no maximum; its result is not used.
        most = torch.where(mask.any(1, keepdim=True).unsqueeze(2), scores.amax(2, keepdim=True), 0.0)
        shares = torch.exp(scores - most)
        read.append(torch.matmul(shares, value) / shares.sum(2, keepdim=True))
    return x + torch.matmul(torch.cat(read, dim=-1), out.t()) + out_bias
