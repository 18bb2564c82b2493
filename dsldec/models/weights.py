"""Do the files of a folder hold the weights of its model? Damaged files, and missing, surplus or misshapen
tensors, are diagnosed.

Not here: loading (`loading`, `remote_code`). Each diagnostic (E0418) names the files and tensors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_TOKENIZER, Unreadable, json_of, opened, read_json

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
LONGEST_HEADER = 100_000_000  # the limit of the file format
LONGEST_NAME = 120  # characters, in a message
WHOLE = "give the folder with all files as they were saved, or download it again"
SAFE = "take the model's `.safetensors` files, which hold nothing but numbers"
LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h|albert_layer_groups)\.(\d+)\.")


def wrong_weights(message: str, help: str = WHOLE) -> UsageError:
    return UsageError(Diagnostic("E0418", message, help=help))


def require_files(folder: Path) -> None:
    """Raise `UsageError` (E0418) for weight files that are damaged, missing, or outside the folder."""
    for name in INDEXES:
        index, whole = folder / name, folder / name.removesuffix(".index.json")
        if whole.is_file() or index.is_file():
            for file in [whole] if whole.is_file() else _shards(folder, index):
                if file.suffix == ".safetensors":
                    _require_whole(file)
            return


def header(file: Path) -> dict[str, Any]:
    """The header of a `.safetensors` file, without its tensors. Raises `ValueError` for another file, and
    `Unreadable`.
    """
    with opened(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > min(LONGEST_HEADER, size - 8):
            raise ValueError("it is cut off, or not a `.safetensors` file")
        try:
            read = json_of(stream.read(length).decode())
        except ValueError:
            raise ValueError("its header is not JSON") from None
    if not isinstance(read, dict):
        raise ValueError("its header is not JSON")
    tensors = {name: about for name, about in read.items() if name != "__metadata__"}
    if not all(_is_tensor(about) for about in tensors.values()):
        raise ValueError("its header does not say where its tensors are")
    return tensors


def require_all(report: Mapping[str, Any], model: Any, name: str, own_places: bool) -> None:
    """Raise `UsageError` (E0418) for problems in transformers' loading report.

    `own_places`: dsldec chose the class, so any tensor without a place in it is an error.
    """
    require_shapes([tuple(one) for one in report.get("mismatched_keys") or ()], name)
    if lacking := sorted(report["missing_keys"]):
        raise _lacking(lacking, model, name)
    extra = sorted(report["unexpected_keys"])
    extra = extra if own_places else _of_more_layers(extra, model)
    if extra:
        message = f"`{name}` does not load: its files hold {named(extra)}, which `{type(model).__name__}` does not have"
        raise wrong_weights(message, "check that `config.json` belongs to these weights")


def require_shapes(differing: Collection[tuple[Any, ...]], name: str) -> None:
    """Raise `UsageError` (E0418) for tensors of another shape: name, stored shape, shape in the model."""
    if differing:
        key, actual, expected = min(differing, key=str)
        more = f", and {len(differing) - 1} more" * (len(differing) > 1)
        message = f"`{name}` does not load: its files hold `{short(key)}` as {list(actual)}, and `config.json` requires {list(expected)}{more}"
        raise wrong_weights(message, "check that `config.json` belongs to these weights")


def short(name: str) -> str:
    """A name from a file, cut: it may be as long as the file."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."


def named(keys: Collection[str]) -> str:
    """Tensors by name: the first name, the number of the others, and their layers."""
    if len(keys) == 1:
        return f"`{short(min(keys))}`"
    layers = sorted({int(found[1]) for key in keys if (found := LAYER.search(key))})
    of = f" (of layer{'s' * (len(layers) > 1)} {_ranges(layers)})" if layers else ""
    return f"`{short(min(keys))}` and {len(keys) - 1:,} more{of}"


def _lacking(keys: list[str], model: Any, name: str) -> UsageError:
    body = f"{model.base_model_prefix}."
    if any(key.startswith(body) or LAYER.search(key) for key in keys):
        return wrong_weights(f"`{name}` does not load: its files hold no weights for {named(keys)}")
    help = "give a model saved with its head, such as `AutoModelForMaskedLM`"
    message = f"`{name}` does not load: its files hold no weights for {named(keys)}: it was saved without its language-model head"
    return wrong_weights(message, help)


def _of_more_layers(extra: list[str], model: Any) -> list[str]:
    """Tensors without a place whose counterparts stand in layers that the model has. Poolers and other heads
    may be missing without harm.
    """
    counterparts = {re.sub(r"\d+", "#", key) for key in model.state_dict()}
    return [key for key in extra if LAYER.search(key) and re.sub(r"\d+", "#", key) in counterparts]


def _shards(folder: Path, index: Path) -> list[Path]:
    try:
        read: Any = read_json(index, LARGEST_TOKENIZER)
        shards = set(read["weight_map"].values())
    except (Unreadable, ValueError, TypeError, KeyError, AttributeError):
        raise wrong_weights(f"`{index}` is not an index of weights: it has no table `weight_map`") from None
    if not all(isinstance(shard, str) for shard in shards):
        raise wrong_weights(f"`{index}` is not an index of weights: it has no table `weight_map`")
    for shard in sorted(shards):
        # An index must not make dsldec read files outside the folder.
        if Path(shard).name != shard or "\\" in shard or "\0" in shard:
            raise wrong_weights(
                f"`{index}` names `{short(shard)}`, which is not a file of this folder",
                "weight files must be beside their index",
            )
    missing = [shard for shard in sorted(shards) if not (folder / shard).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" * (len(missing) > 1)
        raise wrong_weights(f"`{folder}` lacks `{missing[0]}`{more} of its {len(shards)} files of weights")
    return [folder / shard for shard in sorted(shards)]


def _require_whole(file: Path) -> None:
    try:
        ends = max((about["data_offsets"][1] for about in header(file).values()), default=0)
        with opened(file) as stream:
            expected, size = (
                8 + int.from_bytes(stream.read(8), "little") + ends,
                os.fstat(stream.fileno()).st_size,
            )
        if size < expected:
            raise ValueError(f"it is cut off: {size:,} of {expected:,} bytes are there")
    except (Unreadable, ValueError) as error:
        raise wrong_weights(f"`{file}` cannot be read: {error}") from None


def _is_tensor(about: Any) -> bool:
    if not isinstance(about, dict) or not isinstance(about.get("dtype"), str):
        return False
    shape, offsets = about.get("shape"), about.get("data_offsets")
    if not (isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2):
        return False
    return all(isinstance(number, int) and number >= 0 for number in [*shape, *offsets])


def _ranges(numbers: list[int]) -> str:
    """`0-3, 7`."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
