"""A prepared automaton as bytes, for a file, and back.

The first 32 bytes are the SHA-256 digest of the rest, so that damage is found. Not here: the folder of such
files (`runtime.prepared_patterns`).
"""

from __future__ import annotations

import hashlib
import zlib

import numpy as np

from .automaton import DEAD, TokenAutomaton
from .over_ids import MOST_BYTES, MOST_STATES

LARGEST_VOCABULARY = 2**22
_HEAD = np.dtype("<i8")
_NUMBER = np.dtype("<i4")


class Damaged(Exception):
    """The bytes are no automaton."""


def to_bytes(automaton: TokenAutomaton) -> bytes:
    """The automaton as bytes, compressed."""
    sizes = (automaton.states, automaton.classes, len(automaton.class_of))
    body = b"".join(
        (
            np.array(sizes, _HEAD).tobytes(),
            automaton.next_state.astype(_NUMBER).tobytes(),
            automaton.class_of.astype(_NUMBER).tobytes(),
            automaton.final.astype(np.uint8).tobytes(),
        )
    )
    packed = zlib.compress(body, 1)
    return hashlib.sha256(packed).digest() + packed


def of_bytes(data: bytes, ids: int) -> TokenAutomaton:
    """The automaton of `to_bytes` over this number of ids. Raises `Damaged`."""
    digest, packed = data[:32], data[32:]
    if hashlib.sha256(packed).digest() != digest:
        raise Damaged
    most = MOST_BYTES + 4 * LARGEST_VOCABULARY + MOST_STATES + 24
    unpack = zlib.decompressobj()
    try:
        body = unpack.decompress(packed, most)
        S, C, V = (int(one) for one in np.frombuffer(body, _HEAD, 3))
        if not (0 < S <= MOST_STATES and C > 0 and 4 * S * C <= MOST_BYTES and ids == V):
            raise Damaged
        table = np.frombuffer(body, _NUMBER, S * C, 24).reshape(S, C)
        class_of = np.frombuffer(body, _NUMBER, V, 24 + table.nbytes)
        final = np.frombuffer(body, np.uint8, S, 24 + table.nbytes + class_of.nbytes).astype(bool)
    except (ValueError, zlib.error):
        raise Damaged from None
    if table.min() < DEAD or table.max() >= S or class_of.min() < 0 or class_of.max() >= C:
        raise Damaged
    return TokenAutomaton(table.astype(np.int32), class_of.astype(np.int32), final)
