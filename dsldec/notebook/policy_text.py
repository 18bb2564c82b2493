"""The text of a policy as HTML: its pieces by their roles, and the places that an explanation is about.

Not here: which role a piece has (`editors.roles`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from ..editors.roles import Role, roles
from ..terminal import printable
from .markup import code, paragraph

MOST_CHARACTERS, MOST_LINES = 12_000, 160
# Blue, green and brown that are readable on white and on black; the rest has the colour of the notebook.
BLUE, GREEN, BROWN = "#2f80d0", "#2c8c3c", "#b0651b"
OF_ROLES = {
    Role.COMMENT: "font-style:italic;opacity:.75",
    Role.DOC: f"color:{GREEN}",
    Role.STRING: f"color:{GREEN}",
    Role.NUMBER: f"color:{BROWN}",
    Role.CONSTANT: f"color:{BROWN}",
    Role.STATEMENT: "font-weight:bold",
    Role.CLAUSE: "font-weight:bold",
    Role.OPERATOR_WORD: "font-weight:bold",
    Role.OBSERVATION: f"color:{BLUE}",
    Role.WORD: f"color:{BLUE}",
    Role.KIND: f"color:{BLUE};font-style:italic",
}
LIT = "background:rgba(255,190,0,.35);color:inherit"


class Lit(NamedTuple):
    """Characters `start` to `end` (exclusive) that are marked."""

    start: int
    end: int


def policy_code(source: str, lit: Sequence[Lit] = ()) -> str:
    """The text, cut at a number of lines, with a sentence about the rest."""
    shown = "\n".join(source[:MOST_CHARACTERS].split("\n")[:MOST_LINES])
    html = code("".join(_pieces(shown, lit)))
    if len(shown) == len(source):
        return html
    more = f"These are the first {shown.count(chr(10)) + 1:,} of {source.count(chr(10)) + 1:,} lines."
    return html + paragraph(f"{more} <code>policy.facts.source</code> has the whole text.", soft=True)


def _pieces(shown: str, lit: Sequence[Lit]) -> Iterator[str]:
    styled = {one.start: (one.start + len(one.text), OF_ROLES.get(one.role, "")) for one in roles(shown)}
    ends = {end for end, _ in styled.values()}
    edges = {min(edge, len(shown)) for one in lit for edge in one}
    style, until = "", 0
    for start, end in pairwise(sorted({0, len(shown), *styled, *ends, *edges})):
        if start in styled:
            until, style = styled[start]
        inside = style if start < until else ""
        html = escape(printable(shown[start:end]))
        html = f'<span style="{inside}">{html}</span>' if inside else html
        marked = any(one.start <= start < one.end for one in lit)
        yield f'<mark style="{LIT}">{html}</mark>' if marked else html
