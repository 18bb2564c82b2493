"""Draws a table as text: aligned columns, or Markdown.

Not here: the rows, which each verb makes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def drawn(rows: Sequence[Sequence[str]], markdown: bool = False) -> Iterator[str]:
    """The lines of a table, the head first. The first column is on the left, the others are on the right."""
    if markdown:
        head, *body = [[_code(row[0]) if at else row[0], *row[1:]] for at, row in enumerate(rows)]
        yield f"| {' | '.join(head)} |"
        yield f"|---|{'---:|' * (len(head) - 1)}"
        yield from (f"| {' | '.join(row)} |" for row in body)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        yield "  ".join([row[0].ljust(widths[0]), *cells]).rstrip()


def _code(title: str) -> str:
    """A title in Markdown, as code. A bar would end the cell, and a backtick the code."""
    return "`" + title.replace("`", "'").replace("|", "\\|") + "`"
