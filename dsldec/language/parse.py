"""Text to tree. The only importer of lark.

`parse(source)` gives the tree, or diagnostics in the user's words: never an exception, whatever the text. Limits on
size and nesting are checked before they can hurt.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any, NoReturn

import lark
from lark.indenter import DedentError, Indenter

from ..diagnostics import Diagnostic, did_you_mean
from ..resources import grammar_file
from ..source import Source, Span
from . import syntax
from .words import RESERVED, STATEMENTS

LARGEST_TEXT = 256 * 1024
DEEPEST_NESTING = 100
LARGEST_GAP = 100
LARGEST_INT = 10**9
LARGEST_REAL = 1e30


class _Indentation(Indenter):
    NL_type = "_NL"
    OPEN_PAREN_types = ["LPAR"]  # noqa: RUF012 (lark asks for a list)
    CLOSE_PAREN_types = ["RPAR"]  # noqa: RUF012
    INDENT_type = "_INDENT"
    DEDENT_type = "_DEDENT"
    tab_len = 8


class _Refused(Exception):
    """A tree node that cannot be built; carries the diagnostic out of lark."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        self.diagnostic = diagnostic


@cache
def _parser() -> lark.Lark:
    return lark.Lark(
        grammar_file().read_text(encoding="utf-8"),
        start="policy_file",
        parser="lalr",
        postlex=_Indentation(),
        maybe_placeholders=True,
        propagate_positions=True,
    )


def parse(source: Source) -> tuple[syntax.PolicyFile | None, list[Diagnostic]]:
    """The tree of a policy file, or what keeps the text from being one."""
    if unusable := _unusable(source):
        return None, [unusable]
    try:
        # One line break more than there may be: the last statement of a block must end in one.
        tree = _parser().parse(source.text + "\n")
        return _Builder(source).build(tree), []
    except _Refused as refused:
        return None, [refused.diagnostic]
    except DedentError:
        return None, [_bad_indentation(source)]
    except lark.UnexpectedInput as error:
        return None, [_unexpected(source, error)]


# --- before parsing -----------------------------------------------------------------------------------------------


def _unusable(source: Source) -> Diagnostic | None:
    text = source.text
    if len(text) > LARGEST_TEXT:
        span = Span(source, 0, 1)
        return Diagnostic("E0104", f"this text has {len(text)} characters; a policy has at most {LARGEST_TEXT}", span)
    if not text.strip():
        return Diagnostic("E0103", "this text is empty", None, help="start with `policy NAME():`")
    for at, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            return Diagnostic("E0103", "this text holds a byte that no text has", Span(source, at, at + 1))
    return _too_deep(source)


def _too_deep(source: Source) -> Diagnostic | None:
    depth = 0
    for at, character in enumerate(source.text):
        depth += (character in "([") - (character in ")]")
        if depth > DEEPEST_NESTING:
            return _nesting(Span(source, at, at + 1))
    return None


def _nesting(span: Span) -> Diagnostic:
    return Diagnostic(
        "E0105",
        f"this is nested more than {DEEPEST_NESTING} deep",
        span,
        help="give a part of it a name on a line of its own: `part = ...`",
    )


# --- lark's tree to ours ------------------------------------------------------------------------------------------


class _Builder:
    """Builds our nodes from lark's, one method a grammar rule, named as the rule.

    Works with an explicit stack: a long chain of operators is a deep tree, and must not overflow Python's own stack.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.depth: dict[int, int] = {}

    def build(self, tree: lark.Tree[Any]) -> syntax.PolicyFile:
        built: dict[int, Any] = {}
        for node in tree.iter_subtrees():  # children before their parents
            children = [self._child(child, built) for child in node.children]
            span = self._span(node)
            self._check_depth(node, span)
            built[id(node)] = getattr(self, node.data)(span, *children)
        result: syntax.PolicyFile = built[id(tree)]
        return result

    def _child(self, child: Any, built: dict[int, Any]) -> Any:
        return built[id(child)] if isinstance(child, lark.Tree) else child

    def _span(self, node: lark.Tree[Any]) -> Span:
        if node.meta.empty:
            return Span(self.source, 0, 0)
        start, end = node.meta.start_pos, node.meta.end_pos
        # A rule that ends in a dedent ends where its text does.
        return Span(self.source, start, start + len(self.source.text[start:end].rstrip()))

    def _check_depth(self, node: lark.Tree[Any], span: Span) -> None:
        below = max((self.depth[id(c)] for c in node.children if isinstance(c, lark.Tree)), default=0)
        self.depth[id(node)] = below + 1
        if below >= DEEPEST_NESTING:
            raise _Refused(_nesting(Span(self.source, span.start, span.start + 1)))

    def _token_span(self, token: lark.Token) -> Span:
        assert token.start_pos is not None
        return Span(self.source, token.start_pos, token.start_pos + len(token))

    # The file

    def policy_file(self, span: Span, policy: syntax.Policy) -> syntax.PolicyFile:
        return syntax.PolicyFile(span, policy)

    def policy(self, span: Span, identifier: Any, parameters: Any, doc: Any, *body: Any) -> syntax.Policy:
        phases = tuple(part for part in body if isinstance(part, syntax.Phase))
        late = next((part for part in body[body.index(phases[0]) :] if part not in phases), None) if phases else None
        if late is not None:
            help_ = "move it before the first phase, or into a phase"
            raise _Refused(Diagnostic("E0101", "this statement stands after a phase", late.span, help=help_))
        statements = tuple(part for part in body if part not in phases)
        return syntax.Policy(span, identifier, tuple(parameters or ()), doc, statements, phases)

    def phase(self, span: Span, identifier: Any, visits: Any, condition: Any, otherwise: Any, *statements: Any) -> syntax.Phase:
        return syntax.Phase(span, identifier, visits, condition, otherwise, statements)

    def parameters(self, span: Span, *parameters: Any) -> tuple[Any, ...]:
        return tuple(p for p in parameters if p is not None)

    def parameter(self, span: Span, identifier: Any, kind: Any, default: Any, range_: Any) -> syntax.Parameter:
        return syntax.Parameter(span, identifier, kind, default, range_)

    def range(self, span: Span, first: Any, last: Any) -> syntax.Range:
        return syntax.Range(span, first, last)

    def doc(self, span: Span, token: lark.Token) -> syntax.Doc:
        quotes = 3 if token.startswith('"""') else 1
        return syntax.Doc(span, str(token)[quotes:-quotes])

    # Statements

    def window(self, span: Span, shape: Any) -> syntax.Window:
        return syntax.Window(span, shape)

    def draw(self, span: Span, way: Any) -> syntax.Draw:
        return syntax.Draw(span, way)

    def logits(self, span: Span, transform: Any) -> syntax.Logits:
        return syntax.Logits(span, transform)

    def state(self, span: Span, identifier: Any, kind: Any, each: Any, start: Any, scope: Any) -> syntax.State:
        return syntax.State(span, identifier, kind, each is not None, start, scope)

    def function(self, span: Span, identifier: Any, names: Any, body: Any) -> syntax.Function:
        return syntax.Function(span, identifier, names or (), body)

    def names(self, span: Span, *names: Any) -> tuple[Any, ...]:
        return tuple(name for name in names if name is not None)

    def commit(self, span: Span, mask: Any, ids: Any, at_least: Any, at_most: Any) -> syntax.Commit:
        return syntax.Commit(span, mask, ids, at_least, at_most)

    def revoke(self, span: Span, mask: Any, at_most: Any) -> syntax.Revoke:
        return syntax.Revoke(span, mask, at_most)

    def edit(self, span: Span, mask: Any, ids: Any, at_most: Any) -> syntax.Edit:
        return syntax.Edit(span, mask, ids, at_most)

    def fill(self, span: Span, condition: Any) -> syntax.Fill:
        return syntax.Fill(span, condition)

    def next(self, span: Span, phase: Any, condition: Any) -> syntax.Next:
        return syntax.Next(span, phase, condition)

    def finish(self, span: Span, condition: Any) -> syntax.Finish:
        return syntax.Finish(span, condition)

    def set(self, span: Span, identifier: Any, value: Any) -> syntax.Set:
        return syntax.Set(span, identifier, value)

    def at_least(self, span: Span, count: Any, score: Any) -> syntax.AtLeast:
        return syntax.AtLeast(span, count, score)

    def at_most(self, span: Span, count: Any, score: Any) -> syntax.AtMost:
        return syntax.AtMost(span, count, score)

    def let(self, span: Span, identifier: Any, value: Any) -> syntax.Let:
        return syntax.Let(span, identifier, value)

    # Expressions

    def conditional(self, span: Span, then: Any, condition: Any, otherwise: Any) -> syntax.Conditional:
        return syntax.Conditional(span, then, condition, otherwise)

    def alternative(self, span: Span, left: Any, right: Any) -> syntax.Alternative:
        return syntax.Alternative(span, left, right)

    def disjunction(self, span: Span, left: Any, right: Any) -> syntax.Disjunction:
        return syntax.Disjunction(span, left, right)

    def conjunction(self, span: Span, left: Any, right: Any) -> syntax.Conjunction:
        return syntax.Conjunction(span, left, right)

    def inversion(self, span: Span, operand: Any) -> syntax.Inversion:
        return syntax.Inversion(span, operand)

    def comparison(self, span: Span, *parts: Any) -> syntax.Comparison:
        return syntax.Comparison(span, parts[::2], tuple(str(operator) for operator in parts[1::2]))

    def arithmetic(self, span: Span, left: Any, operator: lark.Token, right: Any) -> syntax.Arithmetic:
        return syntax.Arithmetic(span, left, str(operator), right)

    def negation(self, span: Span, operand: Any) -> syntax.Negation:
        return syntax.Negation(span, operand)

    def call(self, span: Span, function: Any, arguments: Any) -> syntax.Call:
        given = arguments or ()
        keywords = tuple(a for a in given if isinstance(a, syntax.Keyword))
        late = next((a for i, a in enumerate(given) if not isinstance(a, syntax.Keyword) and i >= len(given) - len(keywords)), None)
        if keywords and late is not None:
            message = f"`{late.span.text}` stands after a named argument"
            raise _Refused(Diagnostic("E0101", message, late.span, help=f"write it before `{keywords[0].span.text}`"))
        return syntax.Call(span, function, tuple(a for a in given if not isinstance(a, syntax.Keyword)), keywords)

    def arguments(self, span: Span, *arguments: Any) -> tuple[Any, ...]:
        return tuple(a for a in arguments if a is not None)

    def keyword(self, span: Span, identifier: Any, value: Any) -> syntax.Keyword:
        return syntax.Keyword(span, identifier, value)

    def name(self, span: Span, identifier: syntax.Identifier) -> syntax.Name:
        return syntax.Name(span, identifier.text)

    def boolean(self, span: Span, token: lark.Token) -> syntax.Boolean:
        return syntax.Boolean(span, token == "true")

    def number(self, span: Span, token: lark.Token) -> syntax.Number:
        return syntax.Number(span, self._value(token))

    def literal(self, span: Span, minus: Any, token: lark.Token) -> syntax.Literal:
        if token.type != "NUMBER":
            if minus is not None:
                self._not_a_number(span)
            return syntax.Literal(span, token == "true")
        value = self._value(token)
        return syntax.Literal(span, -value if minus is not None else value)

    def identifier(self, span: Span, token: lark.Token) -> syntax.Identifier:
        return syntax.Identifier(span, str(token))

    def _not_a_number(self, span: Span) -> NoReturn:
        raise _Refused(Diagnostic("E0101", f"`{span.text}` is not a number", span, help="write `true` or `false` alone"))

    def _value(self, token: lark.Token) -> int | float:
        whole = token.isdigit()
        if (whole and len(token) > 18) or float(token) > (LARGEST_INT if whole else LARGEST_REAL):
            most = LARGEST_INT if whole else LARGEST_REAL
            raise _Refused(Diagnostic("E0107", "this number is too large", self._token_span(token), help=f"the largest is {most:g}"))
        value = float(token)
        assert math.isfinite(value)
        return int(token) if whole else value


# --- lark's errors in the user's words ----------------------------------------------------------------------------

# What the user would type where lark expects a terminal; several terminals may share one answer.
LOOKALIKES = {"≥": ">=", "≤": "<=", "≠": "!=", "−": "-", "×": "*", "&": "and", "|": "or", "!": "not", "“": '"', "”": '"'}
EXPECTED = {
    "TRUE": "`true`",
    "FALSE": "`false`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "COLON": "`:`",
    "EQUAL": "`=`",
    "COMMA": "`,`",
    "_NL": "the end of the line",
    "_INDENT": "an indented line",
    "_DEDENT": "the end of the policy",
    "$END": "the end of the policy",
    "NAME": "a name",
    "NUMBER": "a number",
    "AT": "`at least N by SCORE`",
    "BY": "`by SCORE`",
    "LEAST": "`at least N by SCORE`",
    "MOST": "`at most N by SCORE`",
    "POLICY": "`policy NAME(...):`",
    "__DOTDOT": "`..`",
    "COMMIT": "a statement",
    "WINDOW": "a statement",
    "STRING": "a text in quotes",
}


def _unexpected(source: Source, error: lark.UnexpectedInput) -> Diagnostic:
    if isinstance(error, lark.UnexpectedCharacters):
        return _unexpected_character(source, error.pos_in_stream or 0)
    assert isinstance(error, lark.UnexpectedToken)
    token = error.token
    # What the parser would really take next; its tables alone also list what some other context would.
    expected = error.accepts or error.expected
    start = min(token.start_pos if token.start_pos is not None else len(source.text), len(source.text))
    if (token.type == "$END" or token.type.startswith("_")) and (bracket := _unclosed(source)):
        return Diagnostic("E0101", "this bracket is never closed", bracket, help="write `)` where it ends")
    if token.type == "_INDENT" or "_INDENT" in expected:
        return _wrong_indent(source, token)
    if token.type in ("$END", "_NL", "_DEDENT"):
        end = len(source.text[:start].rstrip())
        span = Span(source, max(0, end - 1), end)
        too_early = Diagnostic("E0101", f"the line ends too early: expected {_listed(expected)}", span, "after this")
        return _not_a_statement(source, Span(source, end, end)) or too_early
    span = Span(source, start, start + len(token))
    if str(token) in RESERVED:
        return _not_yet(span)
    operator = next((o for o in ("**", "//") if source.text.startswith(o, start - 1)), None)
    if operator is not None:
        return _not_yet(Span(source, start - 1, start + 1))
    return _not_a_statement(source, span) or Diagnostic(
        "E0101", f"`{_short(token)}` cannot stand here", span, f"expected {_listed(expected)}"
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _unclosed(source: Source) -> Span | None:
    """The innermost `(` that no `)` closes; comments and texts in quotes do not count."""
    waiting: list[int] = []
    for found in re.finditer(r"#[^\n]*|\"[^\"\n]*\"|[()]", source.text):
        if found.group() == "(":
            waiting.append(found.start())
        elif found.group() == ")" and waiting:
            waiting.pop()
    return Span(source, waiting[-1], waiting[-1] + 1) if waiting else None


def _listed(expected: set[str]) -> str:
    names = sorted({EXPECTED[t] for t in expected if t in EXPECTED})
    return " or ".join(names[:5]) or "something else"


def _unexpected_character(source: Source, at: int) -> Diagnostic:
    span = Span(source, at, at + 1)
    character = source.text[at : at + 1]
    if character == "%":
        return _not_yet(span)
    if character in LOOKALIKES:
        return Diagnostic("E0101", f"`{character}` is not part of the language", span, help=f"write `{LOOKALIKES[character]}`")
    if character in "[]{}":
        return Diagnostic("E0101", f"`{character}` is not part of the language", span, help="use `(` and `)`")
    if character in "\"'":
        return Diagnostic("E0101", "this text in quotes cannot stand here or is not closed", span, help='write "..." on one line')
    return _not_a_statement(source, span) or Diagnostic("E0101", f"`{character}` cannot stand here", span)


def _first_word(source: Source, at: int) -> Span | None:
    """The word that the line holding `at` begins with, if it lies before `at`."""
    begin = source.text.rfind("\n", 0, at) + 1
    line = source.text[begin:at]
    word = line.split()[0] if line.split() else ""
    return Span(source, begin + line.index(word), begin + line.index(word) + len(word)) if word.isidentifier() else None


def _not_a_statement(source: Source, found: Span) -> Diagnostic | None:
    """A better diagnostic where the line's first word is no statement: the mistake is there, not where parsing stopped."""
    word = _first_word(source, found.start) or (found if found.text.isidentifier() else None)
    if word is None or word.text in STATEMENTS or word.text == "policy":
        return None
    if re.match(r"[ \t]*=(?!=)", source.text[word.end : word.end + LARGEST_GAP]):
        return None  # `name = ...`: the mistake is further on
    if word.text in RESERVED:
        return _not_yet(word)
    close = did_you_mean(word.text, {*STATEMENTS, "policy"})
    hint = f"did you mean `{close}`?" if close else f"a line starts with {_words(STATEMENTS)}, or gives a value a name: `sure = conf > 0.9`"
    return Diagnostic("E0101", f"`{_short(word.text)}` is not a statement", word, help=hint)


def _not_yet(span: Span) -> Diagnostic:
    return Diagnostic("E0106", f"`{span.text}` is a word of the language that this version cannot use yet", span)


def _words(words: frozenset[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))


def _wrong_indent(source: Source, token: lark.Token) -> Diagnostic:
    # lark places the token on the line break before the line it is about.
    assert token.start_pos is not None
    end = token.end_pos if token.end_pos is not None else token.start_pos
    line_start = source.text.rfind("\n", 0, max(token.start_pos, end)) + 1
    text = source.text[line_start:].split("\n", 1)[0]
    margin = len(text) - len(text.lstrip())
    span = Span(source, line_start + margin, line_start + len(text.rstrip()))
    if token.type == "_INDENT":
        return Diagnostic("E0102", "this line is indented further than the one before it", span, help="start it where its neighbours start")
    return Diagnostic("E0102", "this line should be indented", span, help="put two spaces before it")


def _bad_indentation(source: Source) -> Diagnostic:
    """The first line whose indentation is that of no open block."""
    open_columns, at, at_block_start = [0], 0, False
    for line in source.text.split("\n"):
        body = line.split("#", 1)[0].rstrip()
        if body.strip():
            column = len(body.expandtabs(8)) - len(body.expandtabs(8).lstrip())
            margin = len(body) - len(body.lstrip())
            closed = column < open_columns[-1]
            while column < open_columns[-1]:
                open_columns.pop()
            if column > open_columns[-1] and (closed or not at_block_start):
                span = Span(source, at + margin, at + len(body))
                return Diagnostic(
                    "E0102", "this line's indentation is that of no line above it", span, help="start it where its neighbours start"
                )
            if column > open_columns[-1]:
                open_columns.append(column)
            at_block_start = body.endswith(":")
        at += len(line) + 1
    return Diagnostic("E0102", "the indentation of this text is not regular", Span(source, 0, 1), help="indent with two spaces")
