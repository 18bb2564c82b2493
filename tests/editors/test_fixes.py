"""Does every fix remove its diagnostic? Tried on all policies with mistakes that the tests have."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dsldec
from dsldec import fixes
from dsldec.codes import CODES
from dsldec.diagnostics import Diagnostic, Fix
from dsldec.source import Source, Span
from tests.language import test_mistakes

TESTS = Path(__file__).parents[1]
MARKER = re.compile(r"^#.*\^.*\n?", re.MULTILINE)
BEST = "commit top(masked, 1, by=conf)"
# Mistakes that no other test has.
MORE = tuple(
    f"policy more({header}):\n  window blocks(32)\n" + "".join(f"  {line}\n" for line in lines)
    for header, *lines in (
        ("", BEST, "fill when true"),
        ("", BEST, "fill when false"),
        ("", BEST, "edit (committed or masked) at most 1"),
        ("", BEST, "edit committed"),
        ("", BEST, "revoke (committed)  # why"),
        ("", "commit (masked and conf > 0.9)"),
        ("", "commit masked and conf > 0.9 at most 4 by conf"),
        ("", "commit masked at least 1"),
        ("", "commit top((masked and conf > 0.5), 1)"),
        ("", "x = conf > 0.9", BEST),
        ("a: int = 1, b: int = 2, c: int = 3", "commit top(masked, max(1, b), by=conf)"),
        ("net: network, a: bool = 3 in 1..2", BEST),
        ("t: table = 1 in 0..2, p: pattern in 1..2", BEST),
        ("x: int = 1 in 9..1", "commit top(masked, max(1, x), by=conf)"),
        ("x: int in 1..9", "commit top(masked, x, by=conf)"),
        ("order: a | a | b = a", "commit top(masked, 1, by=conf if order == b else margin)"),
        ("order: a | b", "commit top(masked, 1, by=conf if order == b else margin)"),
        ("order: aa | bb = ab", "commit top(masked, 1, by=conf if order == bb else margin)"),
        ("order: aa | bb = aa", "commit top(masked, 1, by=conf if order == cb else margin)"),
        ("order: aa | bb = aa in 1..2", "commit top(masked, 1, by=conf if order == bb else margin)"),
        ("", "set far = 3", BEST),
        ("", "state x: int = 0 per blok", "set x = x + 1", "commit top(masked, max(1, x), by=conf)"),
        ("", "state x: nat = 0 per block", "set x = x", BEST),
        ("", "lookahead 0", BEST),
        ("", "branch 0 as i:", "  commit top(masked, i, by=conf)", "pick by mean(conf)"),
        ("", "branch 4 as i:", "  commit top(masked, max(1, i), by=conf)", "finish when eos_closed"),
        ("", "draw gumbl(0.5)", BEST),
        ("", "noise conf", BEST),
        ("", "commit top(masked, 1.6, by=conf)"),
        ("", "commit top(masked, conf, by=conf)"),
        ("", "commit any(masked) or any(masked) at least 1 by conf"),
        ("", BEST, "finish when eos_closed and masked"),
        ("", "phase a:", f"  {BEST}", "  next b when idle", "  window all", "phase b else a:", f"  {BEST}"),
        ("", "commit top(masked, 1, by=conf", "x = 1"),
        ("", "commit top(masked, max(1, 2, by=conf"),
        ("", "let x = 1", "commit top(masked, x, by=conf)"),
        ("", "blocks(4)", BEST),
        ("", 'finish when "eos_closed"', BEST),
        ("a int = 1", BEST),
        ("a: int 1", BEST),
        ("a", BEST),
        ("", "    commit masked", BEST),
        ("", BEST, " finish when eos_closed"),
    )
)
# Codes of the language without a fix: each of these mistakes leaves a decision to the user.
WITHOUT = frozenset(
    """
    E0105 E0106 E0108 E0109 E0205 E0209 E0210 E0212 E0217 E0219 E0220 E0230 E0231 E0305 E0307
    W0202 W0301 W0302
    """.split()
)


def texts_in(folder: Path) -> Iterator[str]:
    """The texts in quotes in the files of tests."""
    for file in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@cache
def corpus() -> tuple[str, ...]:
    """Policies of the tests and of the codes, most of them with mistakes, without the marks below them."""
    found = [code.bad for code in CODES.values() if code.bad]
    for folder in ("checks", "language"):
        for text in texts_in(TESTS / folder):
            if re.match(r"\s*(policy|phase|window) ", text) and "\n" in text:
                found.append(text)
    for line, *_ in test_mistakes.ONE_LINE:
        found.append(f"policy p():\n  window all\n  {line}\n  commit top(masked, 1, by=conf)\n")
    found += MORE
    return tuple(dict.fromkeys(MARKER.sub("", text).lstrip("\n") for text in found))


@cache
def checked(text: str) -> tuple[Diagnostic, ...]:
    return tuple(dsldec.check(text)[1])


@cache
def diagnosed() -> tuple[tuple[str, Diagnostic], ...]:
    return tuple((text, one) for text in corpus() if len(text) < 100_000 for one in checked(text))


def key(one: Diagnostic) -> tuple[str, str]:
    return one.code, one.message


def test_the_corpus_has_many_diagnostics() -> None:
    assert len(diagnosed()) > 400


def test_every_fix_removes_its_diagnostic() -> None:
    wrong = []
    for text, one in diagnosed():
        if one.fix is None:
            continue
        before = Counter(map(key, checked(text)))
        after = Counter(map(key, checked(one.fix.applied())))
        if after[key(one)] >= before[key(one)]:
            wrong.append(f"{one}\n{one.fix.title}\n{one.fix.applied()}")
    assert not wrong, "\n\n".join([f"{len(wrong)} fixes", *wrong[:20]])


def test_a_fix_of_a_policy_that_parses_leaves_one_that_parses() -> None:
    for text, one in diagnosed():
        if one.fix is not None and not any(d.code.startswith("E01") for d in checked(text)):
            codes = [d.code for d in checked(one.fix.applied())]
            assert not any(code.startswith("E01") for code in codes), (str(one), one.fix.applied())


def test_a_fix_at_the_end_of_lines_that_end_in_two_characters() -> None:
    text = "policy p():\r\n  window all\r\n  set far = 3\r\n  commit masked and conf > 0.9\r\n"
    found = {one.code: one.fix for one in dsldec.check(text)[1]}
    state, floor = found["E0201"], found["E0301"]
    assert state is not None
    assert "window all\r\n  state far: int = 0 per block\r\n" in state.applied()
    assert floor is not None
    assert "conf > 0.9 at least 1 by conf\r\n" in floor.applied()


def test_most_codes_have_a_fix() -> None:
    codes = {one.code for _, one in diagnosed()}
    with_fix = {one.code for _, one in diagnosed() if one.fix is not None}
    assert codes - with_fix == WITHOUT
    page = (TESTS.parent / "docs" / "editors.md").read_text(encoding="utf-8")
    assert f"for {len(with_fix)} of the {len(codes)} codes of policies" in page


@pytest.mark.parametrize(
    ("old", "new", "title"),
    [
        ("cnf", "conf", "replace `cnf` with `conf`"),
        ("", " at least 1 by conf", "add `at least 1 by conf`"),
        ("  x = 1\n", "", "delete `x = 1`"),
        ("  ", "    ", "change the indentation"),
        ("a = 1\n  b = 2", "b = 2\n  a = 1", "move the line"),
        ("x", "y" * 99, f"replace `x` with `{'y' * 60} ...`"),
    ],
)
def test_the_title_says_what_changes(old: str, new: str, title: str) -> None:
    assert Fix(Span(Source(old), 0, len(old)), new).title == title


@pytest.mark.parametrize(
    ("text", "operand"),
    [
        ("x", "x"),
        ("f(a, b)", "f(a, b)"),
        ("0.5", "0.5"),
        ("a + b", "(a + b)"),
        ("(a) or (b)", "((a) or (b))"),
        ("f(a)(b", "f(a)(b"),
        ("-x", "(-x)"),
    ],
)
def test_an_operand_of_several_parts_gets_brackets(text: str, operand: str) -> None:
    assert fixes.in_brackets(text) == operand
