"""A text and the places in it.

Not here: diagnostics (`diagnostics`), the meaning of the text (`language`).
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Source:
    """A text with the name it is shown under: a path, or `<string>`."""

    text: str = field(repr=False)
    name: str = "<string>"

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its line break."""
        starts = _line_starts(self.text)
        if not 1 <= number <= len(starts):
            return ""
        end = starts[number] - 1 if number < len(starts) else None
        return self.text[starts[number - 1] : end].removesuffix("\r")

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        starts = _line_starts(self.text)
        number = bisect_right(starts, offset)
        return number, offset - starts[number - 1] + 1


@lru_cache(maxsize=4)
def _line_starts(text: str) -> tuple[int, ...]:
    """The start of each line. Found once, since printing a tree needs thousands of places."""
    starts = [0]
    while breaks := text.find("\n", starts[-1]) + 1:
        starts.append(breaks)
    return tuple(starts)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a source. A span holds its source, so it can be drawn
    anywhere.
    """

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def line(self) -> int:
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        return self.source.position(self.start)[1]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`."""
        return Span(self.source, self.start, max(self.end, other.end))
