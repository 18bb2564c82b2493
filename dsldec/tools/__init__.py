"""What the command does, one file a verb, and how a user's own text is shown back.

Not here: how the command line is read (`cli`).
"""

from __future__ import annotations

LONGEST_QUOTED = 60
LONGEST_PATH = 500


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colours; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text.replace("\r\n", "\n"))


def quoted(text: str, longest: int = LONGEST_QUOTED) -> str:
    """A user's text as a message shows it: in backticks, on one line, not too long."""
    line = printable(text).replace("\n", "␊")
    return f"`{line[:longest]}…`" if len(line) > longest else f"`{line}`"


def quoted_path(path: object) -> str:
    """A path as a message shows it: whole, since it is there to be pasted."""
    return quoted(str(path), LONGEST_PATH)


def _shown(character: str) -> str:
    code = ord(character)
    if character == "\n" or (code >= 0x20 and not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000):
        return character
    if character == "\t":
        return "    "
    return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"
