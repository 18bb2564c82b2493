"""A pattern: which texts an answer may be. A regular expression, or a JSON schema turned into one.

Not here: the expressions that are allowed (`regular`), schemas (`json_schema`), automata (`byte_automaton`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..files import NotJSON, Unreadable, json_of, read_text
from ..spelling import shown
from .json_schema import regex_of
from .regular import checked, located

LARGEST_FILE = 1024 * 1024  # bytes
LONGEST_REGEX = 128 * 1024  # characters of the expression of a schema
SCHEMA = "E0492"
_JSON_FILE = re.compile(r"@?[\w./~-]+\.json")
_HELP = '`"[0-9]+"`, or a schema such as `{"type": "object", "properties": {"age": {"type": "integer"}}}`'


@dataclass(frozen=True, slots=True)
class Pattern:
    """The texts that match as a whole. Two patterns with one `regex` are equal.

    `regex`: in the syntax of Rust's `regex`, without anchors. `text`: the expression or the schema as the
    user gave it; its pattern is this one.
    """

    regex: str
    text: str = field(compare=False)

    @classmethod
    def of(cls, value: object, *, files: bool = False) -> Pattern:
        """The pattern of a text, a JSON schema as a dict or as text, a class with `model_json_schema()`, or a
        pattern. A text that begins with `{` is a schema.

        `files`: `@NAME` and a name that ends in `.json` are files. Raises `UsageError`: E0490 to E0494, and
        E0499 for a value of another kind.
        """
        if isinstance(value, Pattern):
            return value
        if isinstance(value, Mapping):
            return cls._of_schema(value)
        if callable(make := getattr(value, "model_json_schema", None)):
            return cls._of_schema(make())
        if not isinstance(value, str):
            message = f"a pattern is a regular expression or a JSON schema, not {shown(value)}"
            raise UsageError(Diagnostic("E0499", message, help=f"for example {_HELP}"))
        if files and (name := file_of(value)):
            return cls.of_file(name)
        if _JSON_FILE.fullmatch(value):
            message = f"{shown(value)} is the name of a file, and a pattern is given here"
            help = f"read the file: `dsldec.Pattern.of_file({json.dumps(file_of(value))})`; for this text itself, write `\\.json`"
            raise UsageError(Diagnostic("E0499", message, help=help))
        return cls._of_schema_text(value) if value.lstrip().startswith("{") else cls(checked(value), value)

    @classmethod
    def of_file(cls, path: str) -> Pattern:
        """The pattern in a file: a JSON schema, or a regular expression on one line. Raises `UsageError`."""
        try:
            text = read_text(path, LARGEST_FILE)
        except Unreadable as error:
            raise UsageError(_unreadable(path, error.why)) from None
        except UnicodeDecodeError:
            raise UsageError(_unreadable(path, "it is not UTF-8 text")) from None
        is_schema = text.lstrip().startswith("{") or PurePath(path).suffix == ".json"
        if is_schema:
            return cls._of_schema_text(text, f"`{path}`")
        line = text.strip("\r\n")
        return cls(checked(line), line)

    @classmethod
    def _of_schema_text(cls, text: str, name: str = "the schema") -> Pattern:
        try:
            schema = json_of(text, strict=True)
        except NotJSON as error:
            where = f", at column {error.column}" if error.column else ""
            help = "JSON has double quotes around texts and names; a regular expression that begins with `{` begins with `\\{`"
            raise UsageError(Diagnostic(SCHEMA, f"{name} {error.why}{where}", help=help)) from None
        return cls._of_schema(schema)

    @classmethod
    def _of_schema(cls, schema: Any) -> Pattern:
        try:
            regex, text = regex_of(schema, _string_pattern), json.dumps(schema, ensure_ascii=False)
        except (TypeError, ValueError):
            message = "the schema holds a value that is not JSON"
            raise UsageError(
                Diagnostic(SCHEMA, message, help="use dicts, lists, texts and numbers")
            ) from None
        except RecursionError:
            message = "the schema is too large for a pattern: it is nested too deep"
            raise UsageError(Diagnostic("E0494", message, help="describe fewer levels")) from None
        if len(regex) > LONGEST_REGEX:
            message = (
                f"the schema is too large for a pattern: its regular expression has {len(regex):,} characters"
            )
            raise UsageError(Diagnostic("E0494", message, help="describe fewer fields"))
        return cls(regex, text)

    def __str__(self) -> str:
        return self.text


def file_of(text: str) -> str:
    """The file that a text names, `@NAME` or `NAME.json`; empty for another text."""
    if text.startswith("@"):
        return text[1:]
    return text if text.endswith(".json") and "\n" not in text else ""


def _string_pattern(text: str) -> str:
    """The `pattern` of a string in a schema, without anchors.

    Raises `UsageError` (E0493) for one that allows a character that JSON writes with an escape.
    """
    from .byte_automaton import byte_automaton

    regex = checked(text)
    try:
        automaton = byte_automaton(regex)
    except UsageError as refused:
        raise UsageError(located(text, refused.diagnostic)) from None
    used = automaton.by_byte().max(axis=0, initial=-1) >= 0
    escaped = [chr(byte) for byte in (*range(0x20), 0x22, 0x5C) if used[byte]]
    if escaped:
        message = f"the `pattern` of a string, {shown(text)}, allows {shown(escaped[-1])}, which JSON writes with an escape"
        help = 'write `[^"\\\\\\x00-\\x1f]` in place of `.`, and name the letters in place of `[^...]`, `\\s` and `\\W`'
        raise UsageError(Diagnostic("E0493", message, help=help))
    return regex


def _unreadable(path: str, why: str) -> Diagnostic:
    help = "a file with a JSON schema, or with a regular expression on one line; `\\@` begins an expression with @"
    return Diagnostic("E0499", f"the pattern in `{path}` cannot be read: {why}", help=help)
