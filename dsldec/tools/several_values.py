"""The forms of several values in one `--set`: a list `A,B,C`, a range `A..B`, `A..B/N` or `A..B log`.

Not here: which forms a verb takes, and the values in a range (`frontier.grids`, `tune.searched`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A value of these kinds may have commas and dots. So has the name of a file.
OF_ONE_VALUE = ("pattern", "network")
WHOLE_KINDS = ("int", "token")
_RANGE = re.compile(r"(\S+?)\s*\.\.\s*(\S+?)(?:\s*/\s*(\S+))?(?:\s+(\w+))?")


@dataclass(frozen=True, slots=True)
class RangeText:
    """The parts of a range as text: both ends, `N` of `A..B/N`, and the word after it. None: not given."""

    low: str
    high: str
    count: str | None
    word: str | None


def has_several(kind: str | None, text: str) -> bool:
    """Whether the text of a value is a list or a range, for a parameter of this kind."""
    return kind not in OF_ONE_VALUE and not text.startswith("@") and (".." in text or "," in text)


def range_text(text: str) -> RangeText | None:
    """The parts of a range; None where the text is no range."""
    match = _RANGE.fullmatch(text)
    return None if match is None else RangeText(match[1], match[2], match[3], match[4])
