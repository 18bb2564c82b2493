"""Parses a file of cases: for each forward of a case, the observations and the expected actions.

No text raises an exception: mistakes are diagnostics. Not here: the values in a row (`case_values`), running
a case (`replay`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..diagnostics import Diagnostic, did_you_mean, in_order
from ..source import Source, Span
from . import quoted
from .case_values import AMOUNTS, MOST_POSITIONS, NONE, SHARES, TOKENS, WHOLE, CaseRow, Cell, RowValues

LARGEST_TEXT = 256 * 1024
MOST_FORWARDS = 10_000
# The largest sum of squared positions of all forwards: some words compare each pair of positions.
MOST_SQUARES = MOST_POSITIONS**2
MOST_DIAGNOSTICS = 100
OBSERVATIONS = (*TOKENS, *SHARES, *AMOUNTS)
POSITIONS = ("commit", "revoke", "edit")
EXPECTED = (*POSITIONS, "pick", "canvas", "phase", "refresh", "done")
SETTINGS = ("set", "gen", "start")
ROWS = ("case", *SETTINGS, *OBSERVATIONS, *EXPECTED)

_WORD = re.compile(r"[^\s#]+")


@dataclass(frozen=True, slots=True)
class CaseForward:
    """One forward: the rows of observations and the rows of expected actions, by name."""

    observed: Mapping[str, CaseRow]
    expected: Mapping[str, CaseRow]

    @property
    def span(self) -> Span:
        return next(iter(self.observed.values())).span


@dataclass(frozen=True, slots=True)
class Case:
    """A case of `length` positions: parameter values as written, the first canvas, the forwards."""

    title: str
    span: Span
    settings: tuple[Span, ...]
    length: int
    start: CaseRow | None
    forwards: tuple[CaseForward, ...]


@dataclass(slots=True)
class _UnfinishedCase:
    """A case that is not read to its end."""

    header: CaseRow
    settings: list[Span] = field(default_factory=list)
    length: int | None = None
    start: CaseRow | None = None
    forwards: list[CaseForward] = field(default_factory=list)
    observed: dict[str, CaseRow] = field(default_factory=dict)
    expected: dict[str, CaseRow] = field(default_factory=dict)
    unclear: bool = False  # an unknown line of it may be the one that seems to be missing

    def close(self) -> None:
        """Ends the forward being read."""
        if self.observed:
            self.forwards.append(CaseForward(self.observed, self.expected))
        self.observed, self.expected = {}, {}


def read_cases(source: Source) -> tuple[list[Case], list[Diagnostic]]:
    """The correct cases of a text in order, and every mistake by place."""
    if len(source.text) > LARGEST_TEXT:
        message = f"this text has {len(source.text)} characters; a file of cases has at most {LARGEST_TEXT}"
        return [], [
            Diagnostic(
                "E0445",
                message,
                Span(source, 0, 1),
                help="split it: a case is small enough to follow on paper",
            )
        ]
    reader = _CaseReader()
    offset = 0
    for text in source.text.split("\n"):
        words = [
            Span(source, offset + word.start(), offset + word.end())
            for word in _WORD.finditer(text.partition("#")[0])
        ]
        offset += len(text) + 1
        if words and len(reader.wrong) < MOST_DIAGNOSTICS:
            reader.line(words)
    reader.end()
    if not reader.drafts and not reader.wrong:
        help = "begin with a line `case NAME`, then the observations and the expected actions"
        reader.wrong.append(Diagnostic("E0442", "this file holds no case", Span(source, 0, 0), help=help))
    return reader.cases, in_order(reader.wrong)[:MOST_DIAGNOSTICS]


class _CaseReader:
    """Reads a text line by line."""

    def __init__(self) -> None:
        self.wrong: list[Diagnostic] = []
        self.values = RowValues(self.wrong)
        self.say = self.values.say
        self.drafts: list[_UnfinishedCase] = []
        self.cases: list[Case] = []
        self.forwards = self.squares = 0
        self.mistakes_before = 0  # of the case being read

    def line(self, words: list[Span]) -> None:
        name, row = words[0].text, CaseRow(words[0].text, words[0].to(words[-1]), tuple(words[1:]))
        if name not in ROWS:
            near = did_you_mean(name, ROWS)
            help = (
                f"did you mean `{near}`?"
                if near
                else f"a line begins with one of {', '.join(f'`{row}`' for row in ROWS)}"
            )
            self.say("E0441", f"no line of a case begins with {quoted(name)}", words[0], help=help)
            if self.drafts:
                self.drafts[-1].unclear = True
        elif name == "case":
            self.begin(row)
        elif not self.drafts:
            self.say(
                "E0442",
                f"`{name}` stands before the first case",
                words[0],
                help="begin with a line `case NAME`",
            )
        elif name in SETTINGS:
            self.setting(row, self.drafts[-1])
        elif name in OBSERVATIONS:
            self.observation(row, self.drafts[-1])
        else:
            self.expectation(row, self.drafts[-1])

    def begin(self, row: CaseRow) -> None:
        self.end()
        self.mistakes_before = len(self.wrong)
        self.drafts.append(_UnfinishedCase(row))
        if not row.words:
            self.say(
                "E0442",
                "this case has no name",
                row.span,
                help="describe it: `case a tie goes to the lower position`",
            )

    def end(self) -> None:
        """Ends the case being read."""
        if not self.drafts:
            return
        draft = self.drafts[-1]
        span = draft.header.span
        if draft.observed and not draft.expected and not draft.unclear:
            help = "add a line `commit` with the expected positions, or with none"
            self.say(
                "E0442",
                "this forward does not say what the policy must do",
                next(iter(draft.observed.values())).span,
                help=help,
            )
        draft.close()
        if not draft.forwards and len(self.wrong) == self.mistakes_before:
            self.say(
                "E0442",
                "this case has no forward",
                span,
                help="add a row of what is observed: `conf .9 .5`, and `commit 0` below it",
            )
        if len(self.wrong) == self.mistakes_before:
            assert draft.length is not None
            title = span.source.text[draft.header.words[0].start : span.end]
            self.cases.append(
                Case(title, span, tuple(draft.settings), draft.length, draft.start, tuple(draft.forwards))
            )

    def setting(self, row: CaseRow, draft: _UnfinishedCase) -> None:
        if draft.observed or draft.forwards:
            self.say(
                "E0442",
                f"`{row.name}` stands after a forward of this case",
                row.span,
                help="move it up, below `case`",
            )
        elif row.name == "set":
            for word in row.words:
                if not re.fullmatch("[^=]+=[^=]+", word.text):
                    self.say(
                        "E0443",
                        f"`set` takes name=value, not {quoted(word.text)}",
                        word,
                        help="write `set confidence=0.9`",
                    )
            draft.settings += row.words
        elif row.name == "gen":
            self.length(row, draft)
        elif draft.start is not None:
            self.say("E0442", "this case starts twice", row.span, help="leave one `start` row")
        elif (cells := self.cells(row, draft)) is not None:
            draft.start = CaseRow(row.name, row.span, row.words, cells)

    def length(self, row: CaseRow, draft: _UnfinishedCase) -> None:
        texts = [word.text for word in row.words]
        if draft.length is not None:
            self.say(
                "E0442",
                "the number of positions is known already",
                row.span,
                help="let one `gen` stand first, or none",
            )
        elif len(texts) != 1 or not WHOLE.fullmatch(texts[0]) or not 1 <= int(texts[0]) <= MOST_POSITIONS:
            self.say(
                "E0443",
                f"`gen` takes one number from 1 to {MOST_POSITIONS}",
                row.span,
                help="write `gen 8`, or leave the line out",
            )
        else:
            draft.length = int(texts[0])

    def observation(self, row: CaseRow, draft: _UnfinishedCase) -> None:
        if draft.expected:
            if "done" in draft.expected:
                help = "leave `done` to the last forward of the case"
                self.say("E0442", "this forward comes after `done`", row.span, help=help)
            draft.close()
        begins = not draft.observed
        if begins:
            self.forwards += 1
            if self.forwards == MOST_FORWARDS + 1:
                self.say(
                    "E0445", f"this file has more than {MOST_FORWARDS} forwards", row.span, help="split it"
                )
        if row.name in draft.observed and not draft.unclear:
            help = "write what the policy must do between two forwards: a line `commit`"
            self.say("E0442", f"this forward has two `{row.name}` rows", row.span, help=help)
        cells = self.cells(row, draft)
        draft.observed.setdefault(row.name, CaseRow(row.name, row.span, row.words, cells or ()))
        if begins and self.squares <= MOST_SQUARES:
            self.squares += (draft.length or 0) ** 2
            if self.squares > MOST_SQUARES:
                help = "split it, or give the cases fewer positions: the squares of the positions of all forwards are added"
                self.say("E0445", "this file takes too long to run", row.span, help=help)

    def expectation(self, row: CaseRow, draft: _UnfinishedCase) -> None:
        if not draft.observed:
            if not draft.unclear:
                help = "write the observations first: a row like `conf .9 .5`"
                self.say(
                    "E0442", f"`{row.name}` stands before the first forward of this case", row.span, help=help
                )
            return
        if row.name in draft.expected:
            help = "write them in one row" if row.name in POSITIONS else "leave one of them"
            self.say("E0442", f"this forward has two `{row.name}` rows", row.span, help=help)
        cells: Sequence[Cell] | None = ()
        if row.name in POSITIONS:
            cells = self.values.positions(row, draft.length or 0)
        elif row.name == "canvas":
            cells = self.cells(row, draft)
        elif row.name == "refresh":
            if [word.text for word in row.words] not in ([], [NONE]):
                help = "write `refresh` alone: the step asks for new keys and values; or `refresh -`: it does not"
                self.say("E0443", "`refresh` takes nothing, or `-`", row.span, help=help)
        elif row.name == "pick":
            cells = self.values.candidate(row)
        elif len(row.words) != (row.name == "phase"):
            help = (
                "write `phase` and the name of one"
                if row.name == "phase"
                else "write `done` alone: decoding is over with this step"
            )
            self.say(
                "E0443",
                f"`{row.name}` takes {'one name' if row.name == 'phase' else 'nothing'}",
                row.span,
                help=help,
            )
        draft.expected.setdefault(row.name, CaseRow(row.name, row.span, row.words, tuple(cells or ())))

    def cells(self, row: CaseRow, draft: _UnfinishedCase) -> tuple[Cell, ...] | None:
        """One value for each position. The first row of a case sets the number of positions."""
        if draft.length is None and 1 <= len(row.words) <= MOST_POSITIONS:
            draft.length = len(row.words)
        return self.values.cells(row, draft.length)
