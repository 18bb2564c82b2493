"""Reads a network from a safetensors file, without safetensors and without torch.

The file is untrusted: its size, its header and its numbers are checked, and nothing in it is run. Its
metadata have `layers`, for example `linear, silu, self_attention 4, linear, sigmoid`, and may have `inputs`
(the names of the inputs) and `polarity`. The tensors of layer number i are called `i.weight`, `i.bias`, ...,
as in the state of torch's `nn.Sequential`. Not here: the computation of a layer (`layers`).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ..diagnostics import Diagnostic, did_you_mean
from ..files import LARGEST_NETWORK, NotJSON, Unreadable, json_of, read_bytes
from ..language.words import Polarity
from ..spelling import LONGEST_SHOWN
from .layers import (
    LARGEST_WEIGHT,
    LAYER_NAMES,
    LINEAR,
    MOST_HEADS,
    MOST_INPUTS,
    MOST_LAYERS,
    MOST_WEIGHTS,
    SELF_ATTENTION,
    SIGMOID,
    WIDEST,
    NetworkLayer,
    number_of_weights,
)
from .network import BYTES_OF_A_WEIGHT, LearnedNetwork

LONGEST_HEADER = 64 * 1024
LENGTH = 8  # bytes of the header's length
LONGEST_PATH = 200  # characters, in a message
METADATA = "__metadata__"
LAYERS, INPUTS, POLARITY = "layers", "inputs", "polarity"
KNOWN = (LAYERS, INPUTS, POLARITY)
FORMAT = "format"  # torch's own entry
EXAMPLE = (
    'save_file(model.state_dict(), "net.safetensors", metadata={"layers": "linear, silu, linear, sigmoid"})'
)
WRITTEN = f"write it by safetensors: `{EXAMPLE}`"
POLARITIES = {str(one): one for one in Polarity}


class WrongNetwork(Exception):
    """A file that holds no network. `diagnostic`: E0504 if it cannot be read or is no safetensors file, E0505
    for its content.
    """

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(str(diagnostic))
        self.diagnostic = diagnostic


def read_network(file: str | os.PathLike[str]) -> LearnedNetwork:
    """The network of a file. Raises `WrongNetwork`."""
    name = _shown(os.fsdecode(file), LONGEST_PATH)
    try:
        content = read_bytes(file, LARGEST_NETWORK)
    except Unreadable as error:
        help_ = "give the path of a network in a safetensors file"
        raise WrongNetwork(
            Diagnostic("E0504", f"the network {name} cannot be read: {error.why}", help=help_)
        ) from None
    return _network(name, content)


def _network(name: str, content: bytes) -> LearnedNetwork:
    header, data = _header(name, content)
    metadata = header.pop(METADATA, {})
    shapes = {key: _shape(name, key, about) for key, about in header.items()}
    layers = _layers(name, _metadata(name, metadata), shapes)
    weights = b"".join(_numbers(name, key, header[key], data) for key, _ in _tensors(layers))
    polarity, names = _polarity(name, metadata), tuple(metadata.get(INPUTS, "").replace(",", " ").split())
    if names and len(names) != layers[0].inputs:
        why = f"names {_counted(len(names), 'input')}, and its first layer has {layers[0].inputs}"
        raise _wrong(name, why, "name each input once, in the order of the inputs")
    return LearnedNetwork(layers, weights, polarity, names)


# --- the safetensors file


def _header(name: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header as a dict, and the bytes after it."""
    size = int.from_bytes(content[:LENGTH], "little")
    end = LENGTH + size
    if len(content) < LENGTH or size > LONGEST_HEADER or end > len(content):
        raise _no_safetensors(name)
    try:
        header = json_of(content[LENGTH:end].decode("utf-8"), strict=True)
    except (UnicodeDecodeError, NotJSON):
        raise _no_safetensors(name) from None
    if not isinstance(header, dict):
        raise _no_safetensors(name)
    return header, content[end:]


def _shape(name: str, key: str, about: Any) -> tuple[int, ...]:
    """The shape of a tensor, and None-free: every size is a whole number from 0 on."""
    shape = about.get("shape") if isinstance(about, dict) else None
    if not isinstance(shape, list) or len(shape) > 2 or not all(type(n) is int and n >= 0 for n in shape):
        raise _wrong(name, f"has a tensor {_shown(key)} that belongs to no layer", "save only the layers")
    return tuple(shape)


def _numbers(name: str, key: str, about: Mapping[str, Any], data: bytes) -> bytes:
    """The bytes of a tensor of float32 numbers, each finite and not too large."""
    if about.get("dtype") != "F32":
        given = _shown(str(about.get("dtype")))
        raise _wrong(name, f"has {_shown(key)} in {given}", "a network has float32 weights: `model.float()`")
    offsets, size = about.get("data_offsets"), BYTES_OF_A_WEIGHT * math.prod(about["shape"])
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(at) is int for at in offsets):
        raise _no_safetensors(name)
    first, last = offsets
    if not 0 <= first <= last <= len(data) or last - first != size:
        raise _no_safetensors(name)
    numbers = data[first:last]
    for at, weight in enumerate(struct.unpack(f"<{size // BYTES_OF_A_WEIGHT}f", numbers)):
        if not abs(weight) <= LARGEST_WEIGHT:  # NaN too
            why = f"has the number {weight} in {_shown(key)}, at place {at}"
            raise _wrong(name, why, f"weights lie between -{LARGEST_WEIGHT:.0f} and {LARGEST_WEIGHT:.0f}")
    return numbers


# --- the metadata


def _metadata(name: str, metadata: Any) -> str:
    """The text `layers`. Reports metadata of another form."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _no_safetensors(name)
    for key in metadata:
        if key not in (*KNOWN, FORMAT) and (near := did_you_mean(key, KNOWN)):
            raise _wrong(name, f"has metadata {_shown(key)}", f"did you mean `{near}`?")
    if LAYERS not in metadata:
        raise _wrong(name, "has no metadata `layers`", f"name them when you save it: `{EXAMPLE}`")
    text: str = metadata[LAYERS]
    return text


def _polarity(name: str, metadata: Mapping[str, str]) -> Polarity:
    text = metadata.get(POLARITY, str(Polarity.NONE))
    if text not in POLARITIES:
        known = ", ".join(f"`{one}`" for one in POLARITIES)
        raise _wrong(name, f"has the polarity {_shown(text)}", f"write one of {known}")
    return POLARITIES[text]


def _layers(name: str, text: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[NetworkLayer, ...]:
    """The layers of the text, with their sizes from the shapes of the tensors."""
    parts = [part.split() for part in text[:LONGEST_HEADER].split(",")]
    if len(parts) > MOST_LAYERS:
        raise _wrong(name, f"has {len(parts)} layers", f"a network has at most {MOST_LAYERS}")
    layers: list[NetworkLayer] = []
    for at, part in enumerate(parts):
        layers.append(_layer(name, at, part, layers, shapes))
    _require_form(name, layers)
    for key, shape in (tensors := _tensors(layers)):
        if shapes.get(key) != shape:
            found = f"has {_shown(key)} as {list(shapes[key])}" if key in shapes else f"has no {_shown(key)}"
            raise _wrong(name, found, f"its layers need the shape {list(shape)}: `{text[:LONGEST_SHOWN]}`")
    if odd := sorted(shapes.keys() - {key for key, _ in tensors}):
        help_ = "layers are numbered from 0 on, activations too, as in `nn.Sequential`"
        raise _wrong(name, f"has a tensor {_shown(odd[0])} that belongs to no layer", help_)
    return tuple(layers)


def _layer(
    name: str, at: int, part: list[str], before: list[NetworkLayer], shapes: Mapping[str, tuple[int, ...]]
) -> NetworkLayer:
    """One layer. The tensor of a `linear` says how many numbers it gives."""
    word = part[0] if part else ""
    if word not in LAYER_NAMES:
        near = did_you_mean(word, LAYER_NAMES)
        known = ", ".join(f"`{one}`" for one in LAYER_NAMES)
        help_ = f"did you mean `{near}`?" if near else f"the layers are {known}"
        raise _wrong(name, f"has the layer {_shown(word)}", help_)
    wanted = 2 if word == SELF_ATTENTION else 1
    if len(part) != wanted or (wanted == 2 and not (part[1].isascii() and part[1].isdecimal())):
        help_ = "write `self_attention 4`, with the number of heads" if wanted == 2 else f"write `{word}`"
        raise _wrong(name, f"has the layer {_shown(' '.join(part))}", help_)
    if word == LINEAR:
        shape = shapes.get(f"{at}.weight", ())
        if len(shape) != 2 or not all(1 <= size <= WIDEST for size in shape):
            help_ = f"a linear layer has `{at}.weight` with 1 to {WIDEST} rows and columns"
            raise _wrong(name, f"has no weight of its layer {at}, `linear`", help_)
        return NetworkLayer(word, shape[1], shape[0])
    if not before:
        raise _wrong(name, f"begins with `{word}`", "the first layer is `linear`: it reads the inputs")
    width = before[-1].outputs
    heads = int(part[1][:4]) if word == SELF_ATTENTION else 0
    if word == SELF_ATTENTION and (not 1 <= heads <= MOST_HEADS or width % heads):
        help_ = f"take 1 to {MOST_HEADS} heads, a divisor of the layer's {width} numbers"
        raise _wrong(
            name,
            f"has a `self_attention` of {_counted(heads, 'head')} over {_counted(width, 'number')}",
            help_,
        )
    return NetworkLayer(word, width, width, heads)


def _require_form(name: str, layers: list[NetworkLayer]) -> None:
    """Reports layers that do not follow each other, or that are too many."""
    for at, (first, second) in enumerate(pairwise(layers)):
        if first.outputs != second.inputs:
            gives = _counted(first.outputs, "number")
            why = f"gives {gives} by layer {at}, and layer {at + 1} takes {second.inputs}"
            raise _wrong(name, why, "each layer takes what the layer before it gives")
        if first.name == SIGMOID:
            raise _wrong(name, "has a `sigmoid` before its last layer", "it stands last, or nowhere")
    if sum(layer.name == SELF_ATTENTION for layer in layers) > 1:
        raise _wrong(name, "has more than one `self_attention`", "a network has at most one")
    if layers[-1].outputs != 1:
        why = f"gives {_counted(layers[-1].outputs, 'number')} for each position"
        raise _wrong(name, why, "its last `linear` gives one number: `nn.Linear(n, 1)`")
    if layers[0].inputs > MOST_INPUTS:
        raise _wrong(name, f"has {layers[0].inputs} inputs", f"a network has at most {MOST_INPUTS}")
    if (count := number_of_weights(layers)) > MOST_WEIGHTS:
        raise _wrong(name, f"has {count:,} weights", f"a network has at most {MOST_WEIGHTS:,}")


def _tensors(layers: list[NetworkLayer] | tuple[NetworkLayer, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """The names and shapes of all tensors, in the order of `LearnedNetwork.weights`."""
    return [(f"{at}.{key}", shape) for at, layer in enumerate(layers) for key, shape in layer.weights]


# --- messages


def _shown(text: str, most: int = LONGEST_SHOWN) -> str:
    plain = "".join(one if one.isprintable() else " " for one in text[: most + 1])
    return f"`{plain if len(plain) <= most else plain[:most] + '...'}`"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _wrong(name: str, why: str, help_: str) -> WrongNetwork:
    return WrongNetwork(Diagnostic("E0505", f"the network {name} {why}", help=help_))


def _no_safetensors(name: str) -> WrongNetwork:
    return WrongNetwork(Diagnostic("E0504", f"{name} is not a safetensors file", help=WRITTEN))
