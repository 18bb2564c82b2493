"""What `dsldec model` does: what a model is to decoding, where each part of it was found, and the command
that runs it.

Not here: finding it (`models.loading`, `models.traits`). No weight is loaded: a class is built without
numbers, or files tell their sizes.
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
    """What the command line asked for; None where it left the choice to us."""

    path: str | None = None
    load: LoadOptions = DEFAULT_LOAD
    as_json: bool = False


def model(options: ModelOptions) -> int:
    """Print what is found, and return the exit status: 1 where `dsldec run` would need more. Raises
    `UsageError` (E0405).
    """
    from ..models.loading import device_of, opened
    from ..models.tokenizer_fit import fit_of
    from ..models.traits import Overrides, traits_of

    device = device_of(options.load.device)
    found = opened(options.path, options.load.trust_remote_code)
    asked = Overrides(
        options.load.mask_id, options.load.eos_id, options.load.shift_logits, options.load.block_length
    )
    traits = traits_of(found, asked)
    compared = fit_of(found, traits, found.config.vocab_size)
    warnings = [] if compared is None else list(compared.warnings(options.load.all_ids))
    about = _about(found, traits, compared, str(device), options)
    about["warnings"] = [{"code": one.code, "message": one.message, "help": one.help} for one in warnings]
    if options.as_json:
        print(json.dumps(about, indent=2), file=data())
    else:
        print("\n".join(_lines(about)))
    for warning in warnings:
        print(str(warning), file=sys.stderr)
    return NOT_RUNNABLE if traits.mask_id is None or _lacks_blocks(found, traits) else SHOWN


def _about(
    found: Opened, traits: Traits, compared: Fit | None, device: str, options: ModelOptions
) -> dict[str, Any]:
    """Everything, in the order it is shown."""
    stored = _stored(Path(found.name))
    return {
        "path": found.name,
        "family": found.family.name,
        "class": next(iter(found.raw.get("architectures") or ()), None)
        or found.own_code
        or type(found.config).__name__,
        "own_code": found.own_code is not None,
        "parameters": _parameters(found, stored),
        "vocab_size": found.config.vocab_size,
        "tokens": None if compared is None else compared.tokens,
        "ids_without_token": None if compared is None else len(compared.without_token),
        "tokenizer_built": found.built or None,
        "mask_id": _said(traits.mask_id),
        "eos_id": _said(traits.eos_id),
        "ends": list(traits.stop_ids),
        "pad_id": _said(traits.pad_id),
        "shift_logits": _said(traits.shift_logits),
        "block_causal": found.family.block_causal or traits.block_length is not None,
        "block_length": _said(traits.block_length),
        "context": _said(traits.context),
        "gen_length": _said(traits.gen_length),
        "chat_template": bool(getattr(found.tokenizer, "chat_template", None)),
        "saved_as": _saved_as(found, stored),
        "device": device,
        "run": _command(found, traits, options, _saved_as(found, stored)),
    }


def _lacks_blocks(found: Opened, traits: Traits) -> bool:
    return found.family.block_causal and traits.block_length is None


def _said(found: Provenance | None) -> dict[str, Any] | None:
    return None if found is None else {"value": found.value, "from": found.where}


def _stored(folder: Path) -> list[Mapping[str, Any]]:
    """What the headers of the weights' files say of each tensor; nothing else of the files is read."""
    from ..models.weights import header

    tensors: list[Mapping[str, Any]] = []
    for file in sorted(folder.glob("*.safetensors")) if os.path.isdir(folder) else ():
        # A file that is cut off, or no such file at all, is told when it is loaded.
        with suppress(ValueError, Unreadable):
            tensors += header(file).values()
    return tensors


def _parameters(found: Opened, stored: list[Mapping[str, Any]]) -> int | None:
    """Parameters of the class; of a class that the model brings itself, the numbers in its files: its code is
    not run for this.
    """
    if found.own_code:
        return sum(math.prod(about["shape"]) for about in stored) or None
    from ..models.loading import without_weights

    return int(sum(parameter.numel() for parameter in without_weights(found).parameters()))


def _saved_as(found: Opened, stored: list[Mapping[str, Any]]) -> str | None:
    names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    kinds = [names[about["dtype"]] for about in stored if about["dtype"] in names]
    said = found.raw.get("dtype") or found.raw.get("torch_dtype")
    return max(set(kinds), key=kinds.count) if kinds else said


def _command(found: Opened, traits: Traits, options: ModelOptions, saved_as: str | None) -> str:
    """The line that runs this model as it was shown; what only a person knows stands in it as a capital."""
    words = ["dsldec", "run"]
    words += ["--model", shlex.quote(found.name)] if options.path is not None else []
    words += ["--trust-remote-code"] if found.asks_for_trust else []
    if traits.mask_id is None or options.load.mask_id is not None:
        words += ["--mask-id", "N" if options.load.mask_id is None else str(options.load.mask_id)]
    words += ["--eos-id", str(options.load.eos_id)] if options.load.eos_id is not None else []
    words += [traits.shift_logits.where] if options.load.shift_logits is not None else []
    if options.load.block_length is not None or _lacks_blocks(found, traits):
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
    yield "class", f"{about['class']}{', code of its own' * about['own_code']}"
    yield "parameters", "unknown" if about["parameters"] is None else f"{about['parameters']:,}"
    yield "vocabulary", f"{about['vocab_size']:,} ids{_silent(about['ids_without_token'])}"
    if about["tokens"] is not None:
        built = about["tokenizer_built"]
        yield (
            "tokenizer",
            f"{about['tokens']:,} tokens{f', built from `vocab.txt`: {built}' if built else ''}",
        )
    yield "mask", _from(about["mask_id"]) or "none found: `--mask-id N` says which id it is"
    others = [str(one) for one in about["ends"] if one != (about["eos_id"] or {}).get("value")]
    also = f"; an answer ends at {', '.join(others)} too" if others else ""
    yield "end of text", (_from(about["eos_id"]) or "none found: every answer fills its length") + also
    yield "padding", _from(about["pad_id"]) or "none found, none needed"
    shift = about["shift_logits"]
    yield (
        "logits",
        f"of {'the next position' if shift['value'] else 'each position itself'}, from {shift['from']}",
    )
    if about["block_causal"]:
        length = (
            _from(about["block_length"], " tokens")
            or "a length that was not found: `--block-length N` says it"
        )
        yield "sees", f"its own block and those before it; blocks of {length}"
    yield "context", _from(about["context"], " tokens") or "unknown"
    yield "generates", f"{_from(about['gen_length'], ' tokens')}, unless told otherwise"
    yield "chat", "a template" if about["chat_template"] else "no template: prompts are given as they are"
    yield "saved as", about["saved_as"] or "unknown"
    yield "device", about["device"]


def _silent(count: int | None) -> str:
    return f", {count:,} of them without a token" if count else ""


def _from(found: Mapping[str, Any] | None, unit: str = "") -> str:
    return (
        ""
        if found is None
        else f"{found['value']:,}{unit}, from {found['from']}"
        if unit
        else f"{found['value']}, from {found['from']}"
    )
