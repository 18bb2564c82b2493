"""Does the prose of the package stay plain? Docstrings and comments in lines of 110 columns, and few of the
turns that a reader has to read twice.

The turns are counted by package. A count may fall: then lower it here. Not here: diagnostics (`test_codes`).
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import dsldec

PACKAGE = Path(dsldec.__file__).parent
WIDTH = 110
QUOTES = '"""'  # the formatter leaves them on the last line of a short docstring

TURNS = re.compile(
    r"\bwhat (?:a|an|is|it|was|they|stands)\b"
    r"|\b(?:is|are|was|were) (?:told|heard|kept|met|asked|said)\b"
    r"|\bof (?:its|their) own\b|\bso many\b|\ball that\b|\bwhoever\b|\bthose that\b",
    re.IGNORECASE,
)
MOST = {
    ".": 0,
    "backends": 0,
    "checks": 0,
    "cli": 0,
    "editors": 0,
    "engines": 0,
    "explained": 0,
    "ir": 0,
    "language": 2,
    "models": 0,
    "patterns": 0,
    "networks": 0,
    "notebook": 0,
    "runtime": 0,
    "tools": 0,
}

# Lines over 110 columns that are left, by package.
MOST_WIDE: dict[str, int] = {}

# Marks for other tools. Their text is code.
MARKS = ("# type:", "# noqa", "# fmt:", "# pragma:")


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Docstrings and comments, each with its first line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                yield first.lineno, first.value.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def turns_in(text: str) -> int:
    return sum(len(TURNS.findall(" ".join(piece.split()))) for _, piece in prose(text))


def wide_lines(text: str) -> Iterator[int]:
    lines = text.split("\n")
    for start, piece in prose(text):
        if piece.startswith("#") and not lines[start - 1].lstrip().startswith("#"):
            continue  # beside code, which has a rule of its own
        if not piece.startswith(MARKS):
            for number in range(start, start + piece.count("\n") + 1):
                if len(lines[number - 1].removesuffix(QUOTES)) > WIDTH:
                    yield number


def package_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "."


@cache
def counted() -> Counter[str]:
    counts: Counter[str] = Counter()
    for file in sorted(PACKAGE.rglob("*.py")):
        counts[package_of(file)] += turns_in(file.read_text(encoding="utf-8"))
    return counts


@pytest.mark.parametrize("package", MOST)
def test_the_turns_of_a_package_do_not_grow(package: str) -> None:
    assert counted()[package] <= MOST[package], f"write plain sentences in `{package}`: see CONTRIBUTING.md"


def test_every_package_is_counted() -> None:
    assert set(counted()) == set(MOST)


def test_prose_keeps_within_its_columns() -> None:
    wide: Counter[str] = Counter()
    for file in sorted(PACKAGE.rglob("*.py")):
        wide[package_of(file)] += sum(1 for _ in wide_lines(file.read_text(encoding="utf-8")))
    assert {package: number for package, number in wide.items() if number > MOST_WIDE.get(package, 0)} == {}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"""What is kept of what a row is told."""', 3),
        ("# whoever asks\nx = 1  # those that are met: all that of its own", 5),
        ('x = "what is said"', 0),
        ('"""Cached keys and values of positions outside the input."""', 0),
    ],
)
def test_turns_are_found_in_prose_alone(text: str, count: int) -> None:
    assert turns_in(text) == count


def test_a_wide_line_is_found_and_a_mark_is_none() -> None:
    wide = "x" * WIDTH
    assert list(wide_lines(f'"""One.\n\n{wide}y"""\n# {wide}\n# type: {wide}\ny = "{wide}"  # z\n')) == [3, 4]
