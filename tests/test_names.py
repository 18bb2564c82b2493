"""Is every type of the package defined once? A class, a type alias, or a private one beside a public one."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import dsldec

PACKAGE = Path(dsldec.__file__).parent


def is_type_name(name: str) -> bool:
    bare = name.lstrip("_")
    return bare[:1].isupper() and any(letter.islower() for letter in bare)


def types_in(tree: ast.Module) -> Iterator[str]:
    """The names of classes, and of aliases at module level, without leading underscores."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_")
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        for target in targets:
            if isinstance(target, ast.Name) and is_type_name(target.id):
                yield target.id.lstrip("_")


def defined_twice(package: Path) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for file in sorted(package.rglob("*.py")):
        for name in types_in(ast.parse(file.read_text(encoding="utf-8"))):
            places[name].append(str(file.relative_to(package)))
    return {name: files for name, files in places.items() if len(files) > 1}


def test_no_type_name_is_defined_twice() -> None:
    found = defined_twice(PACKAGE)
    assert not found, f"rename one of each: {found}"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("class Row: ...", "class Row: ..."),
        ("class Row: ...", "class _Row: ..."),
        ("class Row: ...", "_Row = dict[str, int]"),
        ("Row: type = int", "def f():\n    class Row: ..."),
    ],
)
def test_a_type_that_is_defined_twice_is_found(first: str, second: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(first)
    (tmp_path / "b.py").write_text(second)
    assert defined_twice(tmp_path) == {"Row": ["a.py", "b.py"]}


def test_a_constant_and_a_variable_are_no_types(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("B = 1\nROWS = 2\nrow = 3\n")
    (tmp_path / "b.py").write_text("B = 1\nROWS = 2\nrow = 3\n")
    assert defined_twice(tmp_path) == {}
