"""Values and parts of a policy as short texts: numbers, ids, expressions.

Not here: the lines that these texts stand in (`reasons`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from ..language import syntax
from ..terminal import printable

DIGITS = 4  # significant digits of a number
MOST_DIGITS = 17  # with these, two numbers with one text are equal
LONGEST = 72  # characters of an expression in a line
LONGEST_TOKEN = 40  # characters of the text of an id
MOST_LISTED = 6  # positions in a list
NO_VALUE = "no value"
_COMMENT = re.compile(r"#[^\n]*")


def number_text(value: bool | int | float, digits: int = DIGITS) -> str:
    """A number with a few significant digits; an int with all of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    # The sum with 0 makes -0 to 0.
    return NO_VALUE if math.isnan(value) else f"{value + 0.0:.{digits}g}"


def compared_texts(values: Sequence[bool | int | float]) -> list[str]:
    """The texts of the sides of a comparison. Two sides that differ have different texts."""
    different = len({value for value in values if value == value})
    for digits in range(DIGITS, MOST_DIGITS + 1):
        texts = [number_text(value, digits) for value in values]
        if len({text for text in texts if text != NO_VALUE}) >= different:
            break
    return texts


def id_text(id_: int, mask_id: int, texts: Mapping[int, str]) -> str:
    """An id: its text in quotes, or its number."""
    if id_ == mask_id:
        return "MASK"
    if id_ < 0:
        return "no id"
    if id_ not in texts:
        return f"id {id_}"
    text = printable(texts[id_])
    return f"'{text[:LONGEST_TOKEN]}...'" if len(text) > LONGEST_TOKEN else f"'{text}'"


def positions_text(positions: Sequence[int]) -> str:
    """Positions as `3, 4, 7`; of many, the first ones."""
    some = ", ".join(map(str, positions[:MOST_LISTED]))
    return f"{some}, ..." if len(positions) > MOST_LISTED else some


# Nodes compare by identity.
@lru_cache(maxsize=4096)
def text_of(node: syntax.Node) -> str:
    """The text of a part of a policy in one line, cut if it is long. Braces are doubled, as in a template."""
    text = " ".join(_COMMENT.sub("", node.span.text).split())
    text = printable(text if len(text) <= LONGEST else f"{text[: LONGEST - 4].rstrip()} ...")
    return text.replace("{", "{{").replace("}", "}}")
