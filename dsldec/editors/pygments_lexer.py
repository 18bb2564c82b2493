"""The lexers for Pygments: policies (`dsldec`) and files of cases (`dsldec-cases`).

Pygments imports this file by the entry point `pygments.lexers`; nothing in dsldec does. Not here: the roles
of pieces (`roles`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from pygments.lexer import Lexer, RegexLexer, bygroups
from pygments.token import (
    Comment,
    Error,
    Generic,
    Keyword,
    Name,
    Number,
    Operator,
    Punctuation,
    String,
    Text,
    Whitespace,
)

from .roles import Role, roles

TOKEN_TYPES: dict[Role, Any] = {
    Role.COMMENT: Comment.Single,
    Role.DOC: String.Doc,
    Role.STRING: String.Double,
    Role.NUMBER: Number,
    Role.STATEMENT: Keyword,
    Role.CLAUSE: Keyword,
    Role.OPERATOR_WORD: Operator.Word,
    Role.CONSTANT: Keyword.Constant,
    Role.OBSERVATION: Name.Builtin.Pseudo,
    Role.WORD: Name.Builtin,
    Role.KIND: Keyword.Type,
    Role.SCOPE: Keyword.Pseudo,
    Role.POLICY: Name.Class,
    Role.FUNCTION: Name.Function,
    Role.PHASE: Name.Label,
    Role.PARAMETER: Name.Variable,
    Role.VARIABLE: Name.Variable,
    Role.ARGUMENT: Name.Attribute,
    Role.CHOICE: Name.Constant,
    Role.CALL: Name.Function,
    Role.NAME: Name,
    Role.OPERATOR: Operator,
    Role.PUNCTUATION: Punctuation,
    Role.WRONG: Error,
}


class PolicyLexer(Lexer):
    """The lexer of policies. An `Error` token is a character or a quote that no policy has."""

    name = "dsldec policy"
    aliases: ClassVar = ["dsldec"]
    filenames: ClassVar = ["*.policy"]
    mimetypes: ClassVar = ["text/x-dsldec-policy"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        """Offset, token type and text of each token. The texts joined are `text`."""
        end = 0
        for piece in roles(text):
            if piece.start > end:
                yield end, Whitespace, text[end : piece.start]
            yield piece.start, _token_type(piece.role, piece.text), piece.text
            end = piece.start + len(piece.text)
        if end < len(text):
            yield end, Whitespace, text[end:]


def _token_type(role: Role, text: str) -> Any:
    if role is Role.NUMBER:
        return Number.Integer if text.isdigit() else Number.Float
    return TOKEN_TYPES[role]


class CasesLexer(RegexLexer):
    """The lexer of files of cases: the first word of a line names the row, its values follow."""

    name = "dsldec cases"
    aliases: ClassVar = ["dsldec-cases"]
    filenames: ClassVar = ["*.cases"]
    mimetypes: ClassVar = ["text/x-dsldec-cases"]
    flags = re.MULTILINE

    tokens: ClassVar = {
        "root": [
            (r"\s+", Whitespace),
            (r"#[^\n]*", Comment.Single),
            (r"(case)(?![^\s#])([^#\n]*)", bygroups(Keyword, Generic.Heading)),
            (r"[^\s#]+", Keyword, "row"),
        ],
        "row": [
            (r"\n", Whitespace, "#pop"),
            (r"[^\S\n]+", Whitespace),
            (r"#[^\n]*", Comment.Single),
            (r"(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf)(?![^\s#])", Number),
            (r"[-_.](?![^\s#])", Punctuation),
            (r"([A-Za-z_][A-Za-z_0-9]*)(=)([^\s#]*)", bygroups(Name.Variable, Operator, Text)),
            (r"[^\s#]+", Text),
        ],
    }
