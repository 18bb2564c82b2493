"""Parses the values in a row of a case: one for each position, or a list of positions.

Not here: which rows a case has, and in which order (`cases`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..diagnostics import Diagnostic
from ..language.words import SPECIAL_IDS, WORDS, Kind
from ..source import Span
from . import quoted

MOST_POSITIONS = 1024
# Observations by the values that a case gives for them: ids, numbers from 0 to 1, numbers from 0 on.
TOKENS, SHARES, AMOUNTS = (
    tuple(
        word.name
        for word in WORDS.values()
        if word.observation and word.gives is not None and word.gives.kind in kinds
    )
    for kinds in ({Kind.TOKEN}, {Kind.PROB}, {Kind.NATS, Kind.LOGIT})
)

# Values without a number: an observation that is not needed, a position without a token, no position. The
# special tokens are written by their words.
NOT_NEEDED, MASKED, NONE = ".", "_", "-"
EXAMPLES = (
    {"canvas": "7", "start": "_"} | dict.fromkeys(TOKENS, "7") | dict.fromkeys((*SHARES, *AMOUNTS), "0.5")
)

WHOLE = re.compile(r"[0-9]{1,9}")
REAL = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|inf")

Cell = int | float | str | None


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A line: its first word, and the places of the others. `cells`: the values, None for `.`, a string for
    `_` and the words of special tokens.
    """

    name: str
    span: Span
    words: tuple[Span, ...]
    cells: tuple[Cell, ...] = ()


class RowValues:
    """Parses the values of rows, and adds a diagnostic to `wrong` for each mistake."""

    def __init__(self, wrong: list[Diagnostic]) -> None:
        self.wrong = wrong

    def say(self, code: str, message: str, span: Span, label: str = "", help: str = "") -> None:
        self.wrong.append(Diagnostic(code, message, span, label, help))

    def cells(self, row: CaseRow, length: int | None) -> tuple[Cell, ...] | None:
        """One value for each of `length` positions; None where something is wrong."""
        before = len(self.wrong)
        if len(row.words) > MOST_POSITIONS:
            self._too_long(row)
        elif length is None or len(row.words) != length:
            self._miscounted(row, length)
        cells = tuple(self._cell(row.name, word) for word in row.words[:MOST_POSITIONS])
        return cells if len(self.wrong) == before else None

    def _too_long(self, row: CaseRow) -> None:
        message = f"this row has {len(row.words)} values; a case has at most {MOST_POSITIONS} positions"
        self.say("E0445", message, row.words[MOST_POSITIONS])

    def _miscounted(self, row: CaseRow, length: int | None) -> None:
        has = f"this row has {len(row.words)} value{'s' * (len(row.words) != 1)}"
        if length is None:
            self.say(
                "E0443",
                has,
                row.span,
                "it has one for each position",
                f"for example `{row.name} {EXAMPLES[row.name]}`",
            )
            return
        filler = MASKED if row.name == "start" else NOT_NEEDED
        help = f"write one for each position, `{filler}` where there is no value"
        at = row.words[length] if len(row.words) > length else row.span
        self.say("E0443", f"{has}, and the case has {length} position{'s' * (length != 1)}", at, help=help)

    def _cell(self, name: str, word: Span) -> Cell:
        text = word.text
        if name in SHARES or name in AMOUNTS:
            if text == NOT_NEEDED:
                return None
            most, amount = (
                (1.0, "a number from 0 to 1") if name in SHARES else (float("inf"), "a number of 0 or more")
            )
            if REAL.fullmatch(text) and float(text) <= most:
                return float(text)
            help = f"write a number such as `{EXAMPLES[name]}`, or `.` where the position is written already"
            self.say("E0443", f"`{name}` is {amount}, not {quoted(text)}", word, help=help)
            return None
        if WHOLE.fullmatch(text):
            return int(text)
        if text in SPECIAL_IDS or (text == MASKED and name not in TOKENS):
            return text
        if text != NOT_NEEDED or name == "start":
            more = {
                "start": "`_` for a masked position",
                "canvas": "`_` for a masked position or `.` for any",
            }.get(name, "`.`")
            self.say(
                "E0443",
                f"{quoted(text)} is not a token",
                word,
                help=f"write an id like `7`, `eos`, or {more}",
            )
        return None

    def candidate(self, row: CaseRow) -> tuple[int, ...]:
        """The number of a candidate."""
        if len(row.words) == 1 and WHOLE.fullmatch(row.words[0].text):
            return (int(row.words[0].text),)
        help = "write the number of the candidate that goes on, from 0 on: `pick 1`"
        self.say("E0443", "`pick` takes one number", row.span, help=help)
        return ()

    def positions(self, row: CaseRow, length: int) -> tuple[int, ...]:
        """A list of positions; empty for `-` alone, or nothing."""
        if [word.text for word in row.words] == [NONE]:
            return ()
        if len(row.words) > MOST_POSITIONS:
            self._too_long(row)
            return ()
        found: set[int] = set()
        for word in row.words:
            if not WHOLE.fullmatch(word.text) or int(word.text) >= length:
                help = f"write positions from 0 to {max(length, 1) - 1}, as in `{row.name} 0`, or `{row.name} -` for none"
                self.say("E0443", f"{quoted(word.text)} is not a position of this case", word, help=help)
            elif int(word.text) in found:
                self.say("E0443", f"position {word.text} stands here twice", word, help="leave it once")
            else:
                found.add(int(word.text))
        return tuple(sorted(found))
