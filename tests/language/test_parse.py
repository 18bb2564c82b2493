"""Text to tree: how operators bind, where nodes are, and what a text may look like."""

from __future__ import annotations

import re

import pytest

from dsldec.language import syntax
from dsldec.language.fmt import formatted
from dsldec.language.parse import parse
from dsldec.language.scan import PieceKind, pieces
from dsldec.resources import grammar_file, policy_file, shipped_policies
from dsldec.source import Source


def parsed(text: str) -> syntax.PolicyDefinition:
    tree, diagnostics = parse(Source(text))
    assert tree is not None, "\n".join(map(str, diagnostics))
    assert diagnostics == []
    return tree.policy


def expression(text: str) -> syntax.Expression:
    statement = parsed(f"policy p():\n  x = {text}\n").statements[0]
    assert isinstance(statement, syntax.Let)
    return statement.value


def shape(node: syntax.Expression) -> str:
    """An expression with every bracket written out."""
    match node:
        case syntax.Number() | syntax.Boolean():
            return str(node.value)
        case syntax.Name():
            return node.identifier
        case syntax.Negation():
            return f"(-{shape(node.operand)})"
        case syntax.Inversion():
            return f"(not {shape(node.operand)})"
        case syntax.Arithmetic():
            return f"({shape(node.left)} {node.operator} {shape(node.right)})"
        case syntax.Conjunction():
            return f"({shape(node.left)} and {shape(node.right)})"
        case syntax.Disjunction():
            return f"({shape(node.left)} or {shape(node.right)})"
        case syntax.Alternative():
            return f"({shape(node.left)} orelse {shape(node.right)})"
        case syntax.Conditional():
            return f"({shape(node.then)} if {shape(node.condition)} else {shape(node.otherwise)})"
        case syntax.Comparison():
            parts = [shape(node.operands[0])]
            parts += [f"{o} {shape(x)}" for o, x in zip(node.operators, node.operands[1:], strict=True)]
            return f"({' '.join(parts)})"
        case syntax.Call():
            named = [f"{k.identifier.text}={shape(k.value)}" for k in node.keywords]
            return f"{node.function.text}({', '.join([*map(shape, node.arguments), *named])})"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a + b * c - d", "((a + (b * c)) - d)"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b // c % d", "(((a / b) // c) % d)"),
        ("-a * b", "((-a) * b)"),
        ("-a ** -b ** c", "(-(a ** (-(b ** c))))"),
        ("not a and b or c", "(((not a) and b) or c)"),
        ("not a < b", "(not (a < b))"),
        ("a < b <= c", "(a < b <= c)"),
        ("(a or b) and c", "((a or b) and c)"),
        ("top(masked, 2, by=-entropy)", "top(masked, 2, by=(-entropy))"),
        ("f(a, while=rank + 1 < 2)", "f(a, while=((rank + 1) < 2))"),
        ("f(a, b, )", "f(a, b)"),
        ("1.5e-3 / .5", "(0.0015 / 0.5)"),
        ("007", "7"),
        ("true or false", "(True or False)"),
        ("a orelse b or c orelse d", "((a orelse (b or c)) orelse d)"),
        ("a if b else c if d else e", "(a if b else (c if d else e))"),
        ("a orelse b if c and d else e + 1", "((a orelse b) if (c and d) else (e + 1))"),
    ],
)
def test_precedence(text: str, meant: str) -> None:
    assert shape(expression(text)) == meant


def test_spans_are_exact() -> None:
    policy = parsed(
        "policy p(x: int = -3 in -5..5):  # a comment\n  window blocks(32)\n\n  commit top(masked, 1, by=conf) at least 2 by margin\n"
    )
    commit = policy.statements[1]
    assert isinstance(commit, syntax.Commit)
    assert commit.span.text == "commit top(masked, 1, by=conf) at least 2 by margin"
    assert commit.mask.span.text == "top(masked, 1, by=conf)"
    assert commit.at_least is not None
    assert commit.at_least.score is not None
    assert commit.at_least.score.span.text == "margin"
    parameter = policy.parameters[0]
    assert parameter.span.text == "x: int = -3 in -5..5"
    assert (parameter.default.value, parameter.range and parameter.range.last.value) == (-3, 5)


def test_comments_line_breaks_in_brackets_and_windows_line_ends() -> None:
    lines = [
        "policy p(",
        "    x: int = 1,   # one",
        "    y: prob = 0.5,",
        "):",
        '  """two',
        '  lines"""',
        "  # nothing (",
        "  window all",
        "  commit masked",
    ]
    policy = parsed("\r\n".join([*lines, ""]))
    assert [p.identifier.text for p in policy.parameters] == ["x", "y"]
    assert policy.doc is not None
    assert policy.doc.text == "two\r\n  lines"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffpolicy p():\n  fill\n",  # as editors on Windows begin a file
        "policy p():\n\tfill\n\tphase a:\n\t\tfill\n",
        "\n\n# first\npolicy p(): # header\n\n  # own\n    # deeper\n  fill   \n# end",
        "policy p():\n  x = f(a,\nby=b,\n  )\n  fill\n",
        'policy p():\n  "a # no comment ( here"\n  fill\n',
        "policy p():\n  fill\n\t\n \t# blank lines and comments are indented as they like\n  fill\n",
        "policy p():\n  phase a at most 2 visits when b else c:\n    fill\n",
    ],
)
def test_what_a_text_may_look_like(text: str) -> None:
    assert parsed(text).identifier.text == "p"


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_parse_without_the_last_line_break(name: str) -> None:
    text = policy_file(name).read_text(encoding="utf-8")
    assert parsed(text.rstrip()).doc == parsed(text).doc or parsed(text).doc is not None


def test_pieces_are_the_terminals_of_the_grammar() -> None:
    """The grammar and the look at the pieces before it must agree on what a word, a number and a text in
    quotes is.
    """
    grammar = grammar_file().read_text(encoding="utf-8")
    terminals = dict(re.findall(r"^(NAME|NUMBER|STRING|COMMENT): /(.*)/s?$", grammar, re.MULTILINE))
    samples = [
        *'abc _a1 A 0 12 1.5 .5 1e9 1.5E-3 1e+2 "a" "" """a\nb""" """a\\"""b""" #x #'.split(" "),
        '"a b"',
        "# x",
    ]
    sorts = {
        "NAME": PieceKind.WORD,
        "NUMBER": PieceKind.NUMBER,
        "STRING": PieceKind.QUOTED,
        "COMMENT": PieceKind.COMMENT,
    }
    for sample in samples:
        theirs = {
            sorts[name] for name, pattern in terminals.items() if re.fullmatch(pattern, sample, re.DOTALL)
        }
        ours = {
            piece.kind for piece in pieces(sample) if piece.text == sample and piece.kind in sorts.values()
        }
        assert ours == theirs, sample


def test_brackets_without_parameters_may_be_left_out() -> None:
    text = "policy p:  # why\n  window all\n  fill\n"
    policy = parsed(text)
    assert (policy.identifier.text, policy.parameters) == ("p", ())
    assert formatted(Source(text)) == ("policy p():  # why\n  window all\n  fill\n", [])


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("policyy:\n  fill\n", "policyy"),
        ("policy p:\n  commit masked atleast 1 by conf\n", "atleast"),
        ("policy p:\n  commit masked andconf\n", "andconf"),
        ("policy p:\n  state x: int = 0 perblock\n", "perblock"),
        ("policy p:\n  lookahead 4 acceptexact\n", "acceptexact"),
    ],
)
def test_a_keyword_ends_where_its_word_ends(text: str, marked: str) -> None:
    tree, (diagnostic,) = parse(Source(text))
    assert tree is None
    assert diagnostic.span is not None
    assert diagnostic.span.text == marked
