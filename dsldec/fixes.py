"""The usual fixes of a diagnostic: an insertion, a deletion, a line more or less.

Not here: the fix itself (`diagnostics.Fix`), when a diagnostic has one (its check).
"""

from __future__ import annotations

from .diagnostics import Fix
from .source import Source, Span


def after(span: Span, text: str) -> Fix:
    """Insert a text directly after a span, without the blanks at its end."""
    end = _end(span)
    return Fix(Span(span.source, end, end), text)


def before(span: Span, text: str) -> Fix:
    """Insert a text directly before a span."""
    return Fix(Span(span.source, span.start, span.start), text)


def between(left: Span, right: Span) -> Fix:
    """Delete the text from the end of a span to the end of another one."""
    return Fix(Span(left.source, _end(left), _end(right)), "")


def line_above(span: Span, text: str) -> Fix:
    """Insert a line above the line of a span, with its indentation."""
    start = _line_start(span.source.text, span.start)
    line = f"{_indent(span)}{text}{_line_break(span.source)}"
    return Fix(Span(span.source, start, start), line)


def line_below(span: Span, text: str) -> Fix:
    """Insert a line below the last line of a span, with the indentation of the first one."""
    end = _line_end(span.source.text, _end(span))
    return Fix(Span(span.source, end, end), f"{_line_break(span.source)}{_indent(span)}{text}")


def without_lines(span: Span) -> Fix:
    """Delete the lines of a span."""
    text = span.source.text
    start, end = _line_start(text, span.start), text.find("\n", _end(span)) + 1
    return Fix(Span(span.source, start, end or len(text)), "")


def moved_up(line: Span, target: Span) -> Fix:
    """Move the line of a span above the line of another one."""
    source, text = line.source, line.source.text
    start, own = _line_start(text, target.start), _line_start(text, line.start)
    end = text.find("\n", _end(line)) + 1 or len(text)
    moved = text[own:end]
    gap = "" if moved.endswith("\n") else _line_break(source)
    rest = text[start:own] if not gap else text[start:own].rstrip("\r\n")
    return Fix(Span(source, start, end), f"{moved}{gap}{rest}")


def in_brackets(text: str) -> str:
    """A text as one operand: in brackets, unless it is one word or one call."""
    depth = 0
    for at, one in enumerate(text):
        depth += (one == "(") - (one == ")")
        if depth == 0 and not (one.isalnum() or one in "_.)" or (one == "(" and at)):
            return f"({text})"
    return text


def _end(span: Span) -> int:
    """The end of a span without the blanks and line breaks at its end."""
    return span.start + len(span.text.rstrip())


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return end - 1 if end > at and text[end - 1] == "\r" else end


def _indent(span: Span) -> str:
    line = span.source.text[_line_start(span.source.text, span.start) : span.start]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _line_break(source: Source) -> str:
    return "\r\n" if "\r\n" in source.text else "\n"
