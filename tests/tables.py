"""Tables of documentation that come from the tables of the code. `pytest --accept` writes them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

Rows = Sequence[tuple[str, ...]]


def require_tables(page: Path, tables: Mapping[str, Rows], request: pytest.FixtureRequest) -> None:
    """A page has these rows, the first one the head, after the comment `<!-- NAME -->` of each table."""
    found = page.read_text(encoding="utf-8")
    for name, rows in tables.items():
        found = _with_table(found, name, rows)
    if request.config.getoption("--accept"):
        page.write_text(found, encoding="utf-8")
    assert found == page.read_text(encoding="utf-8"), "`pytest --accept` writes the tables anew"


def _with_table(text: str, name: str, rows: Rows) -> str:
    before, behind = text.split(f"<!-- {name} -->\n")
    _, after = behind.split("<!-- end -->", 1)
    lines = ["| " + " | ".join(row) + " |\n" for row in (rows[0], ("---",) * len(rows[0]), *rows[1:])]
    return f"{before}<!-- {name} -->\n{''.join(lines)}<!-- end -->{after}"
