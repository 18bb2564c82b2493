"""A network as the value of a parameter: its layers, its weights, and what its output means.

Not here: its file (`network_file`), how it is computed (`backends`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..language.words import Kind, Polarity
from .layers import SIGMOID, NetworkLayer, layers_of_text, layers_text, number_of_weights

BYTES_OF_A_WEIGHT = 4


@dataclass(frozen=True)
class LearnedNetwork:
    """A network that gives one number for each position.

    `weights`: the float32 numbers of all layers in order, little-endian. `polarity`: whether the output is
    high or low where the denoiser is sure, as the file says. `input_names`: the names of the inputs in the
    file, if it has them; messages show them.
    """

    layers: tuple[NetworkLayer, ...]
    weights: bytes
    polarity: Polarity = Polarity.NONE
    input_names: tuple[str, ...] = ()

    @property
    def inputs(self) -> int:
        """The number of inputs at each position."""
        return self.layers[0].inputs

    @property
    def kind(self) -> Kind:
        """The kind of its output: `prob` after a last `sigmoid`, else `real`."""
        return Kind.PROB if self.layers[-1].name == SIGMOID else Kind.REAL

    @property
    def sizes(self) -> str:
        """The layers with their sizes: networks with equal sizes share a compiled step."""
        return layers_text(self.layers)

    @property
    def count(self) -> int:
        """The number of weights."""
        return len(self.weights) // BYTES_OF_A_WEIGHT

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """The weights as numbers."""
        return struct.unpack(f"<{self.count}f", self.weights)

    @cached_property
    def digest(self) -> str:
        """A digest of everything that its output depends on."""
        return hashlib.sha256(self.sizes.encode() + b"\n" + self.weights).hexdigest()

    def __str__(self) -> str:
        """The network in a few words, for messages and facts."""
        size = f"{self.count:,} weights, {len(self.weights):,} bytes"
        return f"{self.sizes} ({size}, sha256 {self.digest[:12]})"

    def __repr__(self) -> str:
        return f"LearnedNetwork({self})"


def any_network(sizes: str) -> LearnedNetwork:
    """A network of these sizes, with weights of 0."""
    layers = layers_of_text(sizes)
    return LearnedNetwork(layers, bytes(BYTES_OF_A_WEIGHT * number_of_weights(layers)))


def network_of(sizes: str, numbers: Sequence[float]) -> LearnedNetwork:
    """The network of these sizes and weights. Raises `ValueError` if they do not fit."""
    layers = layers_of_text(sizes)
    if number_of_weights(layers) != len(numbers):
        raise ValueError(sizes)
    return LearnedNetwork(layers, struct.pack(f"<{len(numbers)}f", *numbers))
