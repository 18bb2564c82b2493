"""Small random networks for tests, as values and as files."""

from __future__ import annotations

import json
import math
import random
import struct
from pathlib import Path
from typing import Any

from dsldec.language.words import Polarity
from dsldec.networks.layers import layers_of_text, number_of_weights
from dsldec.networks.network import LearnedNetwork, network_of

SMALL = "linear 2 4, silu, self_attention 4 2, linear 4 1"


def network(sizes: str = SMALL, seed: int = 0, polarity: Polarity = Polarity.NONE) -> LearnedNetwork:
    """A network with weights on a grid of quarters, so that most sums are exact."""
    rng = random.Random(seed)
    count = number_of_weights(layers_of_text(sizes))
    made = network_of(sizes, [rng.randint(-4, 4) / 4 for _ in range(count)])
    return LearnedNetwork(made.layers, made.weights, polarity)


def metadata_of(of: LearnedNetwork) -> dict[str, str]:
    """The metadata of the network's file."""
    names = [f"{layer.name} {layer.heads}" if layer.heads else layer.name for layer in of.layers]
    return {"layers": ", ".join(names), "polarity": str(of.polarity)}


def tensors_of(of: LearnedNetwork) -> dict[str, tuple[list[int], bytes]]:
    """The shapes and the bytes of the tensors, by their names in the file."""
    tensors, at = {}, 0
    for place, layer in enumerate(of.layers):
        for name, shape in layer.weights:
            size = 4 * math.prod(shape)
            tensors[f"{place}.{name}"] = [*shape], of.weights[at : at + size]
            at += size
    return tensors


def safetensors(tensors: dict[str, tuple[list[int], bytes]], metadata: Any, **changed: Any) -> bytes:
    """A safetensors file. `changed`: other values of the entries of each tensor."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, (shape, numbers) in tensors.items():
        offsets = [len(data), len(data) + len(numbers)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": offsets} | changed
        data += numbers
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def saved(of: LearnedNetwork, file: Path) -> Path:
    """The network in a file."""
    file.write_bytes(safetensors(tensors_of(of), metadata_of(of)))
    return file
