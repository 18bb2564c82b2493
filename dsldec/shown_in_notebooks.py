"""How does a value show itself in a notebook? Its class inherits `ShownInNotebooks`.

The classes are below the code that makes HTML, and a value must still find it. So the package hands that
function in (`dsldec/__init__.py`), and no import goes up. Not here: the HTML (`notebook`).
"""

from __future__ import annotations

from collections.abc import Callable

_html_of: list[Callable[[object], str | None]] = []


class ShownInNotebooks:
    """A value that is shown as HTML at the end of a notebook's cell. Its `repr` stays the text."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        return _html_of[0](self) if _html_of else None


def show_by(html_of: Callable[[object], str | None]) -> None:
    """Use a function that makes the HTML of every such value."""
    _html_of[:] = [html_of]
