"""Which diagnostics and facts does a half-written text have?

A text that cannot be parsed is read a second time without its broken lines: blanks replace them, so every
place stays. Names and kinds of the other lines are then known. Not here: the names (`declared_names`), the
checks (`checks`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from ..checks import CheckedPolicy, ExaminedPolicy, examine
from ..checks.resolved import UNKNOWN, Resolved
from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.limits import LARGEST_TEXT, pieces_within, unusable
from ..language.lines import Line, logical_lines
from ..language.parse import parse
from ..language.scan import Piece, PieceKind
from ..language.walk import statements
from ..language.words import Type
from ..source import Source
from .declared_names import DeclaredName, declared_names

REPAIRS = 8  # readings of a text that cannot be parsed, each without more lines
NEUTRAL = "fill"  # a statement that may stand nearly everywhere, so that a block is not empty
MARKED = "# "


@dataclass(frozen=True, slots=True)
class Analysis:
    """A text and the results of all checks.

    `pieces`: its words, numbers and signs, without comments. `whole`: whether the whole text was parsed; else
    the tree and the names are those of the lines that are right. `types`: the type of the expression at each
    span, as (start, end).
    """

    source: Source
    pieces: tuple[Piece, ...]
    diagnostics: tuple[Diagnostic, ...]
    whole: bool
    tree: syntax.PolicyDefinition | None
    resolved: Resolved | None
    checked: CheckedPolicy | None
    names: tuple[DeclaredName, ...]
    types: dict[tuple[int, int], Type] = field(repr=False)

    def piece_at(self, offset: int) -> Piece | None:
        """The piece at an offset. Of two that touch there, the word."""
        touching = [p for p in self.pieces if p.start <= offset <= p.end and p.kind is not PieceKind.BREAK]
        words = [p for p in touching if p.kind is PieceKind.WORD]
        return next(chain(words, (p for p in touching if offset < p.end)), None)

    def name_at(self, offset: int) -> DeclaredName | None:
        """The declared name whose declaration or use is at an offset."""
        return next((one for one in self.names if any(s.start <= offset <= s.end for s in one.places)), None)

    def type_of(self, node: syntax.Node) -> Type:
        """The type of an expression; unknown where no check has typed it."""
        return self.types.get((node.span.start, node.span.end), UNKNOWN)


@lru_cache(maxsize=8)
def _examined(text: str) -> ExaminedPolicy:
    return examine(Source(text))


def diagnostics(text: str) -> list[Diagnostic]:
    """The diagnostics of a text. Faster than `analysed`, which reads a wrong text again for its names."""
    return _examined(text).diagnostics


# An editor asks for the same text again and again: hover, inlays, the outline.
@lru_cache(maxsize=8)
def analysed(text: str) -> Analysis:
    """The analysis of a text. Offsets count its characters, without a byte order mark."""
    examined = _examined(text)
    source = Source(text)
    pieces: tuple[Piece, ...] = ()
    if unusable(source) is None:
        pieces = tuple(pieces_within(source)[0])
    known = examined
    if examined.tree is None and pieces and len(text) <= LARGEST_TEXT:
        known = _repaired(source) or examined
    tree, resolved = known.tree, known.resolved
    names = declared_names(tree, resolved) if tree is not None and resolved is not None else ()
    return Analysis(
        source,
        pieces,
        tuple(examined.diagnostics),
        examined.tree is not None,
        tree,
        resolved,
        examined.checked,
        names,
        _types(resolved) if resolved is not None else {},
    )


def _types(resolved: Resolved) -> dict[tuple[int, int], Type]:
    """The types by span. The value of a name has its type at the span of the name, too."""
    types = {(node.span.start, node.span.end): type_ for node, type_ in resolved.types.items()}
    for statement in statements(resolved.policy):
        if isinstance(statement, syntax.Let):
            span = statement.identifier.span
            types[span.start, span.end] = resolved.type_of(statement.value)
    return types


def _repaired(source: Source) -> ExaminedPolicy | None:
    """The results for the text without its broken lines; None where no header is right."""
    text = source.text
    for attempt in range(REPAIRS):
        here = Source(text, source.name)
        tree, wrong = parse(here)
        if tree is not None:
            return examine(here)
        lines = logical_lines(here, pieces_within(here)[0])[0]
        broken = [line for line in lines if any(_is_in(one, line) for one in wrong)]
        if not broken:
            return None
        for line in broken:
            text = _without(text, line, neutral=attempt == 0)
    return None


def _is_in(wrong: Diagnostic, line: Line) -> bool:
    return wrong.span is not None and line.start <= wrong.span.start <= line.end


def _without(text: str, line: Line, *, neutral: bool) -> str:
    """The text with blanks in place of a line. Line breaks stay, and so does the header of a policy."""
    old = text[line.start : line.end]
    blank = "".join(one if one in "\r\n" else " " for one in old)
    first = blank.split("\n", 1)[0].rstrip("\r")
    if line.head == "policy":
        return text[: line.start] + _header(old, blank) + text[line.end :]
    if neutral and len(first) >= len(NEUTRAL):
        blank = NEUTRAL + blank[len(NEUTRAL) :]
    return text[: line.start] + blank + text[line.end :]


def _header(old: str, blank: str) -> str:
    """A policy's header with the parameters that are right, in their places; nothing where it has no room."""
    start = old.find("(") + 1
    if not start:
        start = len("policy p")
    name = old[:start].removeprefix("policy").strip(" (")
    if not name.isidentifier() or len(blank) < start + len("):"):
        return blank
    made, at = old[:start].ljust(start), start
    body = old[start:].rstrip().removesuffix(":").removesuffix(")")
    for part in body.split(","):
        alone = parse(Source(f"policy p({part}):\n  fill\n"))[0]
        piece = part if alone is not None and part.strip() else "".join(" " if c > " " else c for c in part)
        made += ("," if at > start and piece.strip() and made[start:].strip() else " " * (at > start)) + piece
        at += 1
    made = made if "(" in made else f"{made}("
    while len(made.rstrip()) + len("):") > len(old) and made.count(","):
        made = made.rpartition(",")[0]  # no room for the end of the header: without the last parameter
    made = made.rstrip() if len(made.rstrip()) + len("):") <= len(old) else old[:start]
    room = len(old) - len(made)
    return f"{made}):{' ' * (room - 2)}" if room >= len("):") else blank
