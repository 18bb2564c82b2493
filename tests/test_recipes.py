"""Do the recipes in `docs/recipes/` and the drawing in `docs/architecture.md` name the right files?

The tables after a line "Sample: `x`" list exactly the files of `dsldec/` and `grammar/` that mention x. Not
here: whether the text of a page is true (`test_readme.py` runs its programs).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "docs" / "recipes").glob("add-*.md"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))
PLACE = r"`((?:dsldec|grammar|tests|examples|docs|benchmarks|policies)/[\w./-]*)`"


def name_of(path: Path) -> str:
    return path.stem


def samples(page: str) -> dict[str, str]:
    """The samples of a recipe, and the text that belongs to each."""
    _, *parts = re.split(r"^Sample: `(\w+)`", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def listed(page: str) -> set[str]:
    """The files in the first column of the tables."""
    return set(re.findall(rf"^\| {PLACE} \|", page, re.MULTILINE))


def mentions(word: str) -> set[str]:
    """The files that mention a word, also as an option of the command line."""
    pattern = re.compile(rf"(?<![\w-]){word.replace('_', '[_-]')}(?![\w-])")
    files = [*(ROOT / "dsldec").rglob("*.py"), *(ROOT / "grammar").iterdir()]
    found = {file for file in files if file.is_file() and pattern.search(file.read_text(encoding="utf-8"))}
    # The name of a file is a mention too.
    return {file.relative_to(ROOT).as_posix() for file in found | {f for f in files if f.stem == word}}


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_file_that_a_recipe_lists_exists(path: Path) -> None:
    files = listed(path.read_text(encoding="utf-8"))
    assert files
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_lists_exactly_the_files_that_mention_its_sample(path: Path) -> None:
    found = samples(path.read_text(encoding="utf-8"))
    assert found or name_of(path) == "add-a-host"
    for word, text in found.items():
        files, there = listed(text), mentions(word)
        assert sorted(there - files) == [], f"these mention `{word}`: add them to {path.name}"
        named = {file for file in files if file.startswith(("dsldec/", "grammar/"))}
        assert sorted(named - there) == [], f"these do not mention `{word}`: {path.name} lists them"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_the_files_that_a_page_names_exist(path: Path) -> None:
    named = re.findall(PLACE, path.read_text(encoding="utf-8"))
    assert [one for one in named if not (ROOT / one).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_no_page_waits_to_be_confirmed(path: Path) -> None:
    assert "<!-- confirm" not in path.read_text(encoding="utf-8")


def test_every_module_package_is_in_the_drawing() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = {folder.parent.name for folder in (ROOT / "dsldec").glob("*/__init__.py")}
    assert {one for one in packages if not re.search(rf"\b{one}\b", page)} == set()


def test_every_decision_is_in_their_list() -> None:
    folder = ROOT / "docs" / "decisions"
    linked = re.findall(r"\]\(([\d\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert linked == sorted(file.name for file in folder.glob("[0-9]*.md"))
