"""How is a statement laid out? Its spaces, its brackets, and the lines of a long or commented statement
inside brackets.

A line is broken only inside existing brackets: where they hold a comment, or where the line would be longer
than `LONGEST_LINE`. Unnecessary brackets are removed, unless a line is broken in them. Not here: comments
between statements, blank lines and blocks (`fmt`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple, assert_never

from . import syntax
from .scan import Piece, PieceKind
from .syntax import Expression
from .words import KEYWORDS

LONGEST_LINE = 120
INSIDE = 4  # extra indentation of a line inside brackets

# The precedence of a node. A node of lower precedence than its place requires gets brackets.
(
    _LOOSE,
    _ALTERNATIVE,
    _DISJUNCTION,
    _CONJUNCTION,
    _INVERSION,
    _COMPARISON,
    _SUM,
    _PRODUCT,
    _NEGATION,
    _POWER,
    _ATOM,
) = range(11)
_ARITHMETIC = {"+": _SUM, "-": _SUM, "**": _POWER}


class Operand(NamedTuple):
    """A part of a node, the text before it, and the precedence that it needs to stand without brackets.

    `keeps`: the author's brackets stay even so. `bare`: the brackets are written already.
    """

    before: str
    node: Expression
    level: int
    keeps: bool = False
    bare: bool = False


Part = str | Operand
_Logic = syntax.Conditional | syntax.Alternative | syntax.Disjunction | syntax.Conjunction
_Chain = syntax.Alternative | syntax.Disjunction | syntax.Conjunction | syntax.Arithmetic


def operands(node: Expression) -> list[Operand]:
    """The operands of the outermost operator. Empty for a name, number or call.

    Readers should not need to remember the precedence of `and`, `or`, `orelse` and `if`: among these, the
    author's brackets stay.
    """
    parts = _operands(node)
    if not isinstance(node, _Logic):
        return parts
    return [
        part._replace(keeps=isinstance(part.node, _Logic) and type(part.node) is not type(node))
        for part in parts
    ]


def _operands(node: Expression) -> list[Operand]:
    match node:
        case syntax.Conditional():
            choice = Operand("if ", node.condition, _ALTERNATIVE)
            return [Operand("", node.then, _ALTERNATIVE), choice, Operand("else ", node.otherwise, _LOOSE)]
        case syntax.Alternative():
            return _chain(node, "orelse", _ALTERNATIVE)
        case syntax.Disjunction():
            return _chain(node, "or", _DISJUNCTION)
        case syntax.Conjunction():
            return _chain(node, "and", _CONJUNCTION)
        case syntax.Inversion():
            return [Operand("not ", node.operand, _INVERSION)]
        case syntax.Comparison():
            signs = ["", *(f"{operator} " for operator in node.operators)]
            return [Operand(sign, operand, _SUM) for sign, operand in zip(signs, node.operands, strict=True)]
        case syntax.Arithmetic(operator="**"):
            return [Operand("", node.left, _ATOM), Operand("** ", node.right, _NEGATION)]
        case syntax.Arithmetic():
            return _chain(node, node.operator, _level(node))
        case syntax.Negation():
            return [Operand("-", node.operand, _NEGATION)]
        case syntax.Number() | syntax.Boolean() | syntax.Name() | syntax.Call():
            return []
        case _:
            assert_never(node)


def _chain(node: _Chain, sign: str, level: int) -> list[Operand]:
    return [Operand("", node.left, level), Operand(f"{sign} ", node.right, level + 1)]


def _level(node: Expression) -> int:
    match node:
        case syntax.Conditional():
            return _LOOSE
        case syntax.Alternative():
            return _ALTERNATIVE
        case syntax.Disjunction():
            return _DISJUNCTION
        case syntax.Conjunction():
            return _CONJUNCTION
        case syntax.Inversion():
            return _INVERSION
        case syntax.Comparison():
            return _COMPARISON
        case syntax.Arithmetic():
            return _ARITHMETIC.get(node.operator, _PRODUCT)
        case syntax.Negation():
            return _NEGATION
        case syntax.Number() | syntax.Boolean() | syntax.Name() | syntax.Call():
            return _ATOM
        case _:
            assert_never(node)


def _arguments(call: syntax.Call) -> list[Operand]:
    plain = [Operand("", each, _LOOSE) for each in call.arguments]
    return plain + [Operand(f"{each.identifier.text}=", each.value, _LOOSE) for each in call.keywords]


class Pieces:
    """The pieces of a text, indexed to find the brackets around a node."""

    def __init__(self, text: str, pieces: Sequence[Piece]) -> None:
        self.text = text
        self.solid = [piece for piece in pieces if piece.kind not in (PieceKind.COMMENT, PieceKind.BREAK)]
        self.starting = {piece.start: at for at, piece in enumerate(self.solid)}
        self.ending = {piece.end: at for at, piece in enumerate(self.solid)}

    def brackets(self, node: Expression) -> tuple[int, int] | None:
        """Start and end of the outermost brackets around a node. The brackets of a call do not count."""
        first, last = self.starting[node.span.start], self.ending[node.span.end]
        outer = None
        while self._groups(first - 1) and self.solid[last + 1].text == ")":
            first, last = first - 1, last + 1
            outer = (self.solid[first].start, self.solid[last].end)
        return outer

    def _groups(self, at: int) -> bool:
        before = self.solid[at - 1]
        return self.solid[at].text == "(" and (before.kind is not PieceKind.WORD or before.text in KEYWORDS)

    def shares_its_line(self, comment: Piece) -> bool:
        return bool(self.text[self.text.rfind("\n", 0, comment.start) + 1 : comment.start].strip())


def spelled(
    parts: Sequence[Part], pieces: Pieces, comments: Sequence[Piece], indent: int
) -> tuple[list[str], list[Piece]]:
    """The lines of a statement, and the comments inside it that are not inside an expression's brackets."""
    speller = _Speller(pieces)
    homeless = speller.take(comments, parts)
    lines = speller.lines(parts, indent)
    groups = [part for part in parts if isinstance(part, Operand) and speller.can_spread(part.node)]
    for part in sorted(groups, key=lambda part: part.node.span.start - part.node.span.end):
        if max(map(len, lines)) > LONGEST_LINE:
            speller.spread(part.node)
            lines = speller.lines(parts, indent)
    return lines, homeless


class _Group(NamedTuple):
    """A bracket that may be spread over lines: its start, its end, and the table that would record it."""

    start: int
    end: int
    node: Expression
    spread: dict[Expression, list[Piece]]


class _Speller:
    """Lays out one statement. `calls` and `brackets` are the spread ones, by node, with the comments directly
    inside them.
    """

    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces
        self.calls: dict[Expression, list[Piece]] = {}
        self.brackets: dict[Expression, list[Piece]] = {}

    # --- which brackets are spread

    def take(self, comments: Sequence[Piece], parts: Sequence[Part]) -> list[Piece]:
        """Spread every group that holds a comment; the innermost group stores it. Returns the comments
        outside all groups.
        """
        operands = [part for part in parts if isinstance(part, Operand)] if comments else []
        groups = deque(group for operand in operands for group in self._groups(operand.node))
        around: list[_Group] = []
        homeless: list[Piece] = []
        for comment in comments:
            while around and around[-1].end <= comment.start:
                around.pop()
            while groups and groups[0].start < comment.start:
                group = groups.popleft()
                if group.end > comment.start:
                    around.append(group)
            held = [group.spread.setdefault(group.node, []) for group in around]
            (held[-1] if held else homeless).append(comment)
        return homeless

    def _groups(self, node: Expression) -> Iterator[_Group]:
        """The calls and brackets of an expression, outermost first and from left to right."""
        around = self.pieces.brackets(node)
        if around is not None:
            yield _Group(*around, node, self.brackets)
        if isinstance(node, syntax.Call):
            yield _Group(node.function.span.end, node.span.end, node, self.calls)
        for operand in _arguments(node) if isinstance(node, syntax.Call) else operands(node):
            yield from self._groups(operand.node)

    def can_spread(self, node: Expression) -> bool:
        """Whether the node has brackets that could be spread and are not yet."""
        if node in self.calls or node in self.brackets:
            return False
        return isinstance(node, syntax.Call) or (
            len(operands(node)) > 1 and self.pieces.brackets(node) is not None
        )

    def spread(self, node: Expression) -> None:
        (self.calls if isinstance(node, syntax.Call) else self.brackets)[node] = []

    # --- lines

    def lines(self, parts: Sequence[Part], indent: int) -> list[str]:
        lines = [" " * indent]
        for part in parts:
            _go_on(lines, [part] if isinstance(part, str) else self._operand(part, indent))
        return lines

    def _operand(self, operand: Operand, indent: int) -> list[str]:
        """The lines of an operand. The first line continues the line before it."""
        node, lines = operand.node, [operand.before]
        if node in self.brackets and not operand.bare:
            links = self._links(node) or [Operand("", node, _LOOSE, bare=True)]
            _go_on(lines, self._spread_out("(", links, "", self.brackets[node], indent))
        elif _level(node) < operand.level or (operand.keeps and self.pieces.brackets(node) is not None):
            _go_on(lines, ["("])
            _go_on(lines, self._bare(node, indent))
            _go_on(lines, [")"])
        else:
            _go_on(lines, self._bare(node, indent))
        return lines

    def _links(self, node: Expression) -> list[Operand]:
        """The operands of a chain `a + b - c` as one list, to write one per line."""
        links = operands(node)
        while (
            isinstance(node, _Chain)
            and _level(links[0].node) == _level(node) < _POWER
            and links[0].node not in self.brackets
        ):
            links = [*operands(links[0].node), *links[1:]]
        return links

    def _bare(self, node: Expression, indent: int) -> list[str]:
        if isinstance(node, syntax.Call):
            return self._call(node, indent)
        parts = operands(node)
        lines = [""] if parts else [node.span.text]
        for at, part in enumerate(parts):
            _go_on(lines, [" " if at else ""])
            _go_on(lines, self._operand(part, indent))
        return lines

    def _call(self, call: syntax.Call, indent: int) -> list[str]:
        arguments, opening = _arguments(call), f"{call.function.text}("
        if call in self.calls:
            return self._spread_out(opening, arguments, ",", self.calls[call], indent)
        lines = [opening]
        for at, argument in enumerate(arguments):
            _go_on(lines, [", " if at else ""])
            _go_on(lines, self._operand(argument, indent))
        _go_on(lines, [")"])
        return lines

    def _spread_out(
        self, opening: str, items: Sequence[Operand], behind: str, comments: Sequence[Piece], indent: int
    ) -> list[str]:
        """Brackets with one item per line, each with its comments."""
        margin = " " * (indent + INSIDE)
        above, beside = placed([item.node.span.start for item in items], comments, self.pieces)
        lines = [opening]
        for at, item in enumerate(items):
            lines += [margin + comment for comment in above[at]]
            lines += self._item(item, indent + INSIDE)
            lines[-1] += behind + beside[at]
        return [*lines, *(margin + comment for comment in above[-1]), " " * indent + ")"]

    def _item(self, item: Operand, indent: int) -> list[str]:
        lines = self.lines([item], indent)
        if max(map(len, lines)) > LONGEST_LINE and self.can_spread(item.node):
            self.spread(item.node)
            lines = self.lines([item], indent)
        return lines


def placed(
    starts: Sequence[int], comments: Sequence[Piece], pieces: Pieces
) -> tuple[list[list[str]], list[str]]:
    """The comments of a list whose items start at `starts`: those above each item and above the end, and the
    one beside each item.
    """
    above: list[list[str]] = [[] for _ in range(len(starts) + 1)]
    beside = [""] * len(starts)
    for comment in comments:
        begun = bisect_left(starts, comment.start)
        text = comment.text.rstrip()
        if begun and pieces.shares_its_line(comment) and not beside[begun - 1]:
            beside[begun - 1] = f"  {text}"
        else:
            above[begun].append(text)
    return above, beside


def _go_on(lines: list[str], more: Sequence[str]) -> None:
    """Append text. Its first line continues the last line."""
    lines[-1] += more[0]
    lines += more[1:]
