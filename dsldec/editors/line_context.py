"""Which part of a statement stands before a place? Read from the pieces, so that it works in half a line.

Not here: what may follow (`completion`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from ..language.lines import BEGINNERS
from ..language.scan import Piece, PieceKind
from ..language.words import KEYWORDS, SOFT_KEYWORDS
from .analysis import Analysis

_IN_A_LIST = frozenset("=:,)")  # after the first word of a line in brackets: it is a name in a list


@dataclass(frozen=True, slots=True)
class OpenBracket:
    """A bracket that is open at a place: the index of the piece, and the word called, if it is a call."""

    at: int
    call: str | None


@dataclass(frozen=True, slots=True)
class LineContext:
    """The pieces of a logical line before a place, and the brackets open there.

    `following`: the text of the piece after the word at the place. `indent`: the blanks of the line.
    """

    pieces: tuple[Piece, ...]
    open: tuple[OpenBracket, ...]
    following: str

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(piece.text for piece in self.pieces)

    @property
    def head(self) -> str:
        return self.pieces[0].text if self.pieces else ""

    @property
    def last(self) -> str:
        return self.pieces[-1].text if self.pieces else ""

    @property
    def call(self) -> str | None:
        """The word in whose brackets the place is."""
        return self.open[-1].call if self.open else None

    @property
    def argument(self) -> int:
        """The number of the argument at the place, in the innermost brackets."""
        return sum(piece.text == "," for piece in self._inside) if self.open else 0

    @property
    def named(self) -> frozenset[str]:
        """The named arguments that the innermost call has before the place."""
        inside = self._inside
        pairs = pairwise(inside)
        return frozenset(a.text for a, b in pairs if b.text == "=")

    @property
    def _inside(self) -> list[Piece]:
        """The pieces in the innermost brackets, without those of brackets inside."""
        depth, inside = 0, []
        for piece in self.pieces[self.open[-1].at + 1 :] if self.open else ():
            depth -= piece.text == ")"
            if depth == 0 and piece.text not in ("(", ")"):
                inside.append(piece)
            depth += piece.text == "("
        return inside

    @property
    def argument_start(self) -> int:
        """The start of the argument at the place: the name of `by=` counts as its start."""
        at = self.open[-1].at if self.open else -1
        depth = 0
        for index in range(len(self.pieces) - 1, at, -1):
            text = self.pieces[index].text
            depth += (text == ")") - (text == "(")
            if text == "," and depth == 0:
                return index + 1
        return at + 1

    @property
    def after_operand(self) -> bool:
        """Whether a value ends directly before the place, so that an operator or a clause follows."""
        if not self.pieces:
            return False
        last = self.pieces[-1]
        is_name = last.kind is PieceKind.WORD and (
            last.text not in KEYWORDS - {"true", "false", "exact"} or self._names(len(self.pieces) - 1)
        )
        return is_name or last.kind is PieceKind.NUMBER or last.text == ")"

    def _names(self, at: int) -> bool:
        """Whether a soft keyword is a name there: it follows an operator."""
        before = self.pieces[at - 1] if at > 0 else None
        if before is None or self.pieces[at].text not in SOFT_KEYWORDS:
            return False
        return before.kind is PieceKind.OPERATOR and before.text not in (")", ":")

    @property
    def is_kind(self) -> bool:
        """Whether the kind of a parameter or a state stands at the place."""
        if self.last != ":" or self.head not in ("policy", "state"):
            return False
        return (len(self.open) == 1) if self.head == "policy" else len(self.pieces) == 3


def line_context(analysis: Analysis, offset: int) -> LineContext:
    """The context of the word that begins at an offset."""
    pieces: list[Piece] = []
    open_: list[OpenBracket] = []
    everything = analysis.pieces
    after = ""
    for index, piece in enumerate(everything):
        if piece.start >= offset:
            rest = everything[index:]
            after = next((one.text for one in rest[1 if piece.start == offset else 0 :][:1]), "")
            break
        if piece.kind is PieceKind.BREAK:
            following = everything[index + 1] if index + 1 < len(everything) else None
            if not open_ or (following is not None and _begins_anew(everything, index + 1)):
                pieces, open_ = [], []
            continue
        if piece.text == "(":
            before = pieces[-1] if pieces else None
            is_call = before is not None and before.kind is PieceKind.WORD and before.text not in KEYWORDS
            open_.append(OpenBracket(len(pieces), before.text if before is not None and is_call else None))
        elif piece.text == ")" and open_:
            open_.pop()
        pieces.append(piece)
    return LineContext(tuple(pieces), tuple(open_), after)


def _begins_anew(pieces: tuple[Piece, ...], at: int) -> bool:
    behind = pieces[at + 1].text if at + 1 < len(pieces) else ""
    return pieces[at].text in BEGINNERS and behind not in _IN_A_LIST
