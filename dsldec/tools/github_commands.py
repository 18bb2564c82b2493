"""The diagnostics of `dsldec check` as workflow commands of GitHub Actions, which annotate a pull request.

Not here: the other formats (`check`, `sarif`).
"""

from __future__ import annotations

from ..diagnostics import Diagnostic
from .policy_paths import in_repository

_OF_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_OF_PROPERTIES = {**_OF_DATA, ":": "%3A", ",": "%2C"}


def command(name: str, diagnostic: Diagnostic) -> str:
    """The line that makes GitHub draw the diagnostic of the policy `name` beside its place."""
    properties = {"file": in_repository(name) or name}
    if (span := diagnostic.span) is not None:
        (line, column), (end_line, end_column) = map(span.source.position, (span.start, span.end))
        properties |= {"line": str(line), "endLine": str(end_line), "col": str(column)}
        if line == end_line:  # GitHub refuses columns of a place with several lines
            properties["endColumn"] = str(max(column, end_column - 1))
        else:
            del properties["col"]
    properties["title"] = diagnostic.code
    shown = ",".join(f"{key}={_escaped(value, _OF_PROPERTIES)}" for key, value in properties.items())
    return f"::{diagnostic.severity} {shown}::{_escaped(text_of(diagnostic), _OF_DATA)}"


def text_of(diagnostic: Diagnostic) -> str:
    """Message and label, and the help on the next line."""
    message = f"{diagnostic.message}: {diagnostic.label}" if diagnostic.label else diagnostic.message
    return f"{message}\nhelp: {diagnostic.help}" if diagnostic.help else message


def _escaped(text: str, signs: dict[str, str]) -> str:
    return "".join(signs.get(sign, sign) for sign in text)
