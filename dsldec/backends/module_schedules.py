"""How many masks does the word `cosine` leave, as torch expressions?

Shapes: ints of any equal or broadcastable shapes. Not here: its meaning (`language.arithmetic`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .numerics import Numerics

LARGEST_INT = 1e18
HALF_BITS = 20
ONE = 1 << 2 * HALF_BITS  # a fixed-point number has 40 bits after the point
# cos(pi / 2 * x) as a polynomial in x * x, up to the 9th power: the next term is below 2 ** -40.
TERMS = tuple(round((math.pi / 2) ** (2 * k) / math.factorial(2 * k) * ONE) for k in range(10))


def cosine_left(form: Numerics, masks: Tensor, done: Tensor, steps: Tensor) -> Tensor:
    """The largest int not above masks * cos(pi / 2 * done / steps); 0 from done = steps on."""
    if form.wide is not torch.float64:
        return _in_fixed_point(masks, done, steps)
    share = done.double() / steps.double()
    wave = torch.where(share == 2 / 3, 0.5, torch.cos(share * (math.pi / 2)))
    left = torch.where(share >= 1, 0.0, masks.double() * wave)
    return torch.where(left.isnan(), 0.0, left).clamp(-LARGEST_INT, LARGEST_INT).floor().long()


def _in_fixed_point(masks: Tensor, done: Tensor, steps: Tensor) -> Tensor:
    """The same without float64: exact for up to 512 masks and 64 steps.

    `steps` is at least 1, `done` from 0 on, and `masks` below 2 ** 22.
    """
    steps = steps.clamp(1, 1 << 22)
    done = done.clamp(min=0).minimum(steps)
    share = _quotient(done * ONE, steps)
    square = _product(share, share)
    wave = torch.full_like(square, TERMS[-1])
    for term in TERMS[-2::-1]:
        wave = term - _product(wave, square)
    wave = torch.where(3 * done == 2 * steps, ONE // 2, wave.clamp(0, ONE))
    left = _quotient(masks.clamp(0, 1 << 22) * wave, ONE)
    return torch.where(done == steps, 0, left)


def _quotient(a: Tensor, b: Tensor | int) -> Tensor:
    return torch.div(a, b, rounding_mode="floor")


def _product(a: Tensor, b: Tensor) -> Tensor:
    """The product of two fixed-point numbers below 2, in two halves that fit into 64 bits."""
    high, low = _quotient(b, 1 << HALF_BITS), b % (1 << HALF_BITS)
    return _quotient(a * high + _quotient(a * low, 1 << HALF_BITS), 1 << HALF_BITS)
