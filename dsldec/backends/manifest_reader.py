"""Reads the manifest of a package without running the package's code, and checks its form.

Shapes: B rows, T window positions, V vocabulary. Not here: whether the file is undamaged (`sealed`), whether
it can run on this machine (`aot`).
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..ir.protocol import NOT_FINITE

KEY = "dsldec"  # the entry of the manifest in the metadata of the package
MEMBER = "wrapper_metadata.json"  # the end of the name of the metadata file
LIBRARIES = (".so", ".pyd", ".dll", ".dylib")  # the ends of the names of the machine code

MOST_MEMBERS = 1000
MOST_METADATA = 64 * 2**20  # bytes; a table for a large vocabulary takes five MiB
NO_PACKAGE = "it is not a package built by dsldec"


class NoManifest(Exception):
    """The file has no usable manifest. The message is the reason, as the end of a sentence."""


def read(file: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a file. Raises `NoManifest`, or `OSError` if the file cannot be read."""
    try:
        with zipfile.ZipFile(file) as archive:
            _require_plain(archive)
            inside = [one for one in archive.infolist() if one.filename.endswith(MEMBER)]
            if len(inside) != 1 or inside[0].file_size > MOST_METADATA:
                raise NoManifest(NO_PACKAGE)
            said = json.loads(json.loads(archive.read(inside[0]))[KEY])
    # The errors of a broken archive or JSON text: RuntimeError for an encrypted member, RecursionError (a
    # RuntimeError) for deeply nested JSON.
    except (zipfile.BadZipFile, EOFError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError):
        raise NoManifest(NO_PACKAGE) from None
    if odd := _odd(said):
        raise NoManifest(f"its manifest has no valid `{odd}`")
    manifest: dict[str, Any] = said
    return manifest


def _require_plain(archive: zipfile.ZipFile) -> None:
    """Raises `NoManifest` unless the members are as torch writes them.

    Torch unpacks all members into a folder before it reads the first one.
    """
    members = archive.infolist()
    names = {one.filename for one in members}
    strays = [name for name in names if name.startswith("/") or "\\" in name or ".." in name.split("/")]
    if strays or len(names) != len(members) or len(members) > MOST_MEMBERS:
        raise NoManifest(NO_PACKAGE)
    if not any(name.endswith(LIBRARIES) for name in names):  # without it, torch ends the process
        raise NoManifest("it holds no machine code")
    if any(one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size for one in members):
        raise NoManifest("its members are compressed; members of a package are not")


def _odd(said: object) -> str | None:
    """The name of the first entry that is missing or has a wrong form. Unknown entries are ignored."""
    if not isinstance(said, dict):
        return KEY
    return next((name for name, fits in FORM.items() if name not in said or not fits(said[name])), None)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_tensor(value: object) -> bool:
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("dtype"), str)
        or not isinstance(value.get("shape"), list)
    ):
        return False
    return isinstance(getattr(torch, value["dtype"], None), torch.dtype) and all(
        _is_count(size) for size in value["shape"]
    )


def _is_number(value: object) -> bool:
    return isinstance(value, float | bool) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _is_value(value: object) -> bool:
    """Whether this is the value of a parameter; null stands for the MASK id, which the model gives."""
    return (
        value is None
        or _is_number(value)
        or (isinstance(value, list) and all(_is_number(each) for each in value))
    )


def _is_state(value: object) -> bool:
    return (
        _is_tensor(value)
        and isinstance(value, dict)
        and _is_number(value.get("first"))
        and isinstance(value.get("yours"), bool)
        and _is_text(value.get("means"))
    )


def _is_event(value: object) -> bool:
    return _is_tensor(value) and isinstance(value, dict) and _is_text(value.get("means"))


def _is_parameter(value: object) -> bool:
    if not _is_tensor(value) or not isinstance(value, dict) or "value" not in value:
        return False
    names = value.get("choices", ["one"])
    if not isinstance(names, list) or not all(map(_is_text, names)):
        return False
    if "choices" in value and value["value"] not in range(len(names)):
        return False
    return _is_value(value["value"]) and _is_text(value.get("kind")) and isinstance(value.get("fixed"), bool)


def _each(fits: Callable[[object], bool], *needed: str) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, dict) and value.keys() >= {*needed} and all(fits(each) for each in value.values())
    )


FORM: Mapping[str, Callable[[object], bool]] = {
    "dsldec": _is_text,
    "torch": _is_text,
    "device": lambda value: value in ("cpu", "cuda"),
    "machine": _each(_is_text, "system", "processor", "vectors"),
    "sizes": _each(_is_count, "B", "T", "V"),
    "logits": _is_tensor,
    "canvas": _is_tensor,
    "editable": _is_tensor,
    "state": _each(_is_state),
    "events": _each(_is_event, NOT_FINITE),
    "params": _each(_is_parameter, "mask_id", "eos_id"),
    "policy": _each(_is_text, "name", "doc", "text"),
    "facts": lambda value: isinstance(value, dict),
}
