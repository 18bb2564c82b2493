"""How does lark read a text by the grammar? Its parser needs tables, which take longer than most texts.

So a file beside the grammar holds them. Where it does not belong to this grammar and this lark, the tables
are built anew: a parser from either reads equally. Not here: writing the file (`tables`), our trees
(`parse`).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ..resources import grammar_file, tables_file

if TYPE_CHECKING:
    import lark
    from lark import Token as Token
    from lark import Tree as Tree


# The parser stores the brackets and the indentation of the text in itself, so threads take turns.
_READING = threading.Lock()


class Stopped(NamedTuple):
    """The place where lark stopped, and the names of the terminals that it accepts there."""

    at: int
    accepts: frozenset[str]


def read(text: str) -> Tree[Any] | Stopped:
    """The tree of a text, or where reading stopped. Threads may read at the same time."""
    with _READING:
        return _read(_parser(), text)


def _read(parser: lark.Lark, text: str) -> Tree[Any] | Stopped:
    import lark

    try:
        # One more line break than necessary: the last statement of a block must end in one.
        return parser.parse(text + "\n")
    except lark.UnexpectedToken as error:
        # The terminals that the parser really accepts. Its tables alone also list those of other contexts.
        at = error.token.start_pos if error.token.start_pos is not None else len(text)
        return Stopped(at, frozenset(error.accepts or error.expected))
    except lark.UnexpectedCharacters as error:
        return Stopped(error.pos_in_stream or 0, frozenset(error.allowed or ()))


@cache
def _parser() -> lark.Lark:
    return from_tables() or from_grammar()


def from_grammar() -> lark.Lark:
    """The parser, with tables that are built now."""
    # Imported here, so that help texts and the table of words do not wait for it.
    import lark

    def whole_word(terminal: Any) -> None:
        # Where no name is possible, lark would read `policyy` as `policy` and a name.
        if terminal.pattern.type == "str" and terminal.pattern.value.isalpha():
            terminal.pattern = lark.lexer.PatternRE(rf"{terminal.pattern.value}(?!\w)")
            terminal.priority = 1

    return lark.Lark(
        grammar_file().read_text(encoding="utf-8"),
        start="policy_file",
        parser="lalr",
        postlex=_indentation(),
        maybe_placeholders=True,
        propagate_positions=True,
        edit_terminals=whole_word,
    )


def from_tables() -> lark.Lark | None:
    """The parser, with the tables of the file; None where these are missing, damaged, or of another grammar
    or lark.
    """
    import lark

    try:
        stored = json.loads(tables_file().read_bytes())
        if stored["grammar"] != grammar_digest() or lark.__version__ not in stored["lark"]:
            return None
        memo = _by_number(stored["memo"])
        table = stored["data"]["parser"]["parser"]
        table["tokens"] = _by_number(table["tokens"])
        table["states"] = {int(at): _by_number(actions) for at, actions in table["states"].items()}
        # The file holds data alone: lark makes objects of a few of its classes, as in its standalone parsers.
        load: Callable[..., lark.Lark] = lark.Lark._load_from_dict
        return load(stored["data"], memo, postlex=_indentation())
    # The file may hold anything. The grammar says the same, only later.
    except Exception:
        return None


def grammar_digest() -> str:
    """The digest of the grammar's text."""
    from hashlib import sha256

    return sha256(grammar_file().read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _by_number(table: dict[str, Any]) -> dict[int, Any]:
    """A table whose keys JSON made texts of."""
    return {int(number): value for number, value in table.items()}


def _indentation() -> Any:
    from lark.indenter import Indenter

    class Indentation(Indenter):
        NL_type = "_NL"
        OPEN_PAREN_types = ["LPAR"]  # noqa: RUF012 (lark asks for a list)
        CLOSE_PAREN_types = ["RPAR"]  # noqa: RUF012
        INDENT_type = "_INDENT"
        DEDENT_type = "_DEDENT"
        tab_len = 8

    return Indentation()
