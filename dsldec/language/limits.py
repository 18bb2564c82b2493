"""Every limit on a policy: on its text, and on the work that a text may make.

The limits on the text are enforced here, before it is parsed, in time linear in it; the earlier ones keep the
later ones cheap. Together they keep every stage within 2 seconds and 1 GB on one core; `tests/fuzz` holds the
stages to that. Not here: who counts what a text may make (`parse` the depth of a tree, `checks.size` and
`checks.functions` the rest).
"""

from __future__ import annotations

import re

from ..diagnostics import Diagnostic
from ..source import Source, Span
from .scan import Piece, Sort, pieces

LARGEST_TEXT = 256 * 1024
LARGEST_POLICY = 10_000
DEEPEST_NESTING = 100
MOST_DECLARED = 100  # parameters, states, phases: each kind; some checks take the square of it
LARGEST_PROOF = (
    1_000  # parts of a name's value, names in it written out, that a proof reads; a larger one proves nothing
)
LARGEST_PROOFS = 20_000  # and of all that is read in all proofs
MOST_DIAGNOSTICS = 100
LARGEST_INT = 10**9
LARGEST_REAL = 1e30

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_DIGITS_OF_AN_INT = 18


def unusable(source: Source) -> Diagnostic | None:
    """Why a text cannot be looked at: it is too long, or it is no text."""
    text = source.text
    if len(text) > LARGEST_TEXT:
        message = f"this text has {len(text)} characters; a policy has at most {LARGEST_TEXT}"
        return Diagnostic("E0104", message, Span(source, 0, 1), help="policies are short texts")
    found = _NO_TEXT.search(text)
    if found is None:
        return None
    why = "a NUL" if found.group() == "\0" else f"half a character, U+{ord(found.group()):04X}"
    return Diagnostic(
        "E0103",
        "this is a byte that no text has",
        Span(source, *found.span()),
        why,
        "save the file as UTF-8 text",
    )


def pieces_within(source: Source) -> tuple[list[Piece], Diagnostic | None]:
    """The pieces of a text up to where it becomes too large or too deep, comments left out.

    Every node of the tree has a piece of its own, so counting pieces bounds the tree.
    """
    found: list[Piece] = []
    count = depth = 0
    for piece in pieces(source.text):
        if piece.sort is Sort.COMMENT:
            continue
        found.append(piece)
        count += piece.sort is not Sort.BREAK
        if count > LARGEST_POLICY:
            return found, _too_large(Span(source, piece.start, piece.end))
        if piece.text == "(":
            depth += 1
        elif piece.text == ")" and depth:
            depth -= 1
        if depth > DEEPEST_NESTING:
            return found, nested_too_deep(Span(source, piece.start, piece.end))
    return found, None


def _too_large(span: Span) -> Diagnostic:
    label = f"more than {LARGEST_POLICY} words, numbers and signs up to here"
    return Diagnostic(
        "E0108",
        "the policy is too large",
        span,
        label,
        "split it, or shorten it with functions: `def near(m) = dilate(m, 4)`",
    )


def nested_too_deep(span: Span) -> Diagnostic:
    message, help_ = (
        f"this is nested more than {DEEPEST_NESTING} deep",
        "give a part of it a name on a line of its own: `part = ...`",
    )
    return Diagnostic("E0105", message, span, help=help_)


def number(text: str) -> int | float | None:
    """The value of a number as it is written: `4` is an int, `4.0` a real; None where it is too large."""
    if not text.isdigit():
        real = float(text)
        return real if real <= LARGEST_REAL else None
    digits = text.lstrip("0") or "0"  # Python refuses to read thousands of digits, zeros too
    return int(digits) if len(digits) <= _DIGITS_OF_AN_INT and int(digits) <= LARGEST_INT else None


def number_too_large(span: Span) -> Diagnostic:
    most = str(LARGEST_INT) if span.text.isdigit() else f"{LARGEST_REAL:g}"
    return Diagnostic("E0107", "this number is too large", span, help=f"the largest is `{most}`")
