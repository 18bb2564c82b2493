"""The tools of the command: one file per verb, and how a user's own text is quoted.

Not here: reading the command line (`cli`).
"""

from __future__ import annotations

from ..terminal import printable

LONGEST_QUOTED = 60
LONGEST_PATH = 500


def quoted(text: str, longest: int = LONGEST_QUOTED) -> str:
    """A user's text in a message: in backticks, on one line, cut."""
    line = printable(text[: longest + 1].replace("\r\n", "\n")).replace("\n", "␊").replace("\t", " ")
    return f"`{line[:longest]}…`" if len(line) > longest else f"`{line}`"


def quoted_path(path: object) -> str:
    """A path in a message: whole, so that it can be pasted."""
    return quoted(str(path), LONGEST_PATH)
