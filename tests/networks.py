"""Small random networks for tests, as values and as files."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dsldec
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


def bound(policy: dsldec.Policy, seed: int = 0) -> dsldec.Policy:
    """The policy with a small network wherever it needs one."""
    return policy.bind(
        **{
            name: network(f"linear {inputs} 2, silu, linear 2 1", seed)
            for name, inputs in policy.facts.networks.items()
        }
    )


def plainly(
    sizes: str, numbers: Sequence[float], mask: Sequence[bool], rows: list[list[float]]
) -> list[float]:
    """The definition in `networks.layers`, with indices into the list of weights. `rows`: inputs by position."""
    x = [[0.0 if v != v else min(max(v, -1e6), 1e6) for v in row] for row in rows]
    places = [t for t in range(len(mask)) if mask[t]]
    at = 0
    for part in sizes.split(", "):
        name, *of = part.split()
        if name == "linear":
            n, m = map(int, of)
            x = [
                [
                    sum(numbers[at + j * n + i] * row[i] for i in range(n)) + numbers[at + m * n + j]
                    for j in range(m)
                ]
                for row in x
            ]
            at += m * n + m
        elif name == "silu":
            x = [[v / (1 + math.exp(-v)) if v > -700 else 0.0 for v in row] for row in x]
        elif name == "sigmoid":
            x = [[1 / (1 + math.exp(-v)) if v > -700 else 0.0 for v in row] for row in x]
        else:
            n, heads = map(int, of)
            biases, out, out_biases = at + 3 * n * n, at + 3 * n * n + 3 * n, at + 4 * n * n + 3 * n

            def projected(row: list[float], j: int, at: int = at, n: int = n, biases: int = biases) -> float:
                return sum(numbers[at + j * n + i] * row[i] for i in range(n)) + numbers[biases + j]

            all_three = [[projected(row, j) for j in range(3 * n)] for row in x]
            size, after = n // heads, []
            for t in range(len(x)):
                read = []
                for j in range(n):
                    first = j // size * size
                    score = {
                        s: sum(all_three[t][first + d] * all_three[s][n + first + d] for d in range(size))
                        / size**0.5
                        for s in places
                    }
                    top = max(score.values())
                    total = sum(math.exp(score[s] - top) for s in places)
                    read.append(
                        sum(math.exp(score[s] - top) / total * all_three[s][2 * n + j] for s in places)
                    )
                mixed = [
                    sum(numbers[out + j * n + i] * read[i] for i in range(n)) + numbers[out_biases + j]
                    for j in range(n)
                ]
                after.append([a + b for a, b in zip(x[t], mixed, strict=True)])
            x = after
            at += 4 * n * n + 4 * n
    return [row[0] if inside else math.nan for row, inside in zip(x, mask, strict=True)]
