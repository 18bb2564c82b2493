"""Are the lines of a policy indented as its blocks, and in the right order: header, description, statements,
phases?

These mistakes are found before parsing: the parser would report a wrong indentation late and at another
place. Not here: whether a line is a statement (`parse`, `mistakes`), the canonical layout (`fmt`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, Fix, did_you_mean
from ..source import Span
from .lines import BEGINNERS, Line
from .scan import PieceKind

_HEADERS = frozenset({"policy", "phase", "branch"})
# A line that ends in a word of the first set continues on the next line. A line that begins with a word of
# the second set continues the line before it.
_UNFINISHED = frozenset(
    "and or not orelse if else when by as at per in = == != < > <= >= + - * / // % ** ,".split()
)
_CONTINUING = frozenset("and or orelse if else when by as at == != < > <= >= + - * / // % ** , )".split())
_AS_NEIGHBOURS = "start it at the column of its neighbours"


def layout_mistakes(lines: Sequence[Line]) -> list[Diagnostic]:
    """Mistakes in indentation and order, one diagnostic per cause. A line with a mistake is not `sound` any
    more.
    """
    if mixed := _mixed_indentation(lines):
        return [mixed]  # columns have no meaning then
    return _Blocks(lines).mistakes


def _mixed_indentation(lines: Sequence[Line]) -> Diagnostic | None:
    first = ""
    for line in lines:
        first = first or line.indent[:1]
        if line.indent.strip(first):
            style = {" ": "spaces", "\t": "tabs"}
            both = len(set(line.indent)) > 1
            how = (
                "both tabs and spaces"
                if both
                else f"{style[line.indent[0]]}, the lines above with {style[first]}"
            )
            return Diagnostic(
                "E0102",
                f"this line is indented with {how}",
                line.span,
                help="indent every line with spaces, two a block",
            )
    return None


def _opens(line: Line) -> bool:
    """Whether this line may open a block."""
    is_let = len(line.pieces) > 1 and line.pieces[1].text == "="
    return line.pieces[-1].text == ":" or (line.head in _HEADERS and not is_let and not _goes_on(line))


def _goes_on(line: Line) -> bool:
    """Whether text follows a header's colon."""
    depth = 0
    for piece in line.pieces[:-1]:
        depth += (piece.text == "(") - (piece.text == ")")
        if piece.text == ":" and depth == 0:
            return True
    return False


class _Blocks:
    """Walks over the lines. `columns` are the columns of the open blocks, outermost first."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.mistakes: list[Diagnostic] = []
        self.lines = lines
        self.columns = [0]
        self.before: Line | None = None
        self.wrong_column: int | None = None  # a wrongly indented block is one mistake, not one per line
        self.policy: Line | None = None
        self.has_statements = self.has_phases = self.has_late = self.is_over = False
        for line in lines:
            self._line(line)
        self._end()

    def _say(self, line: Line, code: str, message: str, help: str, fix: Fix | None = None) -> None:
        self.mistakes.append(Diagnostic(code, message, line.span, help=help, fix=fix))

    def _line(self, line: Line) -> None:
        if self.is_over:
            line.sound = False
        elif line.head == "policy":
            self._policy(line)
        elif self.policy is None and self.before is None:
            self._headless(line)
        else:
            self._place(line)
            self._order(line)
        self.before = line

    # --- headers

    def _policy(self, line: Line) -> None:
        if self.policy is not None:
            self._say(line, "E0101", "a file holds one policy", "move this one to a file of its own")
            line.sound, self.is_over = False, True
            return
        if line.column:
            blanks = Span(line.source, line.start - len(line.indent), line.start)
            message, help_ = "a policy starts at the beginning of a line", "remove the blanks before it"
            self._say(line, "E0102", message, help_, Fix(blanks, ""))
        self.policy, self.columns = line, [line.column]

    def _headless(self, line: Line) -> None:
        """The first line is not a policy's header. A misspelt header is diagnosed when it is parsed."""
        if did_you_mean(line.head, BEGINNERS) == "policy":
            self.policy = line
        if line.head != "phase" and (_opens(line) or self.policy is line):
            self.columns = [line.column]
            return
        first = line.pieces[0]
        span = line.part(first.start, min(first.end, line.span.end))
        help_ = "write `policy NAME():` above it, and indent what belongs to the policy"
        self.mistakes.append(Diagnostic("E0101", "a policy starts with its header", span, help=help_))
        self.columns = [-1, line.column]
        self.has_phases = line.head == "phase"

    # --- indentation

    def _place(self, line: Line) -> None:
        column, header = line.column, self.before
        assert header is not None
        may_open = _opens(header) or header.head in _HEADERS or len(self.columns) == 1
        if may_open and column > self.columns[-1]:
            self.columns.append(column)
        elif header.sound and header.head in _HEADERS and _opens(header) and not self._is_empty(header, line):
            fix = self._indented(line, " " * (header.column + 2))
            self._say(line, "E0102", "this line should be indented", "put two more spaces before it", fix)
            self.columns.append(column)  # so its neighbours get no diagnostic
        elif column > self.columns[-1]:
            self._further(line)
        elif column in self.columns[1:]:
            while self.columns[-1] != column:
                self.columns.pop()
            self.wrong_column = None
        else:
            self._nowhere(line)

    def _indented(self, line: Line, indent: str) -> Fix:
        """The fix that gives a line and all directly below it with its column another indentation."""
        text, at = line.source.text, self.lines.index(line)
        alike = [line]
        for one in self.lines[at + 1 :]:
            if one.column < line.column or one.head == "policy":
                break
            alike.append(one)
        start, made = line.start - len(line.indent), ""
        for one, following in zip(alike, [*alike[1:], None], strict=True):
            end = one.end if following is None else following.start - len(following.indent)
            made += indent + one.indent[len(line.indent) :] + text[one.start : end]
        return Fix(Span(line.source, start, alike[-1].end), made)

    def _is_empty(self, header: Line, line: Line) -> bool:
        """Whether the block of `header` is empty: `line` belongs to the surrounding block."""
        next_header = "pick" if header.head == "branch" else "phase"
        if header.head == "policy" or not (line.head == next_header or line.column < header.column):
            return False
        self._say(
            header,
            "E0101",
            f"this {header.head} has no statements",
            "add what a step does in it, indented: `commit masked`",
        )
        return True

    def _further(self, line: Line) -> None:
        assert self.before is not None
        continues = line.head in _CONTINUING
        if line.column != self.wrong_column and self.before.pieces[-1].text not in _UNFINISHED:
            help_ = (
                "put brackets around an expression of several lines: `( ... )`"
                if continues
                else _AS_NEIGHBOURS
            )
            fix = None if continues else self._indented(line, self.before.indent)
            self._say(line, "E0102", "this line is indented further than the one before it", help_, fix)
        # Otherwise the line before ends too early, and gets the diagnostic.
        line.sound = line.sound and not continues and self.before.pieces[-1].text not in _UNFINISHED
        self.wrong_column = line.column

    def _nowhere(self, line: Line) -> None:
        if line.column == self.wrong_column:
            return
        self.wrong_column = line.column
        if line.column == self.columns[0] or len(self.columns) == 1:
            self._say(
                line,
                "E0102",
                "this line should be indented",
                "put two spaces before it: a policy is one block",
                self._indented(line, " " * max(self.columns[1:2], default=2)),
            )
        else:
            near = min(self.columns[1:], key=lambda column: abs(column - line.column))
            fix = self._indented(line, " " * near)
            self._say(line, "E0102", "no line above has this indentation", _AS_NEIGHBOURS, fix)

    # --- order

    def _order(self, line: Line) -> None:
        body = self.columns[1] if len(self.columns) > 1 else None
        if line.pieces[0].kind is PieceKind.QUOTED:
            if self.before is not self.policy or self.policy is None:
                self._say(
                    line,
                    "E0101",
                    "a text in quotes cannot stand here",
                    "a policy's description is the first line under its header",
                )
                line.sound = False
            return
        self.has_statements = True
        if line.head == "phase":
            self._phase(line, body)
        elif self.has_phases and not self.has_late and len(self.columns) == 2 and line.column == body:
            self.has_late = True
            self._say(
                line,
                "E0101",
                "this statement stands after a phase",
                "move it before the first phase, or into a phase",
            )

    def _phase(self, line: Line, body: int | None) -> None:
        self.has_phases = True
        if body is not None and line.column > body and line.column == self.columns[-1]:
            self._say(
                line,
                "E0101",
                "a phase cannot stand inside another",
                f"start it where the phases before it start: at column {body + 1}",
            )
        elif line.column == body:
            del self.columns[2:]

    def _end(self) -> None:
        last = self.before
        is_header = last is not None and last.head in ("phase", "branch")
        if last is not None and is_header and last.sound and _opens(last) and not self.is_over:
            self._say(
                last,
                "E0101",
                f"this {last.head} has no statements",
                "add what a step does in it, indented: `commit masked`",
            )
        elif (
            self.policy is not None
            and not self.has_statements
            and self.policy.sound
            and not _goes_on(self.policy)
        ):
            self._say(
                self.policy,
                "E0101",
                "this policy has no statements",
                "add them below it, indented: `window blocks(32)`",
            )
