"""A diagnostic: a mistake, its place, and its correction. It draws itself.

Not here: the list of all diagnostics (`codes`).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .source import Span
from .terminal import printable

LONGEST_TEXT = 1000  # characters of a message, a label, a help
LONGEST_TITLE = 60  # characters of a text in the title of a fix


class Severity(StrEnum):
    """An error stops the stage after it; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Fix:
    """A change of a policy's text that removes a mistake: `text` in place of `span`.

    An empty `span` inserts the text before it, an empty `text` deletes the span.
    """

    span: Span
    text: str

    @property
    def title(self) -> str:
        """The change in a few words."""
        before, after = self.span.text.split(), self.text.split()
        if before == after:
            return "change the indentation"
        if sorted(before) == sorted(after):
            return "move the line"
        old, new = _as_title(self.span.text), _as_title(self.text)
        return f"add `{new}`" if not old else f"replace `{old}` with `{new}`" if new else f"delete `{old}`"

    def applied(self) -> str:
        """The whole text after the change."""
        text = self.span.source.text
        return text[: self.span.start] + self.text + text[self.span.end :]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake of the user.

    `message` names the mistake, `label` explains it at the caret, `help` has the correction. Text of the user
    is in backticks. A mistake outside a policy's text (an option, a model's path) has no `span`. `fix` is the
    correction as a change of the text, where there is one that needs no decision of the user.
    """

    code: str
    message: str
    span: Span | None = None
    label: str = ""
    help: str = ""
    fix: Fix | None = None

    def __post_init__(self) -> None:
        for name in (
            "message",
            "label",
            "help",
        ):  # text of the user in it may be as long as a policy, and of many lines
            text = getattr(self, name)
            shown = (
                text
                if len(text) <= LONGEST_TEXT
                else f"{text[: LONGEST_TEXT // 2]} … {text[-LONGEST_TEXT // 2 :]}"
            )
            object.__setattr__(self, name, _on_one_line(shown))

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self.code.startswith("W") else Severity.ERROR

    def __str__(self) -> str:
        """The diagnostic as text: message, place, the line with a caret under the exact text, help."""
        lines = [f"{self.severity}[{self.code}]: {self.message}"]
        if self.span is not None:
            lines += _drawn(self.span, self.label)
        margin = "  " if self.span is None else " " * (len(str(self.span.line)) + 1)
        if self.help:
            lines.append(f"{margin}= help: {self.help}")
        return "\n".join(lines)


def _as_title(text: str) -> str:
    shown = _on_one_line(" ".join(text.split()))
    return shown if len(shown) <= LONGEST_TITLE else f"{shown[:LONGEST_TITLE]} ..."


def _on_one_line(text: str) -> str:
    """The text on one line: line breaks and characters that move text become spaces, and control characters
    are escaped.
    """
    return text if text.isprintable() else printable("".join(" " if c.isspace() else c for c in text))


LONGEST_LINE_DRAWN = 160


def _drawn(span: Span, label: str) -> list[str]:
    number, column = span.line, span.column
    text = span.source.line(number)
    # A hostile line may be megabytes long: show the part around the caret.
    skipped = max(0, column - 1 - LONGEST_LINE_DRAWN // 2) if len(text) > LONGEST_LINE_DRAWN else 0
    # The text must not control the terminal, nor move the line above the caret.
    shown = "".join(
        c if c.isprintable() and printable(c) == c else " "
        for c in text[skipped : skipped + LONGEST_LINE_DRAWN]
    )
    caret_at = column - 1 - skipped
    width = max(1, min(span.end - span.start, len(shown) - caret_at))
    gutter = " " * (len(str(number)) + 1)
    return [
        f"{gutter[:-1]}--> {_on_one_line(span.source.name)}:{number}:{column}",
        f"{gutter}|",
        f"{number} | {shown}".rstrip(),
        f"{gutter}| {' ' * caret_at}{'^' * width} {label}".rstrip(),
    ]


class PicklableError(Exception):
    """An exception that can be copied and sent to another process, whatever its constructor takes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args, self.__dict__)


def _made_again(
    kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]
) -> BaseException:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class PolicyError(PicklableError):
    """A policy, or values given to it, cannot be used. `diagnostics` has one entry per mistake."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = list(diagnostics)
        super().__init__("\n\n".join(str(diagnostic) for diagnostic in self.diagnostics))


class UsageError(PicklableError):
    """A mistake outside the policy: an option, a file of prompts, a model's path. `diagnostic` says what to
    type.
    """

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic
        super().__init__(str(diagnostic))


# Bounds on the comparisons for one hint: letters of a word, known words, and the likeliest of these that are
# compared in full.
MOST_LETTERS, MOST_WORDS, MOST_COMPARED = 64, 500, 16
CLOSE = 0.6  # the share of all letters that are in both words


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """The known word closest to a misspelt one, if one is close. As `difflib.get_close_matches`, with bounded
    work.
    """
    word = word[:MOST_LETTERS]
    candidates = sorted(
        {one for one in known if _bound_by_length(word, one) >= CLOSE},
        key=lambda one: abs(len(one) - len(word)),
    )
    letters = Counter(word)
    bounds = sorted(
        ((_bound_by_letters(letters, len(word), one), one) for one in candidates[:MOST_WORDS]), reverse=True
    )
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(word)
    best, closest = CLOSE, None
    for bound, one in bounds[:MOST_COMPARED]:
        if bound < best:
            break
        matcher.set_seq1(one)
        if (ratio := matcher.ratio()) > best or (ratio == best and one > (closest or "")):
            best, closest = ratio, one
    return closest


def _bound_by_length(word: str, other: str) -> float:
    """An upper bound on the share of letters that two words can have in common."""
    return 2 * min(len(word), len(other)) / (len(word) + len(other) or 1)


def _bound_by_letters(letters: Counter[str], length: int, other: str) -> float:
    return 2 * (letters & Counter(other)).total() / (length + len(other) or 1)


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sorted by place, diagnostics without a place first; one per place and code."""
    seen: dict[tuple[int, int, str], Diagnostic] = {}
    for diagnostic in diagnostics:
        span = diagnostic.span
        seen.setdefault(
            (span.start, span.end, diagnostic.code) if span else (-1, len(seen), diagnostic.code), diagnostic
        )
    return [seen[key] for key in sorted(seen)]
