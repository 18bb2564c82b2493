"""The file of a page: its name, and the files that it never replaces.

Not here: the content (`page`), opening it in a browser (`opened_page`).
"""

from __future__ import annotations

import os

from ...diagnostics import Diagnostic, UsageError
from ...files import Unreadable, opened
from .. import quoted_path
from ..output_places import require_place
from .page import MARK

FIRST_BYTES = 256
DEFAULT = "trace.html"


def default_name(trace: str) -> str:
    """The page's name: beside the trace file, or in the current folder for a pipe."""
    if not os.path.isfile(trace) or trace.startswith("/dev/"):
        return DEFAULT
    return os.path.splitext(trace)[0] + ".html"


def require_page_place(name: str, option: str) -> None:
    """Raise `UsageError` for a file that cannot be written (E0432), and for a file there that is no page of
    dsldec (E0436). `option`: the option that names another file.
    """
    require_place(name, f"{option} {DEFAULT}")
    if not os.path.isfile(name):
        return
    try:
        with opened(name) as stream:
            start = stream.read(FIRST_BYTES)
    except Unreadable as failure:
        message = f"{quoted_path(name)} exists and cannot be read: {failure.why}"
        raise UsageError(
            Diagnostic("E0436", message, help=f"name another file: `{option} {DEFAULT}`")
        ) from None
    if start and MARK.encode() not in start:
        message = f"{quoted_path(name)} exists, and dsldec did not write it"
        help = f"name another file, `{option} {DEFAULT}`, or move this one away"
        raise UsageError(Diagnostic("E0436", message, help=help))
