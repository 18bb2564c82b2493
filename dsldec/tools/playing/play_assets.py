"""The files of the page, by their names in its addresses.

Every file is listed here, so that no address of a request becomes a path. Not here: who may ask for one
(`play_server`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).resolve().parent / "assets"
_VIEWING = _HERE.parents[1] / "viewing" / "assets"
JAVASCRIPT, CSS = "text/javascript; charset=utf-8", "text/css; charset=utf-8"
PAGE, PAGE_TYPE = "play.html", "text/html; charset=utf-8"
NONCE = "@NONCE@"  # in the page: a random text replaces it

# Each asset: its folder and its type.
ASSETS: dict[str, tuple[Path, str]] = {
    "editor.js": (_HERE, JAVASCRIPT),
    "play.js": (_HERE, JAVASCRIPT),
    "share.js": (_HERE, JAVASCRIPT),
    "controls.js": (_HERE, JAVASCRIPT),
    "play.css": (_HERE, CSS),
    "trace_view.js": (_VIEWING, JAVASCRIPT),
    "trace_view.css": (_VIEWING, CSS),
}


@cache
def asset(name: str) -> tuple[bytes, str] | None:
    """The bytes and the type of an asset; `None` for another name."""
    if name not in ASSETS:
        return None
    folder, kind = ASSETS[name]
    return (folder / name).read_bytes(), kind


def page(nonce: str) -> bytes:
    """The page. `nonce`: allows the styles that the editor makes itself."""
    return _page().replace(NONCE, nonce).encode()


@cache
def _page() -> str:
    return (_HERE / PAGE).read_text(encoding="utf-8")
