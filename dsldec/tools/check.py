"""`dsldec check`: every diagnostic of some policies, drawn for people or in a format for programs.

Not here: the checks (`checks`), the formats of others (`github_commands`, `sarif`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from .. import policy
from ..diagnostics import Diagnostic, PolicyError, Severity, UsageError
from ..terminal import data
from . import sarif
from .github_commands import command

CLEAN, WRONG = 0, 1
JSON_VERSION = 1


def check(names: Sequence[str], *, form: str = "human") -> int:
    """Check each policy, print its diagnostics, return the exit status. `form` is one of `human`, `json`,
    `github` and `sarif`. Raises `UsageError` for a policy that cannot be read.
    """
    diagnostics = [(name, diagnostic) for name in names for diagnostic in _diagnostics(name)]
    if form == "json":
        records = sorted(
            (record(name, d) for name, d in diagnostics),
            key=lambda r: (names.index(str(r["file"])), r["line"], r["column"]),
        )
        _print_json({"version": JSON_VERSION, "diagnostics": records})
    elif form == "sarif":
        _print_json(sarif.log(diagnostics))
    else:
        for name, diagnostic in diagnostics:
            if form == "github":
                print(command(name, diagnostic), file=data())
            else:
                print(diagnostic, end="\n\n")
        errors = sum(d.severity is Severity.ERROR for _, d in diagnostics)
        warnings = len(diagnostics) - errors
        print(
            f"{_count(len(names), 'policy', 'policies')}: {_count(errors, 'error', 'errors')}, {_count(warnings, 'warning', 'warnings')}"
        )
    return WRONG if any(d.severity is Severity.ERROR for _, d in diagnostics) else CLEAN


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False), file=data())


def _diagnostics(name: str) -> list[Diagnostic]:
    try:
        text, shown = policy.read(name)
    except PolicyError as error:
        (diagnostic,) = error.diagnostics
        # A missing file is wrong usage. A file that cannot be a policy is a mistake in it.
        if diagnostic.code == "E0401":
            raise UsageError(diagnostic) from None
        return [diagnostic]
    return policy.check(text, shown)[1]


def record(name: str, diagnostic: Diagnostic) -> dict[str, str | int]:
    """A diagnostic as an object of JSON. `name` is the file's name as the user wrote it."""
    span = diagnostic.span
    line, column = span.source.position(span.start) if span else (1, 1)
    end_line, end_column = span.source.position(span.end) if span else (1, 1)
    return {
        "file": name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "severity": str(diagnostic.severity),
        "code": diagnostic.code,
        "message": diagnostic.message,
        "label": diagnostic.label,
        "help": diagnostic.help,
    }


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
