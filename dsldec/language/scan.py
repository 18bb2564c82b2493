"""What pieces a text is made of: words, numbers, operators, comments, line breaks, and what belongs to no
policy.

`parse` looks at these before the grammar does, and `fmt` finds the comments among them. The patterns of
words, numbers, texts in quotes and comments are those of `grammar/policy.lark`; a test compares the two. Not
here: how the pieces fit together (`layout`, `parse`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Sort(StrEnum):
    """What a piece of text is. `BREAK` holds empty lines too; `OPEN_QUOTE` runs to where its closing quote
    was looked for.

    `FOREIGN` is in no policy.
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

    sort: Sort
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


# What other languages write, in one piece so that the message can name all of it. None of these is part of a
# policy: `a <-b` and `by=-x` are, so `<-` and `=-` are not listed.
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
  | (?P<operator> \*\*|//|\.\.|<=|>=|==|!=|[-+*/%<>=(),:] )
  | (?P<unknown> [^ \t] )
    """,
    re.VERBOSE | re.DOTALL,
)

_SORTS = {sort.value: sort for sort in Sort} | {"unknown": Sort.FOREIGN}


def pieces(text: str) -> Iterator[Piece]:
    """The pieces of a text in order, without the blanks between them. Lazy: whoever counts may stop early."""
    for found in _PIECES.finditer(text):
        yield Piece(_SORTS[found.lastgroup or ""], found.group(), found.start())
