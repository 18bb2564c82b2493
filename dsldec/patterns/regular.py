"""Which regular expressions can be a pattern? A check of the text, with the place of a mistake.

The syntax is that of Rust's `regex`. The whole text must match, so `^` at the start and `$` at the end have
no effect. Assertions at other places, and backreferences, are refused. Not here: the matches of an expression
(`byte_automaton`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

from ..diagnostics import Diagnostic, UsageError
from ..source import Source, Span

LONGEST = 64 * 1024  # characters
DEEPEST = 100  # brackets in brackets
NAME = "pattern"  # of the text in a diagnostic

_LOOKAROUND = re.compile(r"\(\?(?:<?[=!])")
_OTHER_GROUP = re.compile(r"\(\?(?:P=|P>|\(|>|\||&|R|[0-9]|#)")
_FLAGS = re.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]+))?[:)]")
_REPEAT = re.compile(r"\{[0-9]*,?[0-9]*\}")
MOST_REPEATS = 10_000
FENCE = "\\x01"
_ASSERTIONS = {"b": "word boundary", "B": "word boundary", "A": "anchor", "z": "anchor", "Z": "anchor", "G": "anchor", "<": "word boundary", ">": "word boundary"}  # fmt: skip


def checked(text: str) -> str:
    """The expression without the anchors at its ends. Raises `UsageError`: E0490 for wrong brackets, E0491
    for a feature that no automaton has, E0494 for a text that is too long.
    """
    if len(text) > LONGEST:
        message = f"the pattern has {len(text):,} characters, and the limit is {LONGEST:,}"
        raise UsageError(Diagnostic("E0494", message, help="write a shorter pattern"))
    lone = next((at for at, one in enumerate(text) if 0xD800 <= ord(one) < 0xE000), None)
    if lone is not None:
        raise _wrong(
            text, lone, lone + 1, "the pattern has a character that is no Unicode text", "leave it out"
        )
    if not text:
        help_ = "leave the option out for any text; `()` is the pattern of the empty text"
        raise UsageError(Diagnostic("E0490", "the pattern is empty", help=help_))
    begin, end = _without_anchors(text)
    depth: list[int] = []
    for at, piece in _pieces(text):
        if begin <= at < end:
            _require_known(text, at, piece)
        if piece == "(":
            depth.append(at)
            if len(depth) > DEEPEST:
                raise _wrong(
                    text, at, at + 1, f"brackets are nested more than {DEEPEST} deep", "write fewer brackets"
                )
        elif piece == ")":
            if not depth:
                raise _wrong(text, at, at + 1, "this bracket closes none", "write `\\)` for the character")
            depth.pop()
    if depth:
        raise _wrong(
            text,
            depth[-1],
            depth[-1] + 1,
            "this bracket is not closed",
            "write `)`, or `\\(` for the character",
        )
    return text[begin:end]


def fenced(regex: str) -> str:
    """A checked expression without matches of the character `\\x01`, unless the text has it literally.

    The library also searches for a match at every later place of a text, and needs exponentially many states
    where matches may overlap. It writes `\\x01` in front of the expression: then no match overlaps another.
    """
    without = f"&&[^{FENCE}]]"
    pieces = list(_pieces(regex))
    ends = [*(at for at, _ in pieces), len(regex)][1:]
    lines, opened, made = True, list[bool](), list[str]()  # whether a dot is no line feed; of each open group
    for (at, piece), end in zip(pieces, ends, strict=True):
        if piece == "(":
            opened.append(lines)
            if match := _FLAGS.match(regex, at):
                on, off = match[1] or "", match[2] or ""
                lines = (lines and "s" not in on) or "s" in off
                if match[0].endswith(")"):  # until the end of the group around it
                    opened[-1] = lines
        elif piece == ")" and opened:
            lines = opened.pop()
        if piece == "[":
            made.append(f"[{regex[at:end]}{without}")
        elif piece in ("\\D", "\\S", "\\W"):
            made.append(f"[{piece}{without}")
        elif piece == ".":
            made.append(f"[^\\n{FENCE}]" if lines else f"[^{FENCE}]")
        else:
            made.append(regex[at:end])
    return "".join(made)


def located(text: str, refused: Diagnostic) -> Diagnostic:
    """A diagnostic of the library with the place that Python's own check gives, if it finds one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(text)
    except re.error as error:
        at = min(error.pos or 0, max(len(text) - 1, 0))
        span = Span(Source(text, NAME), at, at + 1)
        return Diagnostic(refused.code, refused.message, span, label=error.msg, help=refused.help)
    except (RecursionError, OverflowError):
        pass
    return refused


def _without_anchors(text: str) -> tuple[int, int]:
    """The part of the text between an anchor at its start and one at its end."""
    begin = 1 if text.startswith("^") else 2 if text.startswith("\\A") else 0
    last = list(_pieces(text))[-1:]
    end = last[0][0] if last and last[0][1] in ("$", "\\z") and last[0][0] >= begin else len(text)
    return begin, end


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The places of characters outside classes; an escape is one piece of two characters."""
    at = depth = 0
    while at < len(text):
        piece = text[at : at + 2] if text[at] == "\\" else text[at]
        if depth == 0:
            yield at, piece
        if piece == "[":
            depth += 1
            at += 1 + (text[at + 1 : at + 2] == "^")
            at += text[at : at + 1] == "]"  # the first one is a character
            continue
        if piece == "]" and depth:
            depth -= 1
        at += len(piece)
    if depth:
        first = next(place for place, one in _pieces(text + "]" * depth) if one == "[")
        raise _wrong(
            text, first, first + 1, "this class is not closed", "write `]`, or `\\[` for the character"
        )


def _require_known(text: str, at: int, piece: str) -> None:
    """Raise `UsageError` (E0491) for a piece whose meaning depends on text around it."""
    if piece in ("^", "$"):
        message = f"`{piece}` can stand only at the {'start' if piece == '^' else 'end'} of a pattern"
        raise _unsupported(
            text,
            at,
            at + 1,
            message,
            f"leave it out: the whole text must match; `\\{piece}` is the character",
        )
    if len(piece) == 2:
        if piece[1] in _ASSERTIONS:
            message = f"a pattern has no {_ASSERTIONS[piece[1]]} inside"
            raise _unsupported(text, at, at + 2, message, "leave it out: the whole text must match")
        if piece[1].isdigit() or piece[1] in ("k", "g"):
            help = "write the alternatives out, for example `(aa|bb)` for `([ab])\\1`"
            raise _unsupported(text, at, at + 2, "a pattern has no backreferences", help)
        return
    if piece == "{" and (match := _REPEAT.match(text, at)):
        most = max(int(number[:9] or "0") for number in match[0][1:-1].split(","))
        if most > MOST_REPEATS:
            message = f"a pattern repeats a part at most {MOST_REPEATS:,} times"
            raise UsageError(
                Diagnostic(
                    "E0494",
                    message,
                    Span(Source(text, NAME), at, match.end()),
                    help="write a smaller number, or `*`",
                )
            )
    if piece != "(":
        return
    if match := _LOOKAROUND.match(text, at):
        help = 'write what the text may be: `[^"]*` in place of `(?:(?!").)*`'
        raise _unsupported(text, at, match.end(), "a pattern cannot look ahead or behind", help)
    if match := _OTHER_GROUP.match(text, at):
        raise _unsupported(text, at, match.end(), "a pattern has no such group", "write a group as `(?:...)`")
    if (match := _FLAGS.match(text, at)) and "x" in (match[1] or ""):
        help = "write the pattern without the flag `x`, on one line"
        raise _unsupported(text, at, match.end(), "a pattern has no comments", help)


def _unsupported(text: str, start: int, end: int, message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0491", message, Span(Source(text, NAME), start, end), help=help))


def _wrong(text: str, start: int, end: int, message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0490", message, Span(Source(text, NAME), start, end), help=help))
