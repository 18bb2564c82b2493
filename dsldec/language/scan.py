"""Which pieces does a text consist of? Words, numbers, operators, comments, line breaks, and foreign
characters.

`parse` examines them before the grammar does, and `fmt` finds the comments among them. The patterns of words,
numbers, quoted texts and comments equal those of `grammar/policy.lark`; a test compares them. Not here: how
pieces form lines and statements (`layout`, `parse`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class PieceKind(StrEnum):
    """The kind of a piece. `BREAK` includes empty lines. `OPEN_QUOTE` is a quote that is not closed.
    `FOREIGN` is part of no policy.
    """

    WORD = "word"
    NUMBER = "number"
    QUOTED = "quoted"
    OPERATOR = "operator"
    COMMENT = "comment"
    BREAK = "break"
    OPEN_QUOTE = "open_quote"
    FOREIGN = "foreign"


class Piece(NamedTuple):
    """`text` of a source from `start` to `end`."""

    kind: PieceKind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


# Operators of other languages, each as one piece so that a message can name it whole. None of them is part of
# a policy. `a <-b` and `by=-x` are, so `<-` and `=-` are not listed.
_ELSEWHERE = r"&&|\|\||<>|=<|=>|===|!==|:=|[-+*/%]=|->"

_PIECES = re.compile(
    rf"""
    (?P<comment> \#[^\n]* )
  | (?P<break> \r?\n (?:[ \t]*\r?\n)* )
  | (?P<quoted> \"\"\"(?:[^\\]|\\.)*?\"\"\" | "(?!"")[^"\n]*" )
  | (?P<open_quote> \"\"\".* | "[^\n]* )
  | (?P<number> (?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)? )
  | (?P<word> [A-Za-z_][A-Za-z_0-9]*(?!\w) )
  | (?P<foreign> {_ELSEWHERE} | \w+ )
  | (?P<operator> \*\*|//|\.\.|<=|>=|==|!=|[-+*/%<>=(),:|] )
  | (?P<unknown> [^ \t] )
    """,
    re.VERBOSE | re.DOTALL,
)

_KINDS = {kind.value: kind for kind in PieceKind} | {"unknown": PieceKind.FOREIGN}


def pieces(text: str) -> Iterator[Piece]:
    """The pieces of a text in order, without the blanks between them. Lazy, so that a caller can stop early."""
    for match in _PIECES.finditer(text):
        yield Piece(_KINDS[match.lastgroup or ""], match.group(), match.start())
