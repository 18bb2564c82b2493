"""Random numbers as a hash of a few ints, and of nothing else.

So a request gets the same numbers in any batch and on any machine. `mixed` and `uniform` work on tensors;
`mixed_int` and `uniform_float` give the same numbers for plain ints. Not here: the draws (`vocabulary`, and
the words `chance` and `sample`).
"""

from __future__ import annotations

from torch import Tensor

# splitmix64 (Steele, Lea, Flood 2014), with its constants as signed 64-bit ints.
STEP = 0x9E3779B97F4A7C15 - 2**64
FIRST = 0xBF58476D1CE4E5B9 - 2**64
SECOND = 0x94D049BB133111EB - 2**64

FOR_CANVASES = -2  # separates the ids that a canvas shows from all other numbers
BITS = 23  # of a uniform float32; with 24, the largest number would round to 1


def key(seed: int, request_id: int, sample: int = 0) -> int:
    """The key of a request, a 64-bit int: all its random numbers follow from it. Any ints are allowed. Sample
    0 has the key of the request alone.
    """
    return mixed_int(seed, request_id, sample) if sample else mixed_int(seed, request_id)


def mixed_int(*parts: int) -> int:
    """A hash of some ints, as a signed 64-bit int."""
    h = 0
    for part in parts:
        h = ((h ^ (h >> 32)) * SECOND + part) % 2**64
    h = (h + STEP) % 2**64
    h = (h ^ (h >> 30)) * FIRST % 2**64
    h = (h ^ (h >> 27)) * SECOND % 2**64
    h ^= h >> 31
    return h - 2**64 if h >= 2**63 else h


def uniform_float(*parts: int) -> float:
    """A float32 above 0 and below 1."""
    return (((mixed_int(*parts) % 2**64) >> (64 - BITS)) + 0.5) / (1 << BITS)


def shown_id(key: int, step: int, position: int, vocab_size: int, mask_id: int) -> int:
    """The id that a position shows to the denoiser in a step, where nothing is written: any id of the
    vocabulary but MASK, all equally likely. A `mask_id` outside the vocabulary excludes no id.
    """
    ids = vocab_size - (0 <= mask_id < vocab_size)
    id_ = (mixed_int(key, step, position, FOR_CANVASES) % 2**64 >> 1) % ids
    return id_ + (0 <= mask_id <= id_)


def _shifted(h: Tensor, by: int) -> Tensor:
    """h shifted right, with zeros from the left; the shift of tensors would repeat the sign bit."""
    return (h >> by) & ((1 << (64 - by)) - 1)


def mixed(first: Tensor, *parts: Tensor | int) -> Tensor:
    """`mixed_int` for int64 tensors that broadcast to one shape."""
    h = first
    for part in parts:
        h = (h ^ _shifted(h, 32)) * SECOND + part
    h = h + STEP
    h = (h ^ _shifted(h, 30)) * FIRST
    h = (h ^ _shifted(h, 27)) * SECOND
    return h ^ _shifted(h, 31)


def uniform(first: Tensor, *parts: Tensor | int) -> Tensor:
    """`uniform_float` for int64 tensors, as float32."""
    return (_shifted(mixed(first, *parts), 64 - BITS).float() + 0.5) / (1 << BITS)


def shown_ids(key: Tensor, step: Tensor, position: Tensor, vocab_size: int, mask_id: int) -> Tensor:
    """`shown_id` for int64 tensors that broadcast to one shape."""
    ids = vocab_size - (0 <= mask_id < vocab_size)
    found = _shifted(mixed(key, step, position, FOR_CANVASES), 1) % ids
    return found + (found >= mask_id) if 0 <= mask_id < vocab_size else found


def gumbel(first: Tensor, *parts: Tensor | int) -> Tensor:
    """Standard Gumbel noise as float64. It has 52 random bits, because the few largest numbers of a
    vocabulary decide a draw.
    """
    between = (_shifted(mixed(first, *parts), 12).double() + 0.5) / (1 << 52)
    return -(-between.log()).log()
