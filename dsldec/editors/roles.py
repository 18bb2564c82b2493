"""Which role has each piece of a policy's text: a keyword, a word of the language, the name of a phase?

Only the pieces around it decide, so that an unfinished text has roles too. Work is linear in the length of
the text. Not here: the colours of a role (`pygments_lexer`, `textmate`), mistakes (`checks`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from ..checks.names import SCOPES
from ..language.lines import BEGINNERS, IN_A_LIST
from ..language.scan import Piece, PieceKind, pieces
from ..language.words import KEYWORDS, SOFT_KEYWORDS
from .word_groups import word_groups


class Role(StrEnum):
    """The part that a piece plays in its text.

    `POLICY`, `FUNCTION`, `PARAMETER` and `VARIABLE` are names at the place that defines them. `VARIABLE` is a
    state or the name of a value. The name of a phase is `PHASE` everywhere. `ARGUMENT` is the name of an
    argument in a call, `CHOICE` a name that a parameter may be, `CALL` the name of a function in a call.
    `SCOPE` is `block` or `sequence` after `per`.
    """

    COMMENT = "comment"
    DOC = "doc"
    STRING = "string"
    NUMBER = "number"
    STATEMENT = "statement"
    CLAUSE = "clause"
    OPERATOR_WORD = "operator word"
    CONSTANT = "constant"
    OBSERVATION = "observation"
    WORD = "word"
    KIND = "kind"
    SCOPE = "scope"
    POLICY = "policy"
    FUNCTION = "function"
    PHASE = "phase"
    PARAMETER = "parameter"
    VARIABLE = "variable"
    ARGUMENT = "argument"
    CHOICE = "choice"
    CALL = "call"
    NAME = "name"
    OPERATOR = "operator"
    PUNCTUATION = "punctuation"
    WRONG = "wrong"


class RolePiece(NamedTuple):
    """`text` from the offset `start` on, with its role."""

    role: Role
    text: str
    start: int


OF_GROUPS = {
    "statements": Role.STATEMENT,
    "clauses": Role.CLAUSE,
    "operators": Role.OPERATOR_WORD,
    "constants": Role.CONSTANT,
    "observations": Role.OBSERVATION,
    "words": Role.WORD,
}
OF_PIECES = {
    PieceKind.COMMENT: Role.COMMENT,
    PieceKind.NUMBER: Role.NUMBER,
    PieceKind.OPEN_QUOTE: Role.WRONG,
    PieceKind.FOREIGN: Role.WRONG,
}
PUNCTUATION = frozenset("(),:|")
# The role of a name after one of these keywords.
AFTER = {
    "policy": Role.POLICY,
    "def": Role.FUNCTION,
    "phase": Role.PHASE,
    "next": Role.PHASE,
    "state": Role.VARIABLE,
    "set": Role.VARIABLE,
}
# The role of a name between one of these keywords and a colon.
BEFORE_A_COLON = {"else": Role.PHASE, "as": Role.VARIABLE}
# These are no names, wherever they are.
NO_NAMES = KEYWORDS - SOFT_KEYWORDS


@cache
def roles_of_words() -> dict[str, Role]:
    """The role of each word of the language, where its place says nothing else."""
    groups = word_groups()
    return {word: role for group, role in OF_GROUPS.items() for word in groups[group]}


def roles(text: str) -> Iterator[RolePiece]:
    """The pieces of a text in order, without blanks and line breaks."""
    place = _TextPlace()
    waiting: list[Piece] = []  # comments before the next piece, and the piece before them
    for piece in pieces(text):
        if piece.kind is PieceKind.BREAK:
            place.breaks = True
        elif piece.kind is PieceKind.COMMENT:
            waiting.append(piece)
        else:
            yield from place.named(waiting, piece)
            waiting = [piece]
    yield from place.named(waiting, None)


@dataclass(slots=True)
class _TextPlace:
    """The place in a text: the pieces before it on its line, and the open brackets."""

    breaks: bool = True  # a line break is between the piece and the one before it
    first: bool = True  # the piece is the first one of its line
    depth: int = 0
    before: str = ""
    two_before: str = ""
    inside: str = ""  # `policy` or `def` inside the brackets of its declarations

    def named(self, waiting: list[Piece], after: Piece | None) -> Iterator[RolePiece]:
        """The roles of a piece and the comments behind it; `after` is the next piece that is no comment."""
        for piece in waiting:
            if piece.kind is PieceKind.COMMENT:
                yield RolePiece(Role.COMMENT, piece.text, piece.start)
            else:
                yield RolePiece(self._role(piece, after.text if after else ""), piece.text, piece.start)
        if after is not None:
            self.first, self.breaks = self.breaks, False

    def _role(self, piece: Piece, after: str) -> Role:
        if self.first and self.depth and piece.text in BEGINNERS and after not in IN_A_LIST:
            self.depth, self.inside = 0, ""  # the bracket was not closed: this is a statement
        if self.first and not self.depth:
            self.before = self.two_before = ""
        role = self._role_here(piece, after)
        self._pass(piece.text)
        return role

    def _pass(self, text: str) -> None:
        if text == "(":
            if not self.depth and self.two_before in ("policy", "def"):
                self.inside = self.two_before
            self.depth += 1
        elif text == ")" and self.depth:
            self.depth -= 1
            self.inside = self.inside if self.depth else ""
        self.two_before, self.before = self.before, text

    def _role_here(self, piece: Piece, after: str) -> Role:
        if piece.kind in OF_PIECES:
            return OF_PIECES[piece.kind]
        if piece.kind is PieceKind.QUOTED:
            return Role.DOC if self.first and not self.depth else Role.STRING
        if piece.kind is PieceKind.OPERATOR:
            return Role.PUNCTUATION if piece.text in PUNCTUATION else Role.OPERATOR
        named = None if piece.text in NO_NAMES else self._declared(piece.text, after)
        if named is not None:
            return named
        known = roles_of_words().get(piece.text)
        return known or (Role.CALL if after == "(" else Role.NAME)

    def _declared(self, name: str, after: str) -> Role | None:
        """The role that the place of a name gives it, if it gives one."""
        if self.before in AFTER:
            return AFTER[self.before]
        if self.before in BEFORE_A_COLON and after == ":":
            return BEFORE_A_COLON[self.before]
        if self.before == "per" and roles_of_words().get(name) is not Role.CLAUSE:
            return Role.SCOPE if name in SCOPES else Role.PHASE
        if self.inside == "policy" and self.depth == 1:
            return self._in_header(name, after)
        if self.inside == "def" and self.depth == 1:
            return Role.PARAMETER
        if self.before == ":" and not self.first:
            return Role.KIND if name in word_kinds() else None
        if after == "=":
            return Role.ARGUMENT if self.depth else Role.VARIABLE if self.first else None
        return None

    def _in_header(self, name: str, after: str) -> Role | None:
        if after == ":":
            return Role.PARAMETER
        if self.before in (":", "by") and name in word_kinds() | {"step"} and after != "|":
            return Role.KIND
        if self.before in (":", "|"):
            return Role.CHOICE
        if self.before == "=":
            return None if name in word_groups()["constants"] else Role.CHOICE
        return None


@cache
def word_kinds() -> frozenset[str]:
    """The kinds that a declaration may name."""
    return frozenset(word_groups()["kinds"])
