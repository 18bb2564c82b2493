"""Texts as a page shows them: control codes are visible, and places count in the units of JavaScript.

Not here: texts for a terminal (`terminal`), which text is shown where (`page_data`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from ...terminal import HIDDEN, printable

LONGEST_TOKEN = 120  # characters of a token; a page has thousands of them
LONGEST_PROMPT = 20_000
_HIDDEN = re.compile(f"[{HIDDEN}]")


def shown_token(text: str) -> str:
    """The text of a token on one line."""
    short = text if len(text) <= LONGEST_TOKEN else text[: LONGEST_TOKEN - 1] + "…"
    return printable(short.replace("\r\n", "\n")).replace("\n", "↵").replace("\t", "⇥")


def shown_prompt(text: str) -> str:
    """The text of a prompt, with its line breaks."""
    return printable(text if len(text) <= LONGEST_PROMPT else text[:LONGEST_PROMPT] + "…")


@dataclass(frozen=True, slots=True)
class ShownText:
    """A text, and where each of its characters is in `text`, the form that a page shows.

    JavaScript counts a character beyond U+FFFF as two units.
    """

    text: str
    offsets: tuple[int, ...]

    @classmethod
    def of(cls, text: str) -> ShownText:
        """Shows a text. A carriage return before a line feed is left out."""
        pieces = [
            "" if one == "\r" and text[at + 1 : at + 2] == "\n" else _visible(one)
            for at, one in enumerate(text)
        ]
        return cls("".join(pieces), (0, *accumulate(map(_units, pieces))))

    def place(self, offset: int) -> int:
        """The unit of a character of the text; the end of the shown text for an offset behind the text."""
        return self.offsets[min(max(offset, 0), len(self.offsets) - 1)]


def _visible(character: str) -> str:
    return printable(character) if _HIDDEN.match(character) else character


def _units(text: str) -> int:
    return sum(2 if ord(one) > 0xFFFF else 1 for one in text)
