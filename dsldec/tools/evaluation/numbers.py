"""Which number does a text end with?

The number after the last `####` counts, as in GSM8K; without it, the last number of the text. Values are
exact fractions. Not here: scores (`scorers`).
"""

from __future__ import annotations

import re
from fractions import Fraction

MARK = "####"
MOST_DIGITS = 400  # more digits are no answer, and exact arithmetic with them is slow

# 1,234.5 or 12 or .5, with an exponent of at most three digits.
_DECIMAL = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+"
_EXPONENT = r"(?:[eE][-+]?[0-9]{1,3}(?![0-9]))?"
# A sign directly after a digit, a letter, a bracket or a sign is an operator: 14-18.
_SIGN = r"(?:(?<![\w).\-+])[-+])?"
_CURRENCY = r"[$€£]?"
# 1/2, and 2 1/2 with one space.
_PART = r"(?:(?P<whole>[0-9]+) )?(?P<numerator>[0-9]+)/(?P<denominator>[0-9]+)(?![0-9]*[./][0-9])"
_NUMBER = re.compile(
    rf"(?P<sign>{_SIGN}){_CURRENCY}(?:(?<![0-9.,/]){_PART}|(?P<decimal>(?:{_DECIMAL}){_EXPONENT}))"
)
_LATEX = (
    (re.compile(r"\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}"), r"\1/\2"),
    (re.compile(r"\{,\}|\\,"), ","),
    (re.compile(r"\\(?=[$%])"), ""),
    (re.compile("\N{MINUS SIGN}"), "-"),
)


def last_number(text: str) -> Fraction | None:
    """The number that the text ends with, None if there is none.

    It reads commas between thousands, a sign, a currency sign before the digits, decimals, exponents, and
    fractions (`1/2`, `2 1/2`, `\\frac{1}{2}`). It ignores a percent sign or a unit after the number.
    """
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    _, mark, marked = text.rpartition(MARK)
    if mark and (first := _NUMBER.search(marked)) is not None:
        return _value(first)
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return None if last is None else _value(last)


def _value(match: re.Match[str]) -> Fraction | None:
    if len(match[0]) > MOST_DIGITS:
        return None
    if match["decimal"] is not None:
        value = Fraction(match["decimal"].replace(",", ""))
    elif int(match["denominator"]) == 0:
        return None
    else:
        value = Fraction(int(match["numerator"]), int(match["denominator"]))
        value += int(match["whole"] or 0) if value < 1 else 0  # `3 5/2` is no number, but two
    return -value if match["sign"] == "-" else value
