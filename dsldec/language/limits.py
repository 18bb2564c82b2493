"""What is refused before it is parsed, because it would cost too much or is no text.

Each limit is looked for in time linear in the text, and in this order: the earlier ones keep the later ones cheap.
Not here: how deep the tree of an expression gets (`parse` counts that while it builds the tree).
"""

from __future__ import annotations

import re
from itertools import islice

from ..diagnostics import Diagnostic
from ..source import Source, Span
from .scan import Piece, Sort, pieces

LARGEST_TEXT = 256 * 1024
LARGEST_POLICY = 10_000
DEEPEST_NESTING = 100
LARGEST_INT = 10**9
LARGEST_REAL = 1e30

_COUNTED = frozenset({Sort.WORD, Sort.NUMBER, Sort.OPERATOR, Sort.FOREIGN})
_NEVER_COUNTED = frozenset("(),:")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_DIGITS_OF_AN_INT = 18


def refused(source: Source) -> Diagnostic | None:
    """The first limit that a text breaks."""
    return next(filter(None, (limit(source) for limit in LIMITS)), None)


def _too_long(source: Source) -> Diagnostic | None:
    if len(source.text) <= LARGEST_TEXT:
        return None
    message = f"this text has {len(source.text)} characters; a policy has at most {LARGEST_TEXT}"
    return Diagnostic("E0104", message, Span(source, 0, 1), help="policies are short texts")


def _no_text(source: Source) -> Diagnostic | None:
    found = _NO_TEXT.search(source.text)
    if found is None:
        return None
    why = "a NUL" if found.group() == "\0" else f"half a character, U+{ord(found.group()):04X}"
    return Diagnostic("E0103", "this is a byte that no text has", Span(source, *found.span()), why, "save the file as UTF-8 text")


def _too_large(source: Source) -> Diagnostic | None:
    """Every node of the tree has a word, number or operator of its own, so these bound the tree."""
    counted = (piece for piece in pieces(source.text) if _counts(piece))
    first_too_many = next(islice(counted, LARGEST_POLICY, None), None)
    if first_too_many is None:
        return None
    span = Span(source, first_too_many.start, first_too_many.end)
    return Diagnostic("E0108", "the policy is too large", span, f"more than {LARGEST_POLICY} words, numbers and operators up to here")


def _counts(piece: Piece) -> bool:
    return piece.sort in _COUNTED and piece.text not in _NEVER_COUNTED


def _too_deep(source: Source) -> Diagnostic | None:
    depth = 0
    for piece in pieces(source.text):
        if piece.sort is Sort.OPERATOR:
            depth += (piece.text == "(") - (piece.text == ")" and depth > 0)
        if depth > DEEPEST_NESTING:
            return nested_too_deep(Span(source, piece.start, piece.end))
    return None


def nested_too_deep(span: Span) -> Diagnostic:
    message, help_ = f"this is nested more than {DEEPEST_NESTING} deep", "give a part of it a name on a line of its own: `part = ...`"
    return Diagnostic("E0105", message, span, help=help_)


LIMITS = (_too_long, _no_text, _too_large, _too_deep)


def number(text: str) -> int | float | None:
    """The value of a number as it is written: `4` is an int, `4.0` a real; None where it is too large."""
    if not text.isdigit():
        real = float(text)
        return real if real <= LARGEST_REAL else None
    digits = text.lstrip("0") or "0"  # Python refuses to read thousands of digits, zeros too
    return int(digits) if len(digits) <= _DIGITS_OF_AN_INT and int(digits) <= LARGEST_INT else None


def number_too_large(span: Span) -> Diagnostic:
    most = LARGEST_INT if span.text.isdigit() else LARGEST_REAL
    return Diagnostic("E0107", "this number is too large", span, help=f"the largest is {most:g}")
