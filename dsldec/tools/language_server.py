"""`dsldec lsp`: the language server of an editor.

Not here: the server (`editors.language_server`), its answers (`editors`).
"""

from __future__ import annotations

import sys

from ..diagnostics import Diagnostic, UsageError
from ..source import Source
from .cases import read_cases
from .extras import require_extra

PACKAGES = {"lsprotocol.types": "lsprotocol", "pygls.lsp.server": "pygls"}


def lsp() -> int:
    """Serve one editor over standard input and output; return the exit status.

    Raises `UsageError`: E0585 without the packages of the extra `lsp`, E0586 at a terminal.
    """
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        message = "`dsldec lsp` talks to an editor, and standard input is none"
        raise UsageError(
            Diagnostic("E0586", message, help="let an editor start it; `docs/editors.md` says how")
        )
    require_extra("E0585", "lsp", PACKAGES)
    from ..editors.language_server import serve

    return serve(_check_cases)


def _check_cases(text: str) -> list[Diagnostic]:
    return read_cases(Source(text))[1]
