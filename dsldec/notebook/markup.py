"""Pieces of HTML that a notebook and GitHub show: escaped text, tables, parts to unfold.

Styles are attributes of the elements, since a style sheet in an output would change the whole notebook, and
GitHub removes them: each view is readable without. Colours are those of the notebook, or half transparent.
Not here: which values are shown (the other files).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from ..terminal import printable

LONGEST_TEXT = 400  # characters of a cell
FRAME = "max-width:100%;overflow-wrap:break-word;line-height:1.4"
CELL = "text-align:left;vertical-align:top;padding:.2em .6em;overflow-wrap:break-word;max-width:40em"
# Only these columns break inside of a word, so that the others keep the width of theirs.
PROSE = f"{CELL};white-space:pre-wrap;overflow-wrap:anywhere;min-width:5em"
SENTENCES = f"{PROSE};min-width:12em"  # of the last column: on a phone, the table scrolls instead
NUMBER = "text-align:right;vertical-align:top;padding:.2em .6em"
CODE = (
    "font-family:ui-monospace,Menlo,Consolas,monospace;overflow-x:auto;margin:.3em 0;padding:.5em;max-height:40em;overflow-y:auto;"
    "border:1px solid rgba(128,128,128,.4);background:rgba(128,128,128,.08);color:inherit"
)
SOFT = "opacity:.75"


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """A text as data: escaped, with visible control codes, and cut."""
    whole = str(value)
    cut = f" … ({len(whole) - longest:,} more characters)" if len(whole) > longest else ""
    return escape(printable(whole[:longest])) + cut


def framed(title: str, *parts: str) -> str:
    """A view: its title, and its parts of HTML. `title` is HTML too."""
    return f'<div style="{FRAME}"><div><strong>{title}</strong></div>{"".join(parts)}</div>'


def paragraph(html: str, soft: bool = False) -> str:
    """A sentence of HTML. `soft`: paler than the others."""
    return f'<p style="margin:.3em 0;{SOFT if soft else ""}">{html}</p>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = (), prose: Sequence[int] = ()
) -> str:
    """A table. The names of its columns are plain text, its cells HTML. `numbers`: the columns of numbers;
    `prose`: those with long texts.
    """
    styles = [
        NUMBER if column in numbers else PROSE if column in prose else CELL for column in range(len(head))
    ]
    if len(head) - 1 in prose:
        styles[-1] = SENTENCES
    heads = "".join(
        f'<th scope="col" style="{style}">{escape(name)}</th>'
        for name, style in zip(head, styles, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td style="{style}">{cell}</td>' for cell, style in zip(row, styles, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        '<div style="max-width:100%;overflow-x:auto"><table style="border-collapse:collapse;color:inherit;'
        f'margin:.3em 0"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def unfolded(summary: str, html: str, *, opened: bool = False) -> str:
    """A part that the reader unfolds. `summary` is plain text."""
    return f"<details{' open' * opened}><summary>{escape(summary)}</summary>{html}</details>"


def code(html: str, wraps: bool = True) -> str:
    """Lines of a policy or of a diagnostic, as HTML. `wraps`: long lines break; a caret stays below its word
    only where they do not.
    """
    lines = "white-space:pre-wrap;overflow-wrap:anywhere" if wraps else "white-space:pre"
    return f'<pre style="{CODE};{lines}">{html}</pre>'
