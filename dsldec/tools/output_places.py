"""Can the output be written where the user wants it? Asked before anything is decoded.

Not here: writing (`writing`, `lines_file`).
"""

from __future__ import annotations

import os

from ..diagnostics import Diagnostic, UsageError
from ..files import why_not_written
from . import quoted_path


def require_place(name: str, example: str) -> None:
    """Raise `UsageError` (E0432) for a file that cannot be written at the end, after hours. `example`:
    options for the help.
    """
    folder = os.path.dirname(os.path.realpath(name))
    why = why_not_written(name) or ("" if os.path.isdir(folder) else "its folder does not exist")
    if why or os.path.isdir(name):
        message = f"{quoted_path(name)} cannot be written: {why or 'it is a folder'}"
        raise UsageError(Diagnostic("E0432", message, help=f"for example `{example}`"))


def make_folder(folder: str, example: str) -> None:
    """Make a folder, if it does not exist. Raises `UsageError` (E0432)."""
    try:
        os.makedirs(folder, exist_ok=True)
    except (OSError, ValueError) as failure:
        why = ((isinstance(failure, OSError) and failure.strerror) or str(failure)).lower()
        message = f"the folder {quoted_path(folder)} cannot be made: {why}"
        help = f"name a folder of yours: `{example}`"
        raise UsageError(Diagnostic("E0432", message, help=help)) from None
