"""Text to tree, and what is said of texts that are none."""

from __future__ import annotations

import time

import pytest

import dsldec
from dsldec.language import syntax
from dsldec.language.parse import parse
from dsldec.resources import shipped_policies
from dsldec.source import Source


def parsed(text: str) -> syntax.Policy:
    tree, diagnostics = parse(Source(text))
    assert tree is not None, diagnostics
    return tree.policy


def expression(text: str) -> syntax.Expression:
    statement = parsed(f"policy p():\n  x = {text}\n").statements[0]
    assert isinstance(statement, syntax.Let)
    return statement.value


def shape(node: syntax.Expression) -> str:
    """An expression with every bracket written out."""
    match node:
        case syntax.Number():
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
        ("-a * b", "((-a) * b)"),
        ("not a and b or c", "(((not a) and b) or c)"),
        ("not a < b", "(not (a < b))"),
        ("a < b <= c", "(a < b <= c)"),
        ("(a or b) and c", "((a or b) and c)"),
        ("top(masked, 2, by=-entropy)", "top(masked, 2, by=(-entropy))"),
        ("f(a, while=rank + 1 < 2)", "f(a, while=((rank + 1) < 2))"),
        ("1.5e-3 / .5", "(0.0015 / 0.5)"),
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
        "  # nothing",
        "  window all",
        "  commit masked",
    ]
    text = "\r\n".join([*lines, ""])
    policy = parsed(text)
    assert [p.identifier.text for p in policy.parameters] == ["x", "y"]
    assert policy.doc is not None


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_parse_without_the_last_line_break(name: str) -> None:
    text = dsldec.load(name).doc
    assert text


@pytest.mark.parametrize(
    ("line", "message", "underlined"),
    [
        ("comit masked", "`comit` is not a statement", "comit"),
        ("commit top(masked 1, by=conf)", "`1` cannot stand here", "1"),
        ("commit top(masked, 1, by=conf", "this bracket is never closed", "("),
        ("commit [masked]", "`[` is not part of the language", "["),
        ("commit", "the line ends too early: expected `(` or a name or a number", "t"),
        ("commit masked extra", "`extra` cannot stand here", "extra"),
        ("commit top(by=conf, masked)", "`masked` stands after a named argument", "masked"),
        ("lookahead 4", "`lookahead` is a word of the language that this version cannot use yet", "lookahead"),
        ("finish", "`finish` is a word of the language that this version cannot use yet", "finish"),
        ("  commit masked", "this line is indented further than the one before it", "commit masked"),
        ("x = 1 ? 2", "`?` cannot stand here", "?"),
        ("x = conf ≥ 0.9", "`≥` is not part of the language", "≥"),
        ("x = conf ** 2", "`**` is a word of the language that this version cannot use yet", "**"),
        ("x = pos % 2", "`%` is a word of the language that this version cannot use yet", "%"),
        ("commit masked as canvas", "`as` is a word of the language that this version cannot use yet", "as"),
    ],
)
def test_syntax_errors_say_what_and_where(line: str, message: str, underlined: str) -> None:
    tree, diagnostics = parse(Source(f"policy p():\n  window all\n  {line}\n"))
    assert tree is None
    assert [d.message for d in diagnostics] == [message]
    assert diagnostics[0].span is not None
    assert diagnostics[0].span.text == underlined


def lets(count: int, value: str) -> str:
    lines = [f"  x{i + 1} = {value.format(f'x{i}')}" for i in range(count)]
    return "\n".join(["policy p():", "  window all", "  x0 = masked and conf > 0.9", *lines, f"  commit x{count}", ""])


HOSTILE = {
    "names that each double the last": lets(200, "{0} or {0}"),
    "a long chain of names": lets(3_000, "{0}"),
    "deep brackets": "(" * 20_000,
    "deep not": "policy p():\n  window all\n  commit " + "not " * 5_000 + "masked\n",
    "a long chain": "policy p():\n  window all\n  x = " + "1+" * 5_000 + "1\n",
    "too large": "#" * 300_000,
    "nul": "policy p\0():\n",
    "a lone surrogate": "policy \ud800():\n",
    "a long number": "policy p():\n  x = " + "9" * 5_000 + "\n",
    "a long word": "a" * 100_000,
    "only tabs": "\t" * 1000,
    "half a string": 'policy p():\n  "never closed\n',
    "digits after a point": "policy p():\n  x = 1.5.2\n",
    "a dedent to nowhere": "policy p():\n    window all\n  commit masked\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_get_one_diagnostic_soon(name: str) -> None:
    began = time.process_time()
    policy, diagnostics = dsldec.check(HOSTILE[name])
    assert policy is None
    assert len(diagnostics) == 1
    assert len(str(diagnostics[0])) < 2_000
    assert time.process_time() - began < 30  # a hang, not a slow machine
