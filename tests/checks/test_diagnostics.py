"""What is wrong is marked where it is wrong: in these policies a `^` line stands under the text that must be underlined."""

from __future__ import annotations

import re

import pytest

import dsldec

CASES = {
    "a rule that can hang": """
policy bare():
  window all
  commit masked and conf > 0.9
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "a prefix alone may be empty": """
policy bare(budget: real = 1.0):
  window all
  commit prefix(masked, by=conf, while=rank * doubt < budget)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "a count that may be zero": """
policy loose(tokens: int = 1):
  window all
  commit top(masked, tokens, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "the best of positions that may be written already": """
policy stuck():
  window all
  commit top(committed or masked, 1, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "at most none": """
policy none():
  window all
  commit masked at most 0 by conf
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "nothing is committed": """
policy idle():
#      ^^^^ E0301
  window all
""",
    "several mistakes, one diagnostic each, by place": """
policy several(level: probability = 0.9, block: int = 32):
#                     ^^^^^^^^^^^ E0208
  window blocks(block)
#               ^^^^^ E0211
  sure = cnf > level
#        ^^^ E0201
  commit masked and sure at least 1 by entropy
#                                      ^^^^^^^ E0206
""",
    "units": """
policy units(gamma: nats = 0.1, level: prob = 0.5):
  window all
  commit masked and conf - gamma > 0 at least 1 by conf
#                   ^^^^^^^^^^^^ E0205
  commit masked and logit_margin > level at least 1 by conf
#                   ^^^^^^^^^^^^^^^^^^^^ E0205
""",
    "polarity follows signs": """
policy signs():
  window all
  commit top(masked, 1, by=-conf)
#                          ^^^^^ E0206
  commit top(masked, 1, by=1 - conf)
#                          ^^^^^^^^ E0206
  commit top(masked, 1, by=2 * entropy + doubt / 2)
#                          ^^^^^^^^^^^^^^^^^^^^^^^ E0206
  commit top(masked, 1, by=1 - doubt)
  commit top(masked, 1, by=conf * margin)
""",
    "one value a row where a mask is needed": """
policy places():
  window all
  commit step > 3 at least 1 by conf
#        ^^^^^^^^ E0204
  commit masked at least pos by conf
#                        ^^^ E0207
""",
    "arguments": """
policy arguments():
  window all
  commit top(masked, 1, 2, by=conf)
#                       ^ E0203
  commit top(masked, 1, by=conf, most=3)
#                                ^^^^^^ E0203
  commit top(masked, 1)
#        ^^^^^^^^^^^^^^ E0203
  commit prefix
#        ^^^^^^ E0203
  commit masked(1)
#        ^^^^^^^^^ E0203
""",
    "windows": """
policy windows():
  commit masked
  window all
# ^^^^^^^^^^ E0302
  window blocks(0)
# ^^^^^^^^^^^^^^^^ E0302
#               ^ E0302
""",
    "names": """
policy names(conf: real = 1.0, x: int = 1, x: int = 2):
#            ^^^^ E0202
#                                          ^ E0202
  window all
  commit top(masked, x, by=margin)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "orelse makes progress when its second mask does, and its first holds masks alone": """
policy alternatives():
  window all
  commit (masked and conf > 0.9) orelse top(masked, 1, by=conf)
""",
    "a first mask of written positions hides the second": """
policy hidden():
  window all
  commit committed orelse top(masked, 1, by=conf)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "both sides of a conditional count": """
policy both(fast: bool = true):
  window all
  commit masked if fast else (masked and conf > 0.9)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "a condition that differs from position to position mixes two choices": """
policy mixed():
  window all
  commit top(masked, 1, by=pos) if pos < 4 else top(masked, 1, by=-pos)
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
    "one cause, one diagnostic": """
policy causes():
  window sliding(4)
#                ^ E0203
  commit masked and conf > 0.9 at least tokns by conf
#                                       ^^^^^ E0201
""",
    "a number with its sign decides the polarity of a product": """
policy factors():
  window all
  commit top(masked, 1, by=conf * -1)
#                          ^^^^^^^^^ E0206
  commit top(masked, 1, by=entropy / -2)
  commit top(masked, k=1, by=conf)
#                    ^^^ E0203
""",
    "values that are no names": """
policy constants():
  window blocks(16 * 2)
#               ^^^^^^ E0211
  commit masked and true
""",
    "conditionals and reductions": """
policy reductions(fast: bool = true):
  window all
  commit top(masked, 2 if fast else mean(conf), by=conf) or top(masked, 1, by=conf)
#                    ^^^^^^^^^^^^^^^^^^^^^^^^^ E0204
  commit top(masked, 1, by=conf if fast else entropy)
#                          ^^^^^^^^^^^^^^^^^^^^^^^^^ E0205
  commit masked and max(conf, entropy) > 0.5
#                   ^^^^^^^^^^^^^^^^^^ E0205
  commit masked and any(conf) and mean(conf, over=fast) > 0.1
#                       ^^^^ E0204
#                                                 ^^^^ E0204
  commit masked and count(masked, over=committed) > 1
#                                 ^^^^^^^^^^^^^^ E0203
  commit conf orelse masked
#        ^^^^ E0204
  commit masked if conf else masked
#                  ^^^^ E0204
  commit masked and (masked if fast else conf) > 1
#                    ^^^^^^^^^^^^^^^^^^^^^^^^ E0204
""",
    "words that come later": """
policy later():
  window all
  commit masked and draft
#                   ^^^^^ E0106
""",
    "defaults": """
policy defaults(a: int = 0.5, b: prob = 2, c: int = 9 in 1..8, d: int = 1 in 8..1, e: bool = 1):
#                        ^^^ E0208
#                                       ^ E0208
#                                                   ^ E0208
#                                                                            ^^^^ E0208
#                                                                                            ^ E0208
  window all
  commit masked and conf > a + b + c + d and e
# ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ E0301
""",
}
MARK = re.compile(r"^#? *(\^+) ([EW]\d{4})$")


def marked(text: str) -> list[tuple[int, int, int, str]]:
    """Line, first column, last column and code of every mark, counted from 1."""
    found, line = [], 0
    for number, text_line in enumerate(text.split("\n"), 1):
        if mark := MARK.match(text_line):
            found.append((line, mark.start(1) + 1, mark.end(1), mark.group(2)))
        else:
            line = number
    return found


@pytest.mark.parametrize("name", CASES)
def test_marks(name: str) -> None:
    text = CASES[name]
    _, diagnostics = dsldec.check(text)
    given = []
    for diagnostic in diagnostics:
        assert diagnostic.span is not None
        if diagnostic.code.startswith("E"):
            given.append(
                (diagnostic.span.line, diagnostic.span.column, diagnostic.span.column + len(diagnostic.span.text) - 1, diagnostic.code)
            )
    assert sorted(given) == sorted(marked(text)), "\n\n".join(map(str, diagnostics))


def test_a_diagnostic_draws_itself() -> None:
    _, diagnostics = dsldec.check("policy bare():\n  window all\n  commit masked and conf > 0.9\n", "bare.policy")
    assert str(diagnostics[0]) == (
        "error[E0301]: a step of this policy can commit nothing, so decoding may never end\n"
        " --> bare.policy:3:3\n"
        "  |\n"
        "3 |   commit masked and conf > 0.9\n"
        "  |   ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ no position is sure to pass `conf > 0.9`\n"
        "  = help: add `at least 1 by conf`: the best position is then always committed"
    )


def test_the_help_can_be_pasted() -> None:
    mended, diagnostics = dsldec.check("policy bare():\n  window all\n  commit masked and conf > 0.9 at least 1 by conf\n")
    assert mended is not None
    assert diagnostics == []


def test_did_you_mean() -> None:
    _, diagnostics = dsldec.check("policy p():\n  window all\n  commit maskd\n")
    assert diagnostics[0].help == "did you mean `masked`?"


def test_an_unused_name_is_only_a_warning() -> None:
    policy, diagnostics = dsldec.check("policy p(x: int = 1):\n  window all\n  y = conf\n  commit masked\n")
    assert policy is not None
    assert [d.code for d in diagnostics] == ["W0201", "W0201"]
