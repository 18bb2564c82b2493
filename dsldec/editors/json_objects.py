"""The answers about a text for a page in a browser: diagnostics with fixes, hover and completion, for JSON.

Offsets count UTF-16 code units from the start of the text, as JavaScript does; lines and columns count from
1. Markdown has no markup of the user's text. Not here: the protocol of editors (`language_server`).
"""

from __future__ import annotations

from typing import Any

from .analysis import diagnostics
from .completion import completion
from .hover import hover
from .places import EditorText


def diagnostics_of(text: str) -> list[dict[str, Any]]:
    """Every diagnostic of a text: `code`, `severity`, `message`, `label`, `help`, `start`, `end`, `line`,
    `column`, and `fixes`, each with `title`, `start`, `end` and `text`.
    """
    editor = EditorText(text)
    objects = []
    for found in diagnostics(editor.policy):
        start, end = (found.span.start, found.span.end) if found.span is not None else (0, 0)
        line, column = editor.place(start)
        fixes = [] if found.fix is None else [found.fix]
        objects.append(
            {
                "code": found.code,
                "severity": str(found.severity),
                "message": found.message,
                "label": found.label,
                "help": found.help,
                "start": editor.units_before(start),
                "end": editor.units_before(end),
                "line": line + 1,
                "column": column + 1,
                "fixes": [
                    {
                        "title": fix.title,
                        "start": editor.units_before(fix.span.start),
                        "end": editor.units_before(fix.span.end),
                        "text": fix.text,
                    }
                    for fix in fixes
                ],
            }
        )
    return objects


def hover_of(text: str, offset: int) -> dict[str, Any] | None:
    """`start`, `end` and `markdown` of the word at an offset; None where there is nothing to say."""
    editor = EditorText(text)
    found = hover(editor.policy, editor.offset_after(offset))
    if found is None:
        return None
    start, end = editor.units_before(found.span.start), editor.units_before(found.span.end)
    return {"start": start, "end": end, "markdown": found.markdown}


def completion_of(text: str, offset: int) -> list[dict[str, Any]]:
    """The suggestions at an offset, likely ones first: `label`, `kind`, `start`, `end`, `insert`, `detail`,
    `markdown`.
    """
    editor = EditorText(text)
    return [
        {
            "label": one.label,
            "kind": str(one.kind),
            "start": editor.units_before(one.span.start),
            "end": editor.units_before(one.span.end),
            "insert": one.insert,
            "detail": one.detail,
            "markdown": one.markdown,
        }
        for one in completion(editor.policy, editor.offset_after(offset))
    ]
