"""What is the canonical layout of a policy's text? Blocks, blank lines, and the places of comments.

A comment at the end of a line stays there. A comment on its own line stays before the next statement. A
comment in a list stays with the item before it. The result is parsed again, and its tree is compared with the
original, before it is returned. Not here: the layout of one statement (`spell`), files (`tools.fmt`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import assert_never

from ..diagnostics import Diagnostic
from ..source import Source
from . import syntax
from .lines import TAB, Line, logical_lines
from .parse import BYTE_ORDER_MARK, parse
from .scan import Piece, PieceKind, pieces
from .spell import INSIDE, LONGEST_LINE, Operand, Part, Pieces, placed, spelled

STEP = 2
_CONDITION = 1  # in a phase's header a conditional keeps its brackets: the level of `orelse`


def formatted(source: Source) -> tuple[str | None, list[Diagnostic]]:
    """The text in its canonical form, or the diagnostics that prevent it."""
    if source.text.startswith(BYTE_ORDER_MARK):
        source = Source(source.text[1:], source.name)
    tree, diagnostics = parse(source)
    if tree is None:
        return None, diagnostics
    text = _Formatter(source, tree).text()
    again, diagnostics = parse(Source(text, source.name))
    if again is None and {diagnostic.code for diagnostic in diagnostics} <= {"E0104", "E0108"}:
        return None, diagnostics  # the text was just within the limits
    if again is None or skeleton(again) != skeleton(tree) or _comments(text) != _comments(source.text):
        raise AssertionError(
            f"formatting `{source.name}` would change it: this is a mistake of dsldec's, please report it"
        )
    return text, []


def skeleton(node: object) -> object:
    """A tree without its spans, for comparison."""
    if isinstance(node, syntax.Node):
        return (
            type(node).__name__,
            *(skeleton(getattr(node, each.name)) for each in fields(node) if each.name != "span"),
        )
    return tuple(map(skeleton, node)) if isinstance(node, tuple) else (type(node).__name__, node)


def _comments(text: str) -> Counter[str]:
    return Counter(piece.text.rstrip() for piece in pieces(text) if piece.kind is PieceKind.COMMENT)


@dataclass(slots=True)
class _OutputLine:
    """A line of the result before comments: the parts of its statement, its level, and whether it opens a
    block.
    """

    parts: Sequence[Part]
    level: int = 1
    node: syntax.Node | None = None

    @property
    def opens(self) -> bool:
        return isinstance(self.node, syntax.PolicyDefinition | syntax.Phase | syntax.Branch)


class _Formatter:
    """Walks through the lines of a text and its tree in parallel, and places the comments."""

    def __init__(self, source: Source, tree: syntax.PolicyFile) -> None:
        everything = [*pieces(source.text)]
        self.source, self.policy = source, tree.policy
        self.pieces = Pieces(source.text, everything)
        self.comments = deque(piece for piece in everything if piece.kind is PieceKind.COMMENT)
        self.lines, _ = logical_lines(
            source, [piece for piece in everything if piece.kind is not PieceKind.COMMENT]
        )
        self.out: list[str] = []
        self.level = 0  # of the last line written
        self.columns: dict[int, int] = {}  # in the source, of the last line of each level
        self.read_to = 0  # the end of that line in the source
        self.is_block_start = True

    def text(self) -> str:
        for line, written in zip(self.lines, self._all(), strict=True):
            self._comments_above(line, written)
            self._line(line, written)
        self._comments_below()
        first_break = self.source.text.find("\n")
        line_break = "\r\n" if first_break > 0 and self.source.text[first_break - 1] == "\r" else "\n"
        return line_break.join(self.out) + line_break

    def _all(self) -> Iterator[_OutputLine]:
        yield _OutputLine([], 0, self.policy)
        if self.policy.doc is not None:
            yield _OutputLine([self.policy.doc.span.text])
        yield from _of_block(self.policy.statements, 1)
        for phase in self.policy.phases:
            yield _OutputLine(parts_of_phase(phase), 1, phase)
            yield from _of_block(phase.statements, 2)

    # --- lines

    def _line(self, line: Line, written: _OutputLine) -> None:
        inside, beside = self._comments_of(line)
        if isinstance(written.node, syntax.PolicyDefinition):
            lines, beside = self._header(inside, beside)
        else:
            lines, homeless = spelled(written.parts, self.pieces, inside, written.level * STEP)
            lines = [" " * written.level * STEP + comment.text.rstrip() for comment in homeless] + lines
        if beside is not None:
            lines[-1] += f"  {beside.text.rstrip()}"
        self._write(
            lines, written.level, line.start, line.end if beside is None else max(line.end, beside.end)
        )
        self.is_block_start = written.opens
        self.columns = {level: at for level, at in self.columns.items() if level < written.level}
        self.columns[written.level] = line.column

    def _header(self, inside: Sequence[Piece], beside: Piece | None) -> tuple[list[str], Piece | None]:
        """The lines of the policy's header (one line if it fits and holds no comment), and the comment beside
        its end.
        """
        parameters = [self._parameter(parameter) for parameter in self.policy.parameters]
        starts = [parameter.span.start for parameter in self.policy.parameters]
        name = self.policy.identifier.text
        last = inside[-1] if inside else None
        # `):` follows the last parameter, so a comment beside that parameter is beside the header.
        if (
            last
            and beside is None
            and starts
            and starts[-1] < last.start
            and self.pieces.shares_its_line(last)
            and _is_first(inside, starts[-1])
        ):
            inside, beside = inside[:-1], last
        flat = f"policy {name}({', '.join(parameters)}):"
        if not inside and (len(flat) <= LONGEST_LINE or not parameters):
            return [flat], beside
        above, sides = placed(starts, inside, self.pieces)
        lines, margin = [f"policy {name}("], " " * INSIDE
        for at, parameter in enumerate(parameters):
            lines += [margin + comment for comment in above[at]]
            lines.append(f"{margin}{parameter},{sides[at]}")
        if above[-1] or not parameters or sides[-1]:
            return [*lines, *(margin + comment for comment in above[-1]), "):"], beside
        lines[-1] = f"{margin}{parameters[-1]}):"
        return lines, beside

    def _parameter(self, parameter: syntax.Parameter) -> str:
        kind = " | ".join(choice.text for choice in parameter.choices) or parameter.kind.text
        text = f"{parameter.identifier.text}: {kind}"
        if parameter.default is not None:
            text = f"{text} = {self._literal(parameter.default)}"
        if parameter.range is None:
            return text
        return f"{text} in {self._literal(parameter.range.first)}..{self._literal(parameter.range.last)}"

    def _literal(self, literal: syntax.Literal | syntax.Quoted | syntax.ChoiceName) -> str:
        last = self.pieces.solid[self.pieces.ending[literal.span.end]].text
        return f"-{last}" if literal.span.text.startswith("-") else last

    # --- comments

    def _comments_of(self, line: Line) -> tuple[list[Piece], Piece | None]:
        inside = self._comments_before(line.end)
        if self.comments and "\n" not in self.source.text[line.end : self.comments[0].start]:
            return inside, self.comments.popleft()
        return inside, None

    def _comments_before(self, place: int) -> list[Piece]:
        comments = []
        while self.comments and self.comments[0].start < place:
            comments.append(self.comments.popleft())
        return comments

    def _comments_above(self, line: Line, written: _OutputLine) -> None:
        comments = deque(self._comments_before(line.start))
        while comments and self._level_of(comments[0]) > written.level:
            comment = comments.popleft()  # it belongs to the block before
            self._comment(comment, self._level_of(comment))
        if isinstance(written.node, syntax.Phase) and not self.is_block_start:
            self.out.append("")
            self.is_block_start = True  # the next statement needs no other empty line
        for comment in comments:
            self._comment(comment, written.level)

    def _comments_below(self) -> None:
        for comment in self.comments:
            self._comment(comment, self._level_of(comment))

    def _level_of(self, comment: Piece) -> int:
        """The level of a comment below a block: its own indentation, at most the level of the line before
        it.
        """
        column = len(
            self.source.text[self.source.text.rfind("\n", 0, comment.start) + 1 : comment.start].expandtabs(
                TAB
            )
        )
        return min(self.level, sum(column > of_level for of_level in self.columns.values()))

    def _comment(self, comment: Piece, level: int) -> None:
        self._write([" " * level * STEP + comment.text.rstrip()], level, comment.start, comment.end)
        self.is_block_start = False

    def _write(self, lines: Sequence[str], level: int, start: int, end: int) -> None:
        if not self.is_block_start and self.source.text.count("\n", self.read_to, start) > 1:
            self.out.append("")
        self.out += lines
        self.level, self.read_to = level, end


def _is_first(comments: Sequence[Piece], start: int) -> bool:
    return sum(comment.start > start for comment in comments) == 1


# --- statements ---------------------------------------------------------------------------------------------


def _of_block(statements: Sequence[syntax.Statement], level: int) -> Iterator[_OutputLine]:
    """The lines of a block of statements. The body of a `branch` is one level further in."""
    deeper = [0] * len(statements)
    for at, statement in enumerate(statements):
        yield _OutputLine(parts_of(statement), level + deeper[at], statement)
        if isinstance(statement, syntax.Branch):
            for inside in range(at + 1, at + 1 + statement.size):
                deeper[inside] += 1


def _value(node: syntax.Expression, level: int = 0) -> Operand:
    return Operand("", node, level)


def _optional(before: str, node: syntax.Expression | None, level: int = 0) -> list[Part]:
    return [] if node is None else [before, _value(node, level)]


def _bound(word: str, bound: syntax.AtLeast | syntax.AtMost | None) -> list[Part]:
    return [] if bound is None else [f" at {word} ", _value(bound.count), *_optional(" by ", bound.score)]


def parts_of_phase(phase: syntax.Phase) -> list[Part]:
    """The header of a phase as texts and expressions."""
    visits = _optional(" at most ", phase.visits, _CONDITION)
    condition = _optional(" when ", phase.condition, _CONDITION)
    otherwise = "" if phase.otherwise is None else f" else {phase.otherwise.text}"
    return [
        f"phase {phase.identifier.text}",
        *visits,
        " visits" if visits else "",
        *condition,
        f"{otherwise}:",
    ]


def parts_of(statement: syntax.Statement) -> list[Part]:
    """A statement as texts and expressions. They need no text that the tree was read from."""
    match statement:
        case syntax.Window(shape=value):
            return ["window ", _value(value)]
        case syntax.Noise(source=value):
            return ["noise ", _value(value)]
        case syntax.Draw(method=value):
            return ["draw ", _value(value)]
        case syntax.Logits(transform=value):
            return ["logits ", _value(value)]
        case syntax.Lookahead(drafts=drafts, condition=condition):
            return [
                "lookahead ",
                _value(drafts),
                " accept ",
                "exact" if condition is None else _value(condition),
            ]
        case syntax.StateDeclaration():
            each = " each" if statement.each else ""
            name = f"state {statement.identifier.text}: {statement.kind.text}{each} = "
            return [name, _value(statement.start), f" per {statement.scope.text}"]
        case syntax.FunctionDeclaration():
            names = ", ".join(parameter.text for parameter in statement.parameters)
            return [f"def {statement.identifier.text}({names}) = ", _value(statement.body)]
        case syntax.Commit():
            bounds = _bound("least", statement.at_least) + _bound("most", statement.at_most)
            return ["commit ", _value(statement.mask), *_optional(" as ", statement.ids), *bounds]
        case syntax.Revoke():
            return ["revoke ", _value(statement.mask), *_bound("most", statement.at_most)]
        case syntax.Edit():
            bounds = _bound("most", statement.at_most)
            return ["edit ", _value(statement.mask), *_optional(" as ", statement.ids), *bounds]
        case syntax.Fill() | syntax.Refresh() | syntax.Finish():
            word = type(statement).__name__.lower()
            return [word, *_optional(" when ", statement.condition)]
        case syntax.Next():
            return [f"next {statement.phase.text}", *_optional(" when ", statement.condition)]
        case syntax.Stay():
            return ["stay at most ", _value(statement.count), *_optional(" when ", statement.condition)]
        case syntax.Set():
            return [f"set {statement.identifier.text} = ", _value(statement.value)]
        case syntax.Branch():
            return ["branch ", _value(statement.count), f" as {statement.identifier.text}:"]
        case syntax.Pick():
            return ["pick by ", _value(statement.score)]
        case syntax.Let():
            return [f"{statement.identifier.text} = ", _value(statement.value)]
        case _:
            assert_never(statement)
