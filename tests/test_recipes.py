"""Do the recipes in `docs/recipes/` and the drawing in `docs/architecture.md` name the right files?

The tables after a line "Sample: `x`" list exactly the files of `dsldec/` and `grammar/` that mention x. A
line with `<!-- confirm -->` is not sure yet: its file may be missing, or may not mention the sample.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "docs" / "recipes").glob("add-*.md"))
NOT_SURE = "<!-- confirm -->"
PLACE = r"`((?:dsldec|grammar|tests|examples|docs|benchmarks|policies)/[\w./-]*)`"


def name_of(path: Path) -> str:
    return path.stem


def samples(page: str) -> dict[str, str]:
    """The samples of a recipe, and the text that belongs to each."""
    _, *parts = re.split(r"^Sample: `(\w+)`", page, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def listed(page: str) -> tuple[set[str], set[str]]:
    """The files in the first column of the tables: those that are sure, and the others."""
    sure: set[str] = set()
    other: set[str] = set()
    for line in page.splitlines():
        if found := re.match(rf"\| {PLACE} \|", line):
            (other if NOT_SURE in line else sure).add(found[1])
    return sure, other - sure


def mentions(word: str) -> set[str]:
    """The files that mention a word, also as an option of the command line."""
    pattern = re.compile(rf"(?<![\w-]){word.replace('_', '[_-]')}(?![\w-])")
    files = [*(ROOT / "dsldec").rglob("*.py"), *(ROOT / "grammar").iterdir()]
    found = {file for file in files if file.is_file() and pattern.search(file.read_text(encoding="utf-8"))}
    # The name of a file is a mention too.
    return {file.relative_to(ROOT).as_posix() for file in found | {f for f in files if f.stem == word}}


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_every_file_that_a_recipe_lists_exists(path: Path) -> None:
    sure, other = listed(path.read_text(encoding="utf-8"))
    assert sure | other
    assert [file for file in sorted(sure) if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("path", RECIPES, ids=name_of)
def test_a_recipe_lists_exactly_the_files_that_mention_its_sample(path: Path) -> None:
    found = samples(path.read_text(encoding="utf-8"))
    assert found or name_of(path) == "add-a-host"
    for word, text in found.items():
        sure, other = listed(text)
        there = mentions(word)
        assert sorted(there - sure - other) == [], f"these mention `{word}`: add them to {path.name}"
        named = {file for file in sure if file.startswith(("dsldec/", "grammar/"))}
        assert sorted(named - there) == [], f"these do not mention `{word}`: {path.name} lists them"


@pytest.mark.parametrize("name", ["architecture.md", "release.md", "decisions"])
def test_the_files_that_a_page_names_exist(name: str) -> None:
    place = ROOT / "docs" / name
    for page in sorted(place.glob("*.md")) if place.is_dir() else [place]:
        for line in page.read_text(encoding="utf-8").splitlines():
            if NOT_SURE not in line:
                assert [one for one in re.findall(PLACE, line) if not (ROOT / one).exists()] == [], page.name


def test_every_module_package_is_in_the_drawing() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = {folder.parent.name for folder in (ROOT / "dsldec").glob("*/__init__.py")}
    assert {one for one in packages if not re.search(rf"\b{one}\b", page)} == set()


def test_every_decision_is_in_their_list() -> None:
    folder = ROOT / "docs" / "decisions"
    linked = re.findall(r"\]\(([\d\w-]+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert linked == sorted(file.name for file in folder.glob("[0-9]*.md"))
