"""How are places in a text counted? As an offset of characters here, in code units by an editor.

Editors count lines from 0, and columns in UTF-16 code units, unless both sides agree on another encoding. A
policy begins after a byte order mark, an editor's text with it. Not here: the text itself.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum

from ..language.parse import BYTE_ORDER_MARK

_BREAK = re.compile(r"\r\n|\n|\r")


class Units(StrEnum):
    """The code units that an editor counts."""

    UTF8 = "utf-8"
    UTF16 = "utf-16"
    UTF32 = "utf-32"

    def length(self, text: str) -> int:
        """The number of code units of a text."""
        if self is Units.UTF32 or text.isascii():
            return len(text)
        if self is Units.UTF16:
            return len(text) + sum(one > "\uffff" for one in text)
        return len(text.encode("utf-8", "surrogatepass"))

    def characters(self, text: str, units: int) -> int:
        """The number of characters in the first code units of a text. A unit inside a character counts as the
        start of the character.
        """
        if self is Units.UTF32 or text.isascii():
            return max(0, min(units, len(text)))
        passed = 0
        for at, one in enumerate(text):
            passed += self.length(one)
            if passed > units:
                return at
        return len(text)


@dataclass(frozen=True, slots=True)
class EditorText:
    """A text as an editor has it. `policy` is the same without a byte order mark; offsets are in it."""

    text: str
    units: Units = Units.UTF16
    _starts: list[int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        starts = [0, *(found.end() for found in _BREAK.finditer(self.text))]
        object.__setattr__(self, "_starts", starts)

    @property
    def shift(self) -> int:
        return int(self.text.startswith(BYTE_ORDER_MARK))

    @property
    def policy(self) -> str:
        return self.text[self.shift :]

    def offset(self, line: int, character: int) -> int:
        """The offset of a place; a place outside of the text counts as the nearest one inside."""
        if line < 0:
            return 0
        if line >= len(self._starts):
            return len(self.policy)
        inside = self.units.characters(self._line(line), character)
        return max(0, self._starts[line] + inside - self.shift)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both counted from 0, the column in code units."""
        at = max(0, min(offset + self.shift, len(self.text)))
        line = bisect_right(self._starts, at) - 1
        return line, self.units.length(self.text[self._starts[line] : at])

    def units_before(self, offset: int) -> int:
        """The code units of the text before an offset, for editors that count from the start of the text."""
        return self.units.length(self.text[: offset + self.shift])

    def offset_after(self, units: int) -> int:
        """The offset after a number of code units from the start of the text."""
        return max(0, self.units.characters(self.text, units) - self.shift)

    def _line(self, number: int) -> str:
        last = number + 1 >= len(self._starts)
        end = len(self.text) if last else self._starts[number + 1]
        return self.text[self._starts[number] : end].rstrip("\r\n")
