"""All limits on a policy: on its text, and on the work that a text may cause.

Limits on the text are enforced here, before parsing, in linear time. The earlier limits keep the later checks
cheap. Together they keep every stage within 2 seconds and 1 GB on one core; `tests/fuzz` checks that. Not
here: counting the caused work (`parse` counts the depth of a tree; `checks.size` and `checks.functions` count
the rest).
"""

from __future__ import annotations

import re

from ..diagnostics import Diagnostic, Fix
from ..source import Source, Span
from .scan import Piece, PieceKind, pieces

LARGEST_TEXT = 256 * 1024
LARGEST_POLICY = 10_000
DEEPEST_NESTING = 100
MOST_DECLARED = 100  # parameters, states, phases: limit for each; some checks take quadratic time
LARGEST_PROOF = (
    # parts of a name's value, with its names expanded, that a proof reads; a larger value proves nothing
    1_000
)
LARGEST_PROOFS = 20_000  # the same, summed over all proofs
MOST_DIAGNOSTICS = 100
MOST_BRANCHES = 64  # candidates of a step; each is a row of the forward
LARGEST_INT = 10**9
LARGEST_REAL = 1e30

_NO_TEXT = re.compile("[\0\ud800-\udfff]")
_DIGITS_OF_AN_INT = 18


def unusable(source: Source) -> Diagnostic | None:
    """A diagnostic for a text that is too long or not text. None where the text is usable."""
    text = source.text
    if len(text) > LARGEST_TEXT:
        message = f"this text has {len(text)} characters; a policy has at most {LARGEST_TEXT}"
        return Diagnostic("E0104", message, Span(source, 0, 1), help="policies are short texts")
    match = _NO_TEXT.search(text)
    if match is None:
        return None
    why = "a NUL" if match.group() == "\0" else f"half a character, U+{ord(match.group()):04X}"
    return Diagnostic(
        "E0103",
        "this byte is not text",
        Span(source, *match.span()),
        why,
        "save the file as UTF-8 text",
    )


def pieces_within(source: Source) -> tuple[list[Piece], Diagnostic | None]:
    """The pieces of a text without comments, up to the first limit that it exceeds, and the diagnostic.

    Every node of the tree has at least one piece of its own, so counting pieces bounds the tree.
    """
    result: list[Piece] = []
    count = depth = 0
    for piece in pieces(source.text):
        if piece.kind is PieceKind.COMMENT:
            continue
        result.append(piece)
        count += piece.kind is not PieceKind.BREAK
        if count > LARGEST_POLICY:
            return result, _too_large(Span(source, piece.start, piece.end))
        if piece.text == "(":
            depth += 1
        elif piece.text == ")" and depth:
            depth -= 1
        if depth > DEEPEST_NESTING:
            return result, nested_too_deep(Span(source, piece.start, piece.end))
    return result, None


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
    """The value of a number: `4` is an int, `4.0` a real. None where it is too large."""
    if not text.isdigit():
        real = float(text)
        return real if real <= LARGEST_REAL else None
    digits = text.lstrip("0") or "0"  # Python refuses to convert thousands of digits, even zeros
    return int(digits) if len(digits) <= _DIGITS_OF_AN_INT and int(digits) <= LARGEST_INT else None


def number_too_large(span: Span) -> Diagnostic:
    limit = str(LARGEST_INT) if span.text.isdigit() else f"{LARGEST_REAL:g}"
    help_ = f"the largest is `{limit}`"
    return Diagnostic("E0107", "this number is too large", span, help=help_, fix=Fix(span, limit))
