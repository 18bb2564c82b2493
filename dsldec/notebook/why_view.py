"""The view of an explanation: its lines, and the text of the policy with the place that decided.

Not here: the explanation (`explained.reasons`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..explained.why import Why, WhyLine
from ..source import Span
from .markup import framed, paragraph, text, unfolded
from .policy_text import Lit, policy_code

MOST_LINES, DEEPEST, LONGEST_LINE = 80, 12, 1000
LINES_OF_A_SHORT_TEXT, LINES_AROUND = 40, 8


def why_html(why: Why) -> str:
    """Why a step wrote a position, or did not."""
    phase = f", phase {text(why.phase)}" if why.phase else ""
    title = f"position {why.position}, step {why.step}{phase}: {text(why.outcome)}"
    shown = [_line(line) for line in why.lines[:MOST_LINES]]
    more = len(why.lines) - len(shown)
    rest = [paragraph(f"{more} more lines: <code>print(why)</code>.", soft=True)] if more else []
    return framed(title, *shown, *rest, *_policy(why))


def _line(line: WhyLine) -> str:
    indent = 1.4 * min(line.depth, DEEPEST)
    weight = "font-weight:bold;" if not line.depth else ""
    spaces = "&nbsp;&nbsp;" * min(line.depth, DEEPEST)  # without styles, the depth is still visible
    style = f"{weight}border-left:2px solid rgba(128,128,128,.4);padding-left:.5em;margin-left:{indent:g}em"
    return f'<div style="{style}">{spaces}{text(line.text, LONGEST_LINE)}</div>'


def _policy(why: Why) -> Iterator[str]:
    """The text of the policy around the first place that a line names."""
    span = next((line.span for line in why.lines if line.span is not None), None)
    if span is None:
        return
    start, shown = _around(span)
    lit = [Lit(max(0, span.start - start), span.end - start)]
    yield unfolded(f"Line {span.line} of the policy", policy_code(shown, lit), opened=True)


def _around(span: Span) -> tuple[int, str]:
    """The lines around a place, and the offset of the first one. A short text is whole."""
    source = span.source.text
    if source.count("\n") <= LINES_OF_A_SHORT_TEXT:
        return 0, source
    start, end = span.start, span.end
    for _ in range(LINES_AROUND + 1):
        start = max(0, source.rfind("\n", 0, max(0, start)))
        end = source.find("\n", end + 1) if 0 <= end < len(source) else -1
    start += source[start] == "\n"
    return start, source[start : end if end >= 0 else len(source)]
