"""Every mistake in a text gets one diagnostic, at its place, in the user's words."""

from __future__ import annotations

import re

import pytest

from dsldec.diagnostics import Diagnostic
from dsldec.language.parse import parse
from dsldec.source import Source


def mistakes(text: str) -> list[Diagnostic]:
    tree, diagnostics = parse(Source(text))
    assert (tree is None) == bool(diagnostics)
    return diagnostics


ONE_LINE = [
    # the first word
    ("comit masked", "`comit` is not a statement", "comit", "did you mean `commit`?"),
    (
        "lookahead 4 accept",
        "the line ends too early: expected a value or `exact`",
        "accept",
        "`lookahead N [accept exact | accept COND]`",
    ),
    (
        "lookahead 4 accept exact and masked",
        "`and` cannot stand here",
        "and",
        "`lookahead N [accept exact | accept COND]`",
    ),
    ("shadow window", "`shadow` is a word of the language that this version cannot use yet", "shadow", ""),
    (
        "hook 3 pick best",
        "`hook` is a word of the language that this version cannot use yet",
        "hook",
        "",
    ),
    ("let x = 3", "`let` is not a statement", "let", "`x = conf > 0.9`"),
    (
        "remask committed and conf < 0.2",
        "`remask` is not a statement",
        "remask",
        "`revoke MASK at most N by doubt`",
    ),
    ("unmask masked and conf > 0.9", "`unmask` is not a statement", "unmask", "`commit masked"),
    ("for x in y:", "`for` is not a statement", "for", "no loops"),
    ("commit = 3", "`commit` is a word of the language and cannot be a name", "commit", "`my_commit = ...`"),
    ("3 = x", "`3` cannot stand here", "3", ""),
    # commas, operators, brackets, quotes
    ("commit top(masked 1, by=conf)", "a comma is missing before `1`", "1", "write `, 1`"),
    ("x = f(a not b)", "a comma is missing before `not`", "not", ""),
    ("commit top(masked, 1, by=conf", "this bracket is never closed", "(", "write `)`"),
    ("x = f(a))", "this bracket closes nothing", ")", "remove it"),
    ("commit [masked]", "`[` is not part of the language", "[", "use `(` and `)`"),
    ('fill "x"', "a text in quotes cannot stand here", '"x"', "a name has no quotes: write `x`"),
    ('fill "x', "this text in quotes is never closed", '"', 'write `"`'),
    ("x = 1 ? 2", "`?` is not part of the language", "?", "`A if CONDITION else B`"),
    ("x = conf ≥ 0.9", "`≥` is not part of the language", "≥", "write `>=`"),
    ("x = a && b", "`&&` is not part of the language", "&&", "write `and`"),
    ("x = a || b", "`||` is not part of the language", "||", "write `or`"),
    ("x = !a", "`!` is not part of the language", "!", "write `not`"),
    ("x = a <> b", "`<>` is not part of the language", "<>", "write `!=`"),
    ("x += 1", "`+=` is not part of the language", "+=", "write `x = x + ...`"),
    ("x =\xa01", "U+00A0 is not part of the language", "\xa0", ""),
    ("x = naïve", "`naïve` is not a name", "naïve", "`a` to `z`"),
    ("x = 3abc", "`3abc` is neither a number nor a name", "3abc", "`1e-3`"),
    ("x = 1.5.2", "`1.5.2` is neither a number nor a name", "1.5.2", "`1e-3`"),
    ("x = 1.", "`.` is not part of the language", ".", "`0.5`"),
    ("x = a ** ** b", "`**` cannot stand here", "**", ""),
    ("x = 1..3", "`..` cannot stand here", "..", ""),
    # equality and choices
    ("commit masked and x = 3", "`=` assigns a value and does not compare", "=", "write `==`"),
    ("next a when x = 3", "`=` assigns a value and does not compare", "=", "write `==`"),
    ("x == 3", "`==` compares and does not assign a value", "==", "write `=`"),
    ("set x == 3", "`==` compares and does not assign a value", "==", "write `=`"),
    ("x = a else b", "`else` stands without `if`", "else", "`A if CONDITION else B`"),
    ("else b", "`else` stands without `if`", "else", "`x = A if CONDITION else B`"),
    ("x = a if b", "this `if` lacks its `else`", "if", "`A if CONDITION else B`"),
    ("x = f(a if b, c)", "this `if` lacks its `else`", "if", "`A if CONDITION else B`"),
    # something is missing
    ("commit", "the line ends too early: expected a value", "commit", "`commit MASK [as IDS]"),
    ("commit masked at least 1 by", "the line ends too early: expected a value", "by", "`commit MASK"),
    ("revoke masked at", "the line ends too early: expected `most`", "at", "`revoke MASK at most N"),
    ("state x: int = 3", "the line ends too early: expected `per block`", "3", "`state NAME: KIND"),
    ("commit at least 1 by conf", "a name or value is missing before `at`", "at", "`commit MASK"),
    ("next when idle", "a name or value is missing before `when`", "when", "`next PHASE [when COND]`"),
    ("x = masked or and b", "a name or value is missing before `and`", "and", ""),
    ("x = masked or and", "a name or value is missing before `and`", "and", ""),
    ("x = fill(3)", "a name or value is missing before `fill`", "fill", ""),
    ("commit masked at leest 1", "`leest` cannot stand here", "leest", "did you mean `least`?"),
    ("commit masked extra", "`extra` cannot stand here", "extra", "`commit MASK"),
    ("commit top(by=conf, masked)", "`masked` stands after a named argument", "masked", "before `by=conf`"),
    # headers
    (
        "phase a when x if c else d:",
        "a choice in a phase's header needs brackets",
        "if",
        "`(A if CONDITION else B)`",
    ),
    ("phase at most 3 visits:", "a name or value is missing before `at`", "at", "`phase NAME"),
    ("phase a", "this header lacks its `:`", "a", "write `phase a:`"),
    ("phase a: fill", "a header must be the last on its line", "fill", "start a new line"),
]


@pytest.mark.parametrize(
    ("line", "message", "underlined", "help"), ONE_LINE, ids=[line for line, *_ in ONE_LINE]
)
def test_a_wrong_line(line: str, message: str, underlined: str, help: str) -> None:
    """The same is said whatever stands behind the line, and nothing is said of that."""
    block = "    fill\n" if line.endswith(":") or line == "phase a" else ""
    for behind in ["", "" if line.startswith("phase") else "  fill\n  x = (a)\n"]:
        found = mistakes(f"policy p():\n  window all\n  {line}\n{block}{behind}")
        assert [(d.message, d.span and d.span.text) for d in found] == [(message, underlined)]
        assert help in found[0].help
        assert found[0].span is not None
        assert found[0].span.line == 3


# A line of carets marks what is wrong in the line above it; the text is parsed without these.
MARKED = {
    "every wrong line of a file": """
policy p(a int = 1):
#          ^^^ a `:` is missing before `int`
  window all
  comit masked
# ^^^^^ `comit` is not a statement
  x = f(a b)
#         ^ a comma is missing before `b`
  phase a
#       ^ this header lacks its `:`
    y = f(a,
#        ^ this bracket is never closed
    z = (b)
    commit masked &&
#                 ^^ `&&` is not part of the language
""",
    "an unclosed bracket swallows no statement": """
policy p(a: int = 1
#       ^ this bracket is never closed
  window all
  commit grow(masked,
#            ^ this bracket is never closed
              over=conf
  fil
# ^^^ `fil` is not a statement
""",
    "a header without brackets": """
policy p a: int = 1:
#      ^ brackets are missing behind the policy's name
  fill
""",
    "a misspelt header": """
polcy p():
# here: `polcy` is not a statement
  fill
""",
    "a misspelt header without colon": """
Policy p()
# here: `Policy` is not a statement
  "what it does"
  fill
""",
    "a misspelt phase": """
policy p():
  phse a:
# ^^^^ `phse` is not a statement
    fill
  phase b:
    fill
""",
    "no header": """
fill
# here: a policy starts with its header
commit masked
""",
    "a default without its `=`": """
policy p(a: int 2, b: int = 1):
#               ^ a `=` is missing before `2`
  fill
""",
    "a parameter without kind": """
policy p(b: int = 1, a = 1):
#                    ^ the parameter `a` lacks its kind
  fill
""",
    "parameters without comma": """
policy p(b: int = 1 a: int = 1):
#                   ^ a comma is missing before `a`
  fill
""",
    "two policies": """
policy p():
  fill
policy q():
# here: a file holds one policy
  fil
""",
    "no statements": """
policy p():
# here: this policy has no statements
  "nothing"
""",
    "a phase without statements": """
policy p():
  phase a:
# ^^^^^^^^ this phase has no statements
  phase b:
# ^^^^^^^^ this phase has no statements
""",
    "a statement after a phase": """
policy p():
  phase a:
    fill
  fill
# ^^^^ this statement stands after a phase
  fill
""",
    "a phase in a phase": """
policy p():
  phase a:
    fill
    phase b:
#   ^^^^^^^^ a phase cannot stand inside another
      fill
""",
    "a description that comes late": """
policy p():
  fill
  "late"
# ^^^^^^ a text in quotes cannot stand here
""",
    "nothing is indented": """
policy p():
window all
# here: this line should be indented
fill
""",
    "a phase's statements are not indented": """
policy p():
  phase a:
  fill
# ^^^^ this line should be indented
  fill
  phase b:
    fill
""",
    "one line too far left": """
policy p():
  fill
fill
# here: this line should be indented
  fill
""",
    "a block too far right is one mistake": """
policy p():
  fill
    fill
#   ^^^^ this line is indented further than the one before it
    fill
  fill
""",
    "between two blocks": """
policy p():
    phase a:
        fill
      fill
#     ^^^^ no line above has this indentation
        fill
    phase b:
        fill
""",
    "the first line": """
  policy p():
# ^^^^^^^^^^^ a policy starts at the beginning of a line
    fill
""",
    "a line that goes on without brackets": """
policy p():
  commit masked and
#               ^^^ the line ends too early: expected a value
    conf > 0.9
  commit masked
    and conf > 0.9
#   ^^^^^^^^^^^^^^ this line is indented further than the one before it
""",
    "numbers too large": """
policy p(x: real = 1e31):
#                  ^^^^ this number is too large
  x = 1000000001 + 1000000000
#     ^^^^^^^^^^ this number is too large
""",
    "a sign on a truth value": """
policy p(x: bool = -true):
#                  ^^^^^ `-true` is not a number
  fill
""",
}


@pytest.mark.parametrize("name", MARKED)
def test_marked(name: str) -> None:
    lines: list[str] = []
    wanted: list[tuple[int, int, int, str]] = []
    for line in MARKED[name].removeprefix("\n").splitlines():
        if here := re.fullmatch(r"# here: (.*)", line):  # from the first column on, where no caret can be
            wanted.append((len(lines), 1, -1, here.group(1)))
        elif carets := re.fullmatch(r"#( +)(\^+) (.*)", line):
            start = len(carets.group(1)) + 2
            wanted.append((len(lines), start, start + len(carets.group(2)), carets.group(3)))
        else:
            lines.append(line)
    found = mistakes("\n".join(lines) + "\n")
    assert [
        (d.span.line, d.span.column, end if end < 0 else d.span.column + len(d.span.text), d.message)
        for d, (_, _, end, _) in zip(found, wanted, strict=False)
        if d.span is not None
    ] == wanted, "\n".join(map(str, found))
    assert len(found) == len(wanted), "\n".join(map(str, found))


@pytest.mark.parametrize(
    ("indents", "message"),
    [
        (("  ", "\t"), "this line is indented with tabs, the lines above with spaces"),
        (("\t", "  "), "this line is indented with spaces, the lines above with tabs"),
        (("\t", "\t "), "this line is indented with both tabs and spaces"),
    ],
)
def test_tabs_and_spaces_are_not_mixed(indents: tuple[str, str], message: str) -> None:
    (found,) = mistakes(f"policy p():\n{indents[0]}fill\n{indents[1]}fill\n{indents[1]}fill\n")
    assert (found.code, found.message) == ("E0102", message)
    assert found.span is not None
    assert (found.span.line, found.span.text) == (3, "fill")
    assert "spaces" in found.help


def test_a_header_that_is_not_finished_spans_no_line_break() -> None:
    (found,) = mistakes("policy p(\n    a: int = 1):\n")
    assert found.message == "this policy has no statements"
    assert found.span is not None
    assert found.span.text == "policy p("


def test_a_lone_carriage_return_is_no_line_break() -> None:
    assert mistakes("policy p():\r  fill\r")[0].message == "U+000D is not part of the language"


def test_at_most_a_hundred_are_told() -> None:
    assert len(mistakes("policy p():\n  window all\n" + "  comit masked\n" * 3_000)) == 100
