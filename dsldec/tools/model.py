"""`dsldec model`: the properties of a model that decoding needs, the source of each, and the command that
runs the model.

Not here: finding them (`models.loading`, `models.traits`). No weight is loaded: a class is built without
numbers, or the files give their sizes.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import Unreadable
from ..options import DEFAULT_LOAD, LoadOptions
from ..terminal import data

if TYPE_CHECKING:
    from ..models.loading import Opened
    from ..models.tokenizer_fit import Fit
    from ..models.traits import Provenance, Traits

SHOWN, NOT_RUNNABLE = 0, 1


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Options of the command line. None: not given."""

    path: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    as_json: bool = False


def model(options: ModelOptions) -> int:
    """Print the properties, and return the exit status: 1 where `dsldec run` would need more options. Raises
    `UsageError` (E0405).
    """
    from ..models.loading import device_of, opened
    from ..models.tokenizer_fit import fit_of
    from ..models.traits import Overrides, traits_of

    device = device_of(options.load.device)
    source = opened(options.path, options.load.trust_remote_code)
    overrides = Overrides(
        options.load.mask_id, options.load.eos_id, options.load.shift_logits, options.load.block_length
    )
    traits = traits_of(source, overrides)
    compared = fit_of(source, traits, source.config.vocab_size)
    warnings = [] if compared is None else list(compared.warnings(options.load.all_ids))
    about = _about(source, traits, compared, str(device), options)
    about["warnings"] = [{"code": one.code, "message": one.message, "help": one.help} for one in warnings]
    if options.as_json:
        print(json.dumps(about, indent=2), file=data())
    else:
        print("\n".join(_lines(about)))
    for warning in warnings:
        print(str(warning), file=sys.stderr)
    return NOT_RUNNABLE if traits.mask_id is None or _lacks_blocks(source, traits) else SHOWN


def _about(
    source: Opened, traits: Traits, compared: Fit | None, device: str, options: ModelOptions
) -> dict[str, Any]:
    """All properties, in the order of the output."""
    stored = _stored(Path(source.name))
    return {
        "path": source.name,
        "family": source.family.name,
        "class": next(iter(source.raw.get("architectures") or ()), None)
        or source.remote_code
        or type(source.config).__name__,
        "own_code": source.remote_code is not None,
        "parameters": _parameters(source, stored),
        "vocab_size": source.config.vocab_size,
        "tokens": None if compared is None else compared.tokens,
        "ids_without_token": None if compared is None else len(compared.without_token),
        "tokenizer_built": source.built or None,
        "mask_id": _as_json(traits.mask_id),
        "eos_id": _as_json(traits.eos_id),
        "ends": list(traits.stop_ids),
        "bos_id": _as_json(traits.bos_id),
        "pad_id": _as_json(traits.pad_id),
        "shift_logits": _as_json(traits.shift_logits),
        "block_causal": source.family.block_causal or traits.block_length is not None,
        "block_length": _as_json(traits.block_length),
        "context": _as_json(traits.context),
        "gen_length": _as_json(traits.gen_length),
        "chat_template": bool(getattr(source.tokenizer, "chat_template", None)),
        "saved_as": _saved_as(source, stored),
        "device": device,
        "run": _command(source, traits, options, _saved_as(source, stored)),
    }


def _lacks_blocks(source: Opened, traits: Traits) -> bool:
    return source.family.block_causal and traits.block_length is None


def _as_json(value: Provenance | None) -> dict[str, Any] | None:
    return None if value is None else {"value": value.value, "from": value.where}


def _stored(folder: Path) -> list[Mapping[str, Any]]:
    """The description of each tensor in the headers of the weight files. Only the headers are read."""
    from ..models.weights import header

    tensors: list[Mapping[str, Any]] = []
    for file in sorted(folder.glob("*.safetensors")) if os.path.isdir(folder) else ():
        # A file that is cut off, or of another format, is diagnosed when it is loaded.
        with suppress(ValueError, Unreadable):
            tensors += header(file).values()
    return tensors


def _parameters(source: Opened, stored: list[Mapping[str, Any]]) -> int | None:
    """The parameters of the class. For a model with remote code, the sizes in its files, since its code does
    not run here.
    """
    if source.remote_code:
        return sum(math.prod(about["shape"]) for about in stored) or None
    from ..models.loading import without_weights

    return int(sum(parameter.numel() for parameter in without_weights(source).parameters()))


def _saved_as(source: Opened, stored: list[Mapping[str, Any]]) -> str | None:
    names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    kinds = [names[about["dtype"]] for about in stored if about["dtype"] in names]
    stated = source.raw.get("dtype") or source.raw.get("torch_dtype")
    return max(set(kinds), key=kinds.count) if kinds else stated


def _command(source: Opened, traits: Traits, options: ModelOptions, saved_as: str | None) -> str:
    """The command that runs this model with the same options. A placeholder in capitals stands for a value
    that only a person knows.
    """
    words = ["dsldec", "run"]
    words += ["--model", shlex.quote(source.name)] if options.path is not None else []
    words += ["--trust-remote-code"] if source.needs_trust else []
    if traits.mask_id is None or options.load.mask_id is not None:
        words += ["--mask-id", "N" if options.load.mask_id is None else str(options.load.mask_id)]
    words += ["--eos-id", str(options.load.eos_id)] if options.load.eos_id is not None else []
    words += [traits.shift_logits.where] if options.load.shift_logits is not None else []
    if options.load.block_length is not None or _lacks_blocks(source, traits):
        words += [
            "--block-length",
            "N" if options.load.block_length is None else str(options.load.block_length),
        ]
    words += ["--all-ids"] if options.load.all_ids else []
    words += ["--dtype", "bfloat16"] if saved_as == "bfloat16" else []
    words += ["--device", options.load.device] if options.load.device is not None else []
    return " ".join([*words, '"..."'])


def _lines(about: Mapping[str, Any]) -> Iterator[str]:
    yield f"{about['path']}: {about['family']}"
    for name, value in _rows(about):
        yield f"  {name:<13}{value}"
    yield ""
    yield f"  {about['run']}"


def _rows(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "class", f"{about['class']}{', remote code' * about['own_code']}"
    yield "parameters", "unknown" if about["parameters"] is None else f"{about['parameters']:,}"
    yield "vocabulary", f"{about['vocab_size']:,} ids{_silent(about['ids_without_token'])}"
    if about["tokens"] is not None:
        built = about["tokenizer_built"]
        yield (
            "tokenizer",
            f"{about['tokens']:,} tokens{f', built from `vocab.txt`: {built}' if built else ''}",
        )
    yield "mask", _from(about["mask_id"]) or "none found: give it with `--mask-id N`"
    others = [str(one) for one in about["ends"] if one != (about["eos_id"] or {}).get("value")]
    also = f"; an answer ends at {', '.join(others)} too" if others else ""
    yield "end of text", (_from(about["eos_id"]) or "none found: every answer fills its length") + also
    if about["bos_id"] is not None:
        yield "begin of text", _from(about["bos_id"])
    yield "padding", _from(about["pad_id"]) or "none found, none needed"
    shift = about["shift_logits"]
    yield (
        "logits",
        f"of {'the next position' if shift['value'] else 'each position itself'}, from {shift['from']}",
    )
    if about["block_causal"]:
        length = (
            _from(about["block_length"], " tokens") or "an unknown length: give it with `--block-length N`"
        )
        yield "sees", f"its own block and those before it; blocks of {length}"
    yield "context", _from(about["context"], " tokens") or "unknown"
    yield "generates", f"{_from(about['gen_length'], ' tokens')}, by default"
    yield "chat", "a template" if about["chat_template"] else "no template: prompts are used unchanged"
    yield "saved as", about["saved_as"] or "unknown"
    yield "device", about["device"]


def _silent(count: int | None) -> str:
    return f", {count:,} of them without a token" if count else ""


def _from(value: Mapping[str, Any] | None, unit: str = "") -> str:
    return (
        ""
        if value is None
        else f"{value['value']:,}{unit}, from {value['from']}"
        if unit
        else f"{value['value']}, from {value['from']}"
    )
