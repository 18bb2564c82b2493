"""The view of diagnostics: the message, the place with its caret, the help.

Not here: their text (`diagnostics`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic
from .markup import code, framed, paragraph, text

MOST_DIAGNOSTICS, LONGEST_DRAWING = 10, 4000


def diagnostics_html(diagnostics: Sequence[Diagnostic]) -> str:
    """Some diagnostics, the first ones of many."""
    shown = [_of(one) for one in diagnostics[:MOST_DIAGNOSTICS]]
    more = len(diagnostics) - len(shown)
    rest = [paragraph(f"There are {more} more in <code>diagnostics</code>.", soft=True)] if more else []
    number = "" if len(diagnostics) == 1 else f"{len(diagnostics)} diagnostics"
    return framed(number, *shown, *rest)


def _of(diagnostic: Diagnostic) -> str:
    drawn = str(diagnostic).split("\n")
    head = f"{diagnostic.severity}[{diagnostic.code}]: "
    first = f"<strong>{text(head)}</strong>{text(drawn[0].removeprefix(head), LONGEST_DRAWING)}"
    lines = [first, *(text(line, LONGEST_DRAWING) for line in drawn[1:])]
    return code("\n".join(lines), wraps=diagnostic.span is None)
