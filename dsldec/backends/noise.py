"""Random numbers that depend on nothing but what they are asked for: a hash of a few ints.

A request's numbers are the same in any batch and on any machine. `mixed` and `uniform` work on tensors,
`mixed_int` and `uniform_float` give the same on plain ints. Not here: what is drawn with them (`vocabulary`,
the language's `chance`, `sample`).
"""

from __future__ import annotations

from torch import Tensor

# splitmix64 (Steele, Lea, Flood 2014), its constants as 64-bit ints with a sign.
STEP = 0x9E3779B97F4A7C15 - 2**64
FIRST = 0xBF58476D1CE4E5B9 - 2**64
SECOND = 0x94D049BB133111EB - 2**64

BITS = 23  # of a uniform float32: with one more, half a step below 1 would round to 1


def key(seed: int, request_id: int) -> int:
    """What all random numbers of a request start from, a 64-bit int; any two ints will do."""
    return mixed_int(seed, request_id)


def mixed_int(*parts: int) -> int:
    """A hash of some ints, itself an int of 64 bits with a sign."""
    h = 0
    for part in parts:
        h = ((h ^ (h >> 32)) * SECOND + part) % 2**64
    h = (h + STEP) % 2**64
    h = (h ^ (h >> 30)) * FIRST % 2**64
    h = (h ^ (h >> 27)) * SECOND % 2**64
    h ^= h >> 31
    return h - 2**64 if h >= 2**63 else h


def uniform_float(*parts: int) -> float:
    """A float32 between 0 and 1, neither of them."""
    return (((mixed_int(*parts) % 2**64) >> (64 - BITS)) + 0.5) / (1 << BITS)


def _shifted(h: Tensor, by: int) -> Tensor:
    """h moved right by some bits, zeros coming in: the tensors' own shift would repeat the sign."""
    return (h >> by) & ((1 << (64 - by)) - 1)


def mixed(first: Tensor, *parts: Tensor | int) -> Tensor:
    """`mixed_int` of int64 tensors, broadcast against each other."""
    h = first
    for part in parts:
        h = (h ^ _shifted(h, 32)) * SECOND + part
    h = h + STEP
    h = (h ^ _shifted(h, 30)) * FIRST
    h = (h ^ _shifted(h, 27)) * SECOND
    return h ^ _shifted(h, 31)


def uniform(first: Tensor, *parts: Tensor | int) -> Tensor:
    """`uniform_float` of int64 tensors, as float32."""
    return (_shifted(mixed(first, *parts), 64 - BITS).float() + 0.5) / (1 << BITS)


def gumbel(first: Tensor, *parts: Tensor | int) -> Tensor:
    """Standard Gumbel noise as float64: 52 bits, as the few largest of a whole vocabulary's decide."""
    between = (_shifted(mixed(first, *parts), 12).double() + 0.5) / (1 << 52)
    return -(-between.log()).log()
