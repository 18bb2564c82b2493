"""What the command does, one file a verb, and how a user's own text is shown back.

Not here: how the command line is read (`cli`).
"""

from __future__ import annotations

from ..terminal import printable

LONGEST_QUOTED = 60
LONGEST_PATH = 500


def quoted(text: str, longest: int = LONGEST_QUOTED) -> str:
    """A user's text as a message shows it: in backticks, on one line, not too long."""
    line = printable(text[: longest + 1].replace("\r\n", "\n")).replace("\n", "␊").replace("\t", " ")
    return f"`{line[:longest]}…`" if len(line) > longest else f"`{line}`"


def quoted_path(path: object) -> str:
    """A path as a message shows it: whole, since it is there to be pasted."""
    return quoted(str(path), LONGEST_PATH)
