"""Which layers does a network have, and which weights belong to each layer?

A network is a list of layers, applied in order to the inputs of every position. `self_attention` alone reads
the other positions. Not here: the weights (`network`), the file (`network_file`), how a layer is computed
(`backends`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LINEAR, SILU, SELF_ATTENTION, SIGMOID = "linear", "silu", "self_attention", "sigmoid"
LAYER_NAMES = (LINEAR, SILU, SELF_ATTENTION, SIGMOID)

# The largest networks that a policy reads.
MOST_LAYERS, MOST_INPUTS, WIDEST, MOST_HEADS = 16, 64, 256, 16
MOST_WEIGHTS = 2**18
LARGEST_WEIGHT = 1e6  # with at most 16 layers of 256 numbers, no sum overflows a double
LARGEST_INPUT = 1e6  # a larger input is cut to it


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """One layer. `inputs`, `outputs`: its numbers at each position; `heads`: of a `self_attention`.

    `linear`: weight · x + bias. `silu`: x / (1 + exp(-x)). `sigmoid`: 1 / (1 + exp(-x)). `self_attention`: x
    plus multi-head attention over the positions of the window, in both directions: three projections of x
    (queries, keys, values), softmax(queries · keys / sqrt(numbers of a head)), one projection of the result.
    """

    name: str
    inputs: int
    outputs: int
    heads: int = 0

    @property
    def weights(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """The names and shapes of its tensors, as torch's `nn.Linear` and `nn.MultiheadAttention` have
        them.
        """
        n, m = self.inputs, self.outputs
        if self.name == LINEAR:
            return ("weight", (m, n)), ("bias", (m,))
        if self.name == SELF_ATTENTION:
            projections = ("in_proj_weight", (3 * n, n)), ("in_proj_bias", (3 * n,))
            return (*projections, ("out_proj.weight", (n, n)), ("out_proj.bias", (n,)))
        return ()

    def __str__(self) -> str:
        if self.name == LINEAR:
            return f"{self.name} {self.inputs} {self.outputs}"
        return f"{self.name} {self.inputs} {self.heads}" if self.heads else self.name


def number_of_weights(layers: Sequence[NetworkLayer]) -> int:
    """The number of weights of all layers."""
    return sum(math.prod(shape) for layer in layers for _, shape in layer.weights)


def layers_text(layers: Sequence[NetworkLayer]) -> str:
    """The layers with their sizes in one line, as in `linear 6 32, silu, linear 32 1, sigmoid`."""
    return ", ".join(map(str, layers))


def layers_of_text(text: str) -> tuple[NetworkLayer, ...]:
    """The layers of a text that `layers_text` made."""
    layers: list[NetworkLayer] = []
    for part in text.split(", "):
        name, *sizes = part.split()
        numbers = [int(size) for size in sizes]
        width = layers[-1].outputs if layers else numbers[0]
        if name == LINEAR:
            layers.append(NetworkLayer(name, *numbers))
        else:
            layers.append(NetworkLayer(name, width, width, numbers[1] if name == SELF_ATTENTION else 0))
    return tuple(layers)
