"""How does a text become a tree?

`parse(source)` returns the tree, or diagnostics in the user's words; it raises for no text. First the text is
split into pieces and lines, which finds mistakes that a grammar finds late or never. Then the grammar reads
the whole text. Where that fails, it reads line by line, so that each wrong line gets one diagnostic. Not
here: lark's parser (`grammar`), the diagnostic of a wrong line (`mistakes`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from ..diagnostics import Diagnostic, Fix, in_order
from ..source import Source, Span
from . import syntax
from .grammar import Stopped, read
from .layout import layout_mistakes
from .limits import DEEPEST_NESTING as DEEPEST_NESTING
from .limits import LARGEST_INT as LARGEST_INT
from .limits import LARGEST_REAL as LARGEST_REAL
from .limits import MOST_DIAGNOSTICS as MOST_DIAGNOSTICS
from .limits import nested_too_deep, number, number_too_large, pieces_within, unusable
from .lines import Line, logical_lines
from .mistakes import Stuck, explained, value_missing
from .scan import Piece, PieceKind
from .words import (
    DRAWS,
    KEYWORDS,
    NOISES,
    PARAMETER_KINDS,
    SOFT_KEYWORDS,
    STATE_KINDS,
    TRANSFORMS,
    WINDOWS,
    Kind,
    Word,
)

if TYPE_CHECKING:
    from .grammar import Token, Tree

LONGEST_REMEMBERED = 400  # characters of a line
BYTE_ORDER_MARK = "\ufeff"
SMALLEST = "policy mine():\n  window blocks(32)\n  commit top(masked, 1, by=conf)\n"


def parse(source: Source) -> tuple[syntax.PolicyFile | None, list[Diagnostic]]:
    """The tree of a policy file, or all diagnostics that prevent it, sorted by place."""
    if source.text.startswith(BYTE_ORDER_MARK):
        source = Source(source.text[1:], source.name)
    if refusal := unusable(source):
        return None, [refusal]
    pieces, refusal = pieces_within(source)
    if refusal is not None:
        return None, [refusal]
    lines, mistakes = logical_lines(source, pieces)
    if not lines:
        return None, [_empty(source)]
    mistakes += layout_mistakes(lines)
    stopped, own = None, _own_names(lines)
    if not mistakes:
        found = read(source.text)
        if not isinstance(found, Stopped):
            tree, wrong = _built(source, found, own)
            return tree, in_order(_by_their_names(source, pieces, wrong))[:MOST_DIAGNOSTICS] if wrong else []
        stopped = found
    for line in lines:
        if line.sound and len(mistakes) < MOST_DIAGNOSTICS:
            mistakes += _alone(line, own)
    if stopped is not None and not mistakes:  # every line is right, but in the wrong place
        mistakes = [_misplaced(lines, stopped)]
    return None, in_order(_by_their_names(source, pieces, mistakes))[:MOST_DIAGNOSTICS]


def _own_names(lines: Sequence[Line]) -> frozenset[str]:
    """The keywords that name a parameter, a state, a value, or the number of a candidate in the text."""
    named = set[str]()
    for line in lines:
        before = ("state",) if line.head == "state" else ("(", ",") if line.head == "policy" else ()
        named |= {
            b.text for a, b, c in zip(line.pieces, line.pieces[1:], line.pieces[2:], strict=False)
            if a.text in before and c.text == ":"
        }  # fmt: skip
        if len(line.pieces) > 1 and line.pieces[1].text == "=":
            named.add(line.head)
        if line.head == "branch" and len(line.pieces) > 2 and line.pieces[-1].text == ":":
            named.add(line.pieces[-2].text)
    return SOFT_KEYWORDS & named


def _by_their_names(source: Source, pieces: Sequence[Piece], mistakes: list[Diagnostic]) -> list[Diagnostic]:
    """A parameter or state with the name of a keyword is one mistake. Each use of it is not another."""
    kinds = {str(kind) for kind in STATE_KINDS | PARAMETER_KINDS}
    named = [
        a
        for a, b, c in zip(pieces, pieces[1:], pieces[2:], strict=False)
        if a.text in KEYWORDS - SOFT_KEYWORDS and b.text == ":" and c.text in kinds
    ]
    words = {piece.text for piece in named}
    rest = [mistake for mistake in mistakes if mistake.span is None or mistake.span.text not in words]
    spans = [Span(source, piece.start, piece.start + len(piece.text)) for piece in named]
    taken = [
        Diagnostic(
            "E0202", f"`{s.text}` is a word of the language", s, help=f"take another name: `my_{s.text}`"
        )
        for s in spans
    ]
    return rest + taken


def _empty(source: Source) -> Diagnostic:
    message = "this text contains no policy" if source.text.strip() else "this text is empty"
    span = Span(source, 0, 0)
    return Diagnostic("E0103", message, span, help="start with `policy NAME():`", fix=Fix(span, SMALLEST))


def _built(
    source: Source, tree: Tree[Any], own: frozenset[str]
) -> tuple[syntax.PolicyFile | None, list[Diagnostic]]:
    builder = _TreeBuilder(source, own)
    policy = builder.build(tree)
    return (None, builder.mistakes) if builder.mistakes else (policy, [])


def _alone(line: Line, own: frozenset[str]) -> list[Diagnostic]:
    """The diagnostics of one line, independent of its neighbours: it is parsed in a policy that has nothing
    else.
    """
    before, behind = _surroundings(line)
    text = before + line.source.text[line.start : line.end] + behind
    if len(text) <= LONGEST_REMEMBERED and _is_right(text, own):
        return []
    found = read(text)
    shift = line.start - len(before)
    if isinstance(found, Stopped):
        at = next(
            (i for i, piece in enumerate(line.pieces) if piece.start >= found.at + shift), len(line.pieces)
        )
        return [explained(Stuck(line, at, found.accepts))]
    builder = _TreeBuilder(line.source, own, shift)
    builder.build(found)
    return builder.mistakes


# An editor asks for nearly the same text after each character, so the right lines are remembered.
@lru_cache(maxsize=4096)
def _is_right(text: str, own: frozenset[str]) -> bool:
    found = read(text)
    if isinstance(found, Stopped):
        return False
    builder = _TreeBuilder(Source(text), own)
    builder.build(found)
    return not builder.mistakes


def _misplaced(lines: list[Line], stopped: Stopped) -> Diagnostic:
    line = next((line for line in lines if line.end > stopped.at), lines[-1])
    return Diagnostic("E0101", "this line cannot stand here", line.span)


def _surroundings(line: Line) -> tuple[str, str]:
    if line.head == "policy":
        return "", "\n  finish\n"
    if line.head in ("phase", "branch"):
        return "policy p():\n  ", "\n    finish\n"
    return "policy p():\n  ", "\n  finish\n" if line.pieces[0].kind is PieceKind.QUOTED else "\n"


# --- lark's tree to ours ------------------------------------------------------------------------------------

_EXPRESSIONS = frozenset(
    "conditional alternative disjunction conjunction inversion comparison arithmetic negation call name number boolean".split()
)


class _TreeBuilder:
    """Builds our nodes from lark's. A rule's children are the fields of its class; a method named like the
    rule handles exceptions.

    Uses an explicit stack: a long chain of operators is a deep tree, and must not overflow Python's stack.
    """

    def __init__(self, source: Source, own: frozenset[str], shift: int = 0) -> None:
        self.source, self.own = source, own
        self.shift = shift
        self.mistakes: list[Diagnostic] = []
        self.depth: dict[int, int] = {}

    def build(self, tree: Tree[Any]) -> syntax.PolicyFile:
        built: dict[int, Any] = {}
        for node in tree.iter_subtrees():  # children before their parents
            children = [built.get(id(child), child) for child in node.children]
            span = self._span(node)
            self._check_depth(node, span)
            method = getattr(self, node.data, None)
            built[id(node)] = (
                method(span, *children) if method is not None else _CLASSES[node.data](span, *children)
            )
        result: syntax.PolicyFile = built[id(tree)]
        return result

    def _span(self, node: Tree[Any]) -> Span:
        if node.meta.empty:
            return Span(self.source, 0, 0)
        start, end = node.meta.start_pos + self.shift, node.meta.end_pos + self.shift
        # A rule that ends in a dedent ends where its text ends.
        return Span(self.source, start, start + len(self.source.text[start:end].rstrip()))

    def _check_depth(self, node: Tree[Any], span: Span) -> None:
        below = max((self.depth.get(id(child), 0) for child in node.children), default=0)
        self.depth[id(node)] = depth = below + (node.data in _EXPRESSIONS)
        if depth > DEEPEST_NESTING >= below:
            self.mistakes.append(nested_too_deep(Span(self.source, span.start, span.start + 1)))

    # The file

    def policy(
        self, span: Span, identifier: Any, parameters: Any, doc: Any, *body: Any
    ) -> syntax.PolicyDefinition:
        phases = tuple(part for part in body if isinstance(part, syntax.Phase))
        statements = _flat(part for part in body if not isinstance(part, syntax.Phase))
        return syntax.PolicyDefinition(span, identifier, parameters or (), doc, statements, phases)

    def phase(
        self, span: Span, identifier: Any, visits: Any, condition: Any, otherwise: Any, *statements: Any
    ) -> syntax.Phase:
        return syntax.Phase(span, identifier, visits, condition, otherwise, _flat(statements))

    def branch(self, span: Span, count: Any, identifier: Any, *statements: Any) -> tuple[Any, ...]:
        """The statement and its body as a list, which becomes a part of the list around it."""
        body = _flat(statements)
        text = self.source.text[span.start : body[0].span.start].rstrip()
        header = Span(self.source, span.start, span.start + len(text))
        return (syntax.Branch(header, count, identifier, len(body)), *body)

    def doc(self, span: Span, token: Token) -> syntax.Doc:
        return syntax.Doc(span, _unquoted(token))

    def quoted(self, span: Span, token: Token) -> syntax.Quoted:
        return syntax.Quoted(span, _unquoted(token))

    def parameter(self, span: Span, identifier: Any, kind: Any, index: Any, *rest: Any) -> syntax.Parameter:
        *others, default, range_ = rest
        choices = (kind, *others) if others else ()
        last = others[-1] if others else index or kind
        whole = Span(self.source, kind.span.start, last.span.end)
        if choices:
            kind = syntax.Identifier(whole, str(Kind.CHOICE))
        elif index is not None and (kind.text, index.text) != ("table", "id"):
            kind = syntax.Identifier(whole, f"{kind.text} by {index.text}")
        return syntax.Parameter(span, identifier, kind, default, range_, choices)

    def choice_name(self, span: Span, identifier: syntax.Identifier) -> syntax.ChoiceName:
        return syntax.ChoiceName(span, identifier.text)

    # Statements

    def state(
        self, span: Span, identifier: Any, kind: Any, each: Any, start: Any, scope: Any
    ) -> syntax.StateDeclaration:
        return syntax.StateDeclaration(span, identifier, kind, each is not None, start, scope)

    def function(self, span: Span, identifier: Any, names: Any, body: Any) -> syntax.FunctionDeclaration:
        return syntax.FunctionDeclaration(span, identifier, names or (), body)

    def lookahead(self, span: Span, drafts: Any, acceptance: Any) -> syntax.Lookahead:
        return syntax.Lookahead(
            span, drafts, acceptance if isinstance(acceptance, syntax.Expression) else None
        )

    def window(self, span: Span, shape: Any) -> syntax.Window:
        return syntax.Window(span, _by_place(shape, WINDOWS))

    def noise(self, span: Span, source: Any) -> syntax.Noise:
        return syntax.Noise(span, _by_place(source, NOISES))

    def draw(self, span: Span, method: Any) -> syntax.Draw:
        return syntax.Draw(span, _by_place(method, DRAWS))

    def logits(self, span: Span, transform: Any) -> syntax.Logits:
        return syntax.Logits(span, _by_place(transform, TRANSFORMS))

    # Expressions

    def comparison(self, span: Span, *parts: Any) -> syntax.Comparison:
        return syntax.Comparison(span, parts[::2], tuple(str(operator) for operator in parts[1::2]))

    def arithmetic(self, span: Span, left: Any, operator: Token, right: Any) -> syntax.Arithmetic:
        return syntax.Arithmetic(span, left, str(operator), right)

    def call(self, span: Span, function: Any, arguments: Any) -> syntax.Call:
        self._no_keyword(function)
        everything: tuple[Any, ...] = arguments or ()
        keywords = tuple(each for each in everything if isinstance(each, syntax.Keyword))
        plain = tuple(each for each in everything if not isinstance(each, syntax.Keyword))
        if keywords and plain and everything.index(keywords[0]) < everything.index(plain[-1]):
            help_ = f"write it before `{keywords[0].span.text}`"
            message = f"`{plain[-1].span.text}` stands after a named argument"
            self.mistakes.append(Diagnostic("E0101", message, plain[-1].span, help=help_))
        return syntax.Call(span, function, plain, keywords)

    def name(self, span: Span, identifier: syntax.Identifier) -> syntax.Name:
        if identifier.text not in self.own:
            self._no_keyword(identifier)
        return syntax.Name(span, identifier.text)

    def _no_keyword(self, identifier: syntax.Identifier) -> None:
        if identifier.text in KEYWORDS:
            self.mistakes.append(value_missing(identifier.span))

    def boolean(self, span: Span, token: Token) -> syntax.Boolean:
        return syntax.Boolean(span, token == "true")

    def number(self, span: Span, token: Token) -> syntax.Number:
        return syntax.Number(span, self._value(span, token))

    def literal(self, span: Span, minus: Any, token: Token) -> syntax.Literal:
        if token.type == "NUMBER":
            value = self._value(span, token)
            return syntax.Literal(span, value if minus is None else -value)
        if minus is not None:
            self.mistakes.append(
                Diagnostic(
                    "E0101", f"`{span.text}` is not a number", span, help="write `true` or `false` alone"
                )
            )
        return syntax.Literal(span, token == "true")

    def _value(self, span: Span, token: Token) -> int | float:
        value = number(token)
        if value is None:
            self.mistakes.append(number_too_large(Span(self.source, span.end - len(token), span.end)))
        return value or 0

    def identifier(self, span: Span, token: Token) -> syntax.Identifier:
        return syntax.Identifier(span, str(token))

    # Parts that are a list

    def parameters(self, span: Span, *parameters: Any) -> tuple[Any, ...]:
        return tuple(each for each in parameters if each is not None)

    names = arguments = parameters


def _unquoted(token: Token) -> str:
    quotes = 3 if token.startswith('"""') else 1
    return str(token)[quotes:-quotes]


def _flat(statements: Iterable[Any]) -> tuple[Any, ...]:
    """The statements of a block, with those of each `branch` behind it."""
    lists = (part if isinstance(part, tuple) else (part,) for part in statements)
    return tuple(statement for part in lists for statement in part)


def _by_place(shape: Any, words: Mapping[str, Word]) -> Any:
    """Rewrite `gumbel(temperature=0.7)` as `gumbel(0.7)`: named arguments become positional where all earlier
    arguments are given.
    """
    word = words.get(shape.function.text) if isinstance(shape, syntax.Call) else None
    if word is None or len({keyword.identifier.text for keyword in shape.keywords}) != len(shape.keywords):
        return shape
    named = {keyword.identifier.text: keyword for keyword in shape.keywords}
    places = takewhile(
        lambda slot: slot.name in named and not slot.named and not slot.many,
        word.slots[len(shape.arguments) :],
    )
    placed = [named[slot.name] for slot in places]
    rest = tuple(keyword for keyword in shape.keywords if keyword not in placed)
    return syntax.Call(
        shape.span, shape.function, (*shape.arguments, *(keyword.value for keyword in placed)), rest
    )


def _rule(class_name: str) -> str:
    """The rule of a class: `at_least` for `AtLeast`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", class_name).lower()


_CLASSES: dict[str, Any] = {
    _rule(name): each
    for name, each in vars(syntax).items()
    if isinstance(each, type) and issubclass(each, syntax.Node)
}
