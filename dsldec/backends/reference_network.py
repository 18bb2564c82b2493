"""The meaning of `learned`: a network at each position of a window, one number at a time.

Shapes: T window positions. Everything is computed in double precision, and the result is rounded once to
float32. Not here: which layers a network has (`networks.layers`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ..language.arithmetic import AnyNumber, float32
from ..networks.layers import LARGEST_INPUT, LINEAR, SELF_ATTENTION, SILU, NetworkLayer, layers_of_text

Vector = list[float]


def learned(
    sizes: str, weights: Sequence[float], mask: Sequence[bool], *inputs: Sequence[AnyNumber]
) -> list[float]:
    """The network's number at each of T positions; no value outside the mask.

    `sizes`: the layers as `layers_text` writes them; `weights`: of all layers in order; `inputs`: T numbers
    each.
    """
    places = [t for t, inside in enumerate(mask) if inside]
    x = [[_bounded(one[t]) for one in inputs] for t in places]
    weight = iter(weights)
    for layer in layers_of_text(sizes):
        tensors = [_taken(weight, shape) for _, shape in layer.weights]
        x = _applied(layer, tensors, x)
    result = [math.nan] * len(mask)
    for t, (value,) in zip(places, x, strict=True):
        result[t] = float32(value)
    return result


def _bounded(x: AnyNumber) -> float:
    """An input without a value counts as 0, and a very large one is cut."""
    return 0.0 if math.isnan(x) else max(-LARGEST_INPUT, min(LARGEST_INPUT, float(x)))


def _taken(weight: Iterator[float], shape: tuple[int, ...]) -> list[Vector]:
    """The next weights as rows; a vector is one row."""
    rows, columns = shape if len(shape) == 2 else (1, shape[0])
    return [[next(weight) for _ in range(columns)] for _ in range(rows)]


def _applied(layer: NetworkLayer, tensors: list[list[Vector]], x: list[Vector]) -> list[Vector]:
    if layer.name == LINEAR:
        weight, (bias,) = tensors
        return [_linear(weight, bias, one) for one in x]
    if layer.name == SELF_ATTENTION:
        return _attended(layer.heads, tensors, x)
    if layer.name == SILU:
        return [[value * _sigmoid(value) for value in one] for one in x]
    return [[_sigmoid(value) for value in one] for one in x]


def _sigmoid(x: float) -> float:
    if x < 0:
        small = math.exp(x)
        return small / (1 + small)
    return 1 / (1 + math.exp(-x))


def _linear(weight: list[Vector], bias: Vector, x: Vector) -> Vector:
    return [_dot(row, x) + b for row, b in zip(weight, bias, strict=True)]


def _dot(a: Vector, b: Vector) -> float:
    return sum((one * other for one, other in zip(a, b, strict=True)), 0.0)


def _attended(heads: int, tensors: list[list[Vector]], x: list[Vector]) -> list[Vector]:
    """x plus what its positions read of each other."""
    weight, (bias,), out, (out_bias,) = tensors
    width = len(out)
    size = width // heads
    projected = [_linear(weight, bias, one) for one in x]
    result = []
    for at, one in enumerate(x):
        read: Vector = []
        for head in range(heads):
            query, key, value = (
                slice(part * width + head * size, part * width + (head + 1) * size) for part in range(3)
            )
            scores = [_dot(projected[at][query], other[key]) / math.sqrt(size) for other in projected]
            most = max(scores)
            shares = [math.exp(score - most) for score in scores]
            total = sum(shares)
            for n in range(size):
                read.append(
                    sum(share * other[value][n] for share, other in zip(shares, projected, strict=True))
                    / total
                )
        result.append([a + b for a, b in zip(one, _linear(out, out_bias, read), strict=True)])
    return result
