"""Opens the playground in the browser of a desktop.

All users of a machine see the arguments of its programs. So the browser gets the name of a file that this
user alone can read, and the file leads to the address with the token. Not here: the server (`play_server`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path

PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={address}">
<title>dsldec playground</title>
<p><a href="{address}">Open the playground</a></p>
"""


@contextmanager
def opened(address: str) -> Iterator[None]:
    """Opens the address, if there is a display. Inside, the file that leads to it exists."""
    if not _has_display():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="dsldec-play-", ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "playground.html"
        page.write_text(PAGE.format(address=escape(address)), encoding="utf-8")
        with suppress(webbrowser.Error, OSError):  # the terminal shows the address
            webbrowser.open(page.as_uri())
        yield


def _has_display() -> bool:
    """Whether a browser has a place to open in."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
