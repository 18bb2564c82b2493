"""Which pieces of a text form a logical line? A line continues while a bracket is open.

Wrong brackets, quotes and characters are diagnosed here, the first one of each line. Such a line is not
`sound` and gets no other diagnostic. Not here: indentation (`layout`), whether a line is a statement
(`parse`, `mistakes`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..diagnostics import Diagnostic
from ..source import Source, Span
from .scan import Piece, PieceKind
from .words import STATEMENTS

TAB = 8
BEGINNERS = frozenset({*STATEMENTS, "policy"})
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
# One of these after the first word of a line inside brackets makes that word a name in a list, and no
# statement.
IN_A_LIST = frozenset("=:,)")

# Signs of other languages, and the form in this language.
_OURS = {
    "&&": "and", "&": "and", "||": "or", "|": "or", "!": "not", "<>": "!=", "≠": "!=", "!==": "!=", "===": "==", "=<": "<=", "≤": "<=",
    "=>": ">=", "≥": ">=", ":=": "=", "−": "-", "–": "-", "×": "*", "·": "*", "÷": "/", "^": "**", "²": "** 2", "…": "..", "“": '"',
    "”": '"', "„": '"', "（": "(", "）": ")", "，": ",", "：": ":", "＝": "=", "\xa0": " ", "\u3000": " ",
}  # fmt: skip
_HINTS = {
    ";": "start a new line",
    "\\": "put brackets around an expression of several lines: `( ... )`",
    "'": 'write a text as `"..."`',
    ".": "a number has digits on both sides of its point: `0.5`",
    "?": "write `A if CONDITION else B`",
    "->": "start a new line",
    "\r": "end lines with a line feed",
    "\ufeff": "delete it",
}


@dataclass(slots=True)
class Line:
    """A logical line: its pieces without comments, and the blanks before the first piece."""

    source: Source
    indent: str
    pieces: list[Piece] = field(default_factory=list)
    sound: bool = True

    @property
    def head(self) -> str:
        return self.pieces[0].text

    @property
    def start(self) -> int:
        return self.pieces[0].start

    @property
    def end(self) -> int:
        return self.pieces[-1].end

    @property
    def column(self) -> int:
        return len(self.indent.expandtabs(TAB))

    @property
    def span(self) -> Span:
        """The part that a caret can mark: up to the first line break."""
        stop = self.source.text.find("\n", self.start, self.end)
        return self.part(self.start, self.end if stop < 0 else stop)

    def part(self, start: int, end: int) -> Span:
        return Span(self.source, start, start + len(self.source.text[start:end].rstrip()))


def logical_lines(source: Source, pieces: list[Piece]) -> tuple[list[Line], list[Diagnostic]]:
    """The logical lines of a text's pieces, and the diagnostics of its characters, quotes and brackets."""
    reader = _LineReader(source, pieces)
    return reader.lines, reader.mistakes


class _LineReader:
    def __init__(self, source: Source, pieces: list[Piece]) -> None:
        self.source = source
        self.lines: list[Line] = []
        self.mistakes: list[Diagnostic] = []
        self.open: list[Piece] = []
        self.pieces = pieces
        self.never_closed = _never_closed(self.pieces)
        self.line: Line | None = None
        for at, piece in enumerate(self.pieces):
            self._read(at, piece)
        self._end_line()

    def _read(self, at: int, piece: Piece) -> None:
        if piece.kind is PieceKind.BREAK:
            if not self.open:
                self._end_line()
            return
        if self.open and self.pieces[at - 1].kind is PieceKind.BREAK and self._begins_anew(at):
            self._end_line()
        if self.line is None:
            self.line = Line(self.source, self._indent(piece))
        self.line.pieces.append(piece)
        if piece.text in _OPENING:
            self.open.append(piece)
        elif piece.text in _CLOSING:
            self._close(piece)
        if piece.kind in (PieceKind.FOREIGN, PieceKind.OPEN_QUOTE):
            self._wrong(
                _foreign(self.source, piece)
                if piece.kind is PieceKind.FOREIGN
                else _open_quote(self.source, piece)
            )

    def _indent(self, piece: Piece) -> str:
        return self.source.text[self.source.text.rfind("\n", 0, piece.start) + 1 : piece.start]

    def _begins_anew(self, at: int) -> bool:
        """Whether a line inside brackets starts the next statement. Then a bracket above it is not closed."""
        piece = self.pieces[at]
        behind = self.pieces[at + 1].text if at + 1 < len(self.pieces) else ""
        if piece.kind in (PieceKind.QUOTED, PieceKind.OPEN_QUOTE) or (
            piece.text in BEGINNERS and behind not in IN_A_LIST
        ):
            return True
        column = len(self._indent(piece).expandtabs(TAB))
        return (
            self.line is not None and column <= self.line.column and self.open[-1].start in self.never_closed
        )

    def _close(self, piece: Piece) -> None:
        if self.open:
            self.open.pop()
        elif piece.text == ")":
            span = Span(self.source, piece.start, piece.end)
            self._wrong(
                Diagnostic(
                    "E0101",
                    "this bracket closes nothing",
                    span,
                    help="remove it, or write `(` where it begins",
                )
            )

    def _end_line(self) -> None:
        if self.open:
            span = Span(self.source, self.open[-1].start, self.open[-1].end)
            self._wrong(
                Diagnostic("E0101", "this bracket is never closed", span, help="write `)` where it ends")
            )
        if self.line is not None:
            self.lines.append(self.line)
        self.open, self.line = [], None

    def _wrong(self, mistake: Diagnostic) -> None:
        assert self.line is not None
        if self.line.sound:
            self.mistakes.append(mistake)
        self.line.sound = False


def _never_closed(pieces: list[Piece]) -> set[int]:
    """The starts of brackets that nothing in the whole text closes."""
    waiting: list[int] = []
    for piece in pieces:
        if piece.text in _OPENING:
            waiting.append(piece.start)
        elif piece.text in _CLOSING and waiting:
            waiting.pop()
    return set(waiting)


def _foreign(source: Source, piece: Piece) -> Diagnostic:
    span, text = Span(source, piece.start, piece.end), piece.text
    shown = f"`{text[:40]}`" if text.isprintable() and not text.isspace() else f"U+{ord(text[0]):04X}"
    if text in _OPENING | _CLOSING:
        help_ = _in_place_of_a_list(source.text[: piece.start])
    elif text.endswith("=") and text[0] in "+-*/%":
        help_ = f"write `x = x {text[0]} ...`"
    elif text in _OURS:
        help_ = f"write `{_OURS[text]}`"
    elif text[0].isalnum():
        return Diagnostic(
            "E0101",
            f"{shown} is not a name",
            span,
            help="names are made of `a` to `z`, `A` to `Z`, `0` to `9` and `_`",
        )
    else:
        help_ = _HINTS.get(text, "")
    return Diagnostic("E0101", f"{shown} is not part of the language", span, help=help_)


def _in_place_of_a_list(before: str) -> str:
    """The help for `[`, `{` and their ends."""
    line = before.rsplit("\n", 1)[-1].rstrip()
    if line.endswith("="):
        return 'write a pattern in quotes, `"[0-9]+"`; a list comes from the caller: `--set NAME=@file.json`'
    if line == before.rsplit("\n", 1)[-1] and line[-1:].isidentifier():
        return "write `of(TABLE, INDEX)` for a number of a table"
    return "use `(` and `)`; the values of a list stand without brackets"


def _open_quote(source: Source, piece: Piece) -> Diagnostic:
    quote = '"""' if piece.text.startswith('"""') else '"'
    span = Span(source, piece.start, piece.start + len(quote))
    return Diagnostic(
        "E0101", "this text in quotes is never closed", span, help=f"write `{quote}` where it ends"
    )
