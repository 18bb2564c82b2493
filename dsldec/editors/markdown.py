"""Text of a user inside Markdown: it stays text.

Not here: the text around it (`hover`, `completion`).
"""

from __future__ import annotations

import re

from ..terminal import printable

LONGEST_PLAIN = 600  # characters of a user's text
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$^:@=])")


def plain(text: str) -> str:
    """A text on one line, in which nothing counts as markup."""
    return _MARKUP.sub(r"\\\1", _shown(text))


def code(text: str) -> str:
    """A text as a span of code, whatever is in it."""
    shown = _shown(text).strip()
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    gap = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{gap}{shown}{gap}{fence}" if shown else ""


def block(text: str) -> str:
    """Lines of a policy as a block of code."""
    shown = printable(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}policy\n{shown}\n{fence}"


def _shown(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= LONGEST_PLAIN else f"{line[:LONGEST_PLAIN]} ..."
