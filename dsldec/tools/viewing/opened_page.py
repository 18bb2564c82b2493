"""Opens a page in the browser of a desktop.

Not here: the page (`page`), when a page is written (`verb`).
"""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

from ...diagnostics import Diagnostic
from .. import quoted_path
from ..process import say


def on_a_desktop() -> bool:
    """Whether a person at a desktop sees the output: a terminal with a screen, not a remote one."""
    if sys.stdout is None or not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or bool(screen)


def open_page(name: str) -> None:
    """Open a page, or print a warning (W0570) where no browser can be opened."""
    address = Path(os.path.realpath(name)).as_uri()
    try:
        is_open = webbrowser.open(address)
    except (webbrowser.Error, OSError):
        is_open = False
    if not is_open:
        message = f"no browser could be opened to show {quoted_path(name)}"
        say(str(Diagnostic("W0570", message, help=f"open this address in a browser: {address}")))
