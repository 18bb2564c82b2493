"""Which embedded model does a name mean? `dsldec:equations` names one; nothing names the default one.

Not here: the folders of the models (`resources`), loading (`loading`, `embedded_denoiser`).
"""

from __future__ import annotations

import os

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..resources import DEFAULT_MODEL, EMBEDDED_MODELS

PREFIX = "dsldec:"


def embedded_name(name_or_path: str | os.PathLike[str] | None) -> str | None:
    """The name of the embedded model that this means, a key of `EMBEDDED_MODELS`; None for a folder and for a
    name on a hub. Raises `UsageError` (E0405) for `dsldec:` with another name.
    """
    if name_or_path is None:
        return DEFAULT_MODEL
    given = os.fspath(name_or_path)
    if not isinstance(given, str) or not given.startswith(PREFIX):
        return None
    name = given.removeprefix(PREFIX)
    if name in EMBEDDED_MODELS:
        return name
    near = did_you_mean(name, tuple(EMBEDDED_MODELS))
    help = f"did you mean `{PREFIX}{near}`?" if near else f"one of {names()}"
    raise UsageError(Diagnostic("E0405", f"dsldec includes no model `{given}`", help=help))


def names() -> str:
    """The names of all embedded models, for a message."""
    return ", ".join(f"`{PREFIX}{name}`" for name in EMBEDDED_MODELS)
