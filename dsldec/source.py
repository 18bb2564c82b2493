"""A text and the places in it.

Not here: what is wrong at a place (`diagnostics`) or what the text means (`language`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Source:
    """A text with the name it is shown under: a path, or `<string>`."""

    text: str = field(repr=False)
    name: str = "<string>"

    def line(self, number: int) -> str:
        """Line `number`, counted from 1, without its line break."""
        start = 0
        for _ in range(number - 1):
            start = self.text.find("\n", start) + 1
            if not start:
                return ""
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else None].removesuffix("\r") if number >= 1 else ""

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both counted from 1."""
        return self.text.count("\n", 0, offset) + 1, offset - self.text.rfind("\n", 0, offset)


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` (exclusive) of a source. A span owns its source: it can be drawn anywhere."""

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
