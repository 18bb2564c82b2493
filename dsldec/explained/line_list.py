"""The lines of an explanation while it is written, with a bound on their number and depth.

Not here: their texts (`expression_reasons`, `statement_reasons`).
"""

from __future__ import annotations

from ..source import Span
from .why import WhyLine

MOST_LINES = 60
DEEPEST = 16
CUT = "..."


class LineList:
    """Lines in order. A line that is too deep, or one too many, is a line `...` once."""

    def __init__(self) -> None:
        self.lines: list[WhyLine] = []

    @property
    def full(self) -> bool:
        return len(self.lines) >= MOST_LINES

    def add(
        self,
        depth: int,
        template: str,
        *arguments: str,
        holds: bool | None = None,
        span: Span | None = None,
        decides: bool = False,
    ) -> bool:
        """Whether the line has room. The parts of a line without room have no lines."""
        if depth > DEEPEST or self.full:
            if self.lines[-1].template != CUT:
                self.lines.append(WhyLine(min(depth, DEEPEST + 1), CUT))
            return False
        self.lines.append(WhyLine(depth, template, arguments, holds, span, decides))
        return True
