"""The diagnostics of `dsldec check` in the format SARIF 2.1.0, which code scanners and editors read.

Columns count UTF-16 code units, as in most readers. Not here: the other formats (`check`, `github_commands`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..codes import CODES
from ..diagnostics import Diagnostic, Fix, Severity
from ..resources import version
from ..source import Span
from .github_commands import text_of
from .policy_paths import uri

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
SARIF_VERSION = "2.1.0"
ROOT = "%SRCROOT%"  # the usual name for the root of the repository


def log(diagnostics: Sequence[tuple[str, Diagnostic]]) -> dict[str, Any]:
    """The log of one run: a result for each diagnostic, beside the name of its policy, and a rule for each
    code.
    """
    codes = list(dict.fromkeys(diagnostic.code for _, diagnostic in diagnostics))
    driver = {"name": "dsldec", "version": version(), "rules": [_rule(code) for code in codes]}
    results = [_result(name, diagnostic, codes.index(diagnostic.code)) for name, diagnostic in diagnostics]
    run = {"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}
    return {"$schema": SCHEMA, "version": SARIF_VERSION, "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    row = CODES[code]
    text, markdown = f"`dsldec explain {code}` explains it.", f"`dsldec explain {code}` explains it."
    for title, policy in (("This policy gets it", row.bad), ("Corrected", row.good)):
        if policy and len(policy) < 1000:  # that of a size limit is long
            text += f"\n\n{title}:\n\n{policy}"
            markdown += f"\n\n{title}:\n\n```\n{policy}```"
    level = "warning" if code.startswith("W") else "error"
    sentence = _plain(f"{row.sentence[:1].upper()}{row.sentence[1:]}.")
    return {
        "id": code,
        "shortDescription": {"text": sentence},
        "fullDescription": {"text": sentence},
        "help": {"text": _plain(text), "markdown": _plain(markdown)},
        "defaultConfiguration": {"level": level},
    }


def _result(name: str, diagnostic: Diagnostic, rule: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _file(name), "region": _region(diagnostic.span)}
    result = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": "error" if diagnostic.severity is Severity.ERROR else "warning",
        "message": {"text": _plain(text_of(diagnostic))},
        "locations": [{"physicalLocation": place}],
    }
    return result | ({"fixes": [_fix(name, diagnostic.fix)]} if diagnostic.fix else {})


def _fix(name: str, fix: Fix) -> dict[str, Any]:
    replacement = {"deletedRegion": _region(fix.span), "insertedContent": {"text": fix.text}}
    return {
        "description": {"text": _plain(fix.title)},
        "artifactChanges": [{"artifactLocation": _file(name), "replacements": [replacement]}],
    }


def _file(name: str) -> dict[str, str]:
    address, relative = uri(name)
    return {"uri": address} | ({"uriBaseId": ROOT} if relative else {})


def _region(span: Span | None) -> dict[str, int]:
    """The place of a span; the first line for a diagnostic of a whole file. The end column is exclusive."""
    if span is None:
        return {"startLine": 1}
    (line, column), (end_line, end_column) = (_position(span, at) for at in (span.start, span.end))
    return {"startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column}


def _position(span: Span, at: int) -> tuple[int, int]:
    """Line and column from 1; a character beyond U+FFFF has two columns."""
    line, column = span.source.position(at)
    before = span.source.text[at - column + 1 : at]
    return line, column + sum(ord(character) > 0xFFFF for character in before)


def _plain(text: str) -> str:
    """The text as a message of SARIF, which could take brackets for places of arguments, or for a link."""
    return text.replace("{", "{{").replace("}", "}}").replace("](", "] (")
