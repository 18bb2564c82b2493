"""Every shipped policy is a short, formatted text with a source and cases, and is compared with a loop."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import pytest

import dsldec
from dsldec.language import syntax
from dsldec.language.fmt import formatted
from dsldec.language.walk import statements, walk
from dsldec.library import FAMILIES, names_source, rule_of, source_of
from dsldec.resources import cases_file, family_of, policies_folder, policy_file
from dsldec.source import Source
from dsldec.tools.cases import read_cases
from dsldec.tools.coverage.report import coverage_of

NAMES = dsldec.shipped_policies()
ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "tests" / "published"
MOST_LINES, MOST_LINES_OF_A_RULE = 25, 6
FEWEST_CASES = 2
LONGER = {"dico"}  # three phases, and twelve parameters with a line each
# Policies without a table in `tests/published`: the file with their loop or their published steps.
ELSEWHERE = {
    "dico": "tests/published/test_dico.py",
    "diffusion_gemma": "tests/models/test_diffusion_gemma.py",
    "freedave": "tests/runtime/test_lookahead_paths.py",
    "freedave_plus": "tests/runtime/test_lookahead.py",
    "info_gain": "tests/published/test_branches.py",
    "llada_random": "tests/published/test_published.py",
    "lopa": "tests/published/test_branches.py",
    "static": "tests/runtime/test_lookahead_paths.py",
}
TABLES = ("CASES", "NAMES", "RULES", "LOOPS")  # of the tests in `tests/published`
# Places that no case can reach: what a case does not give, or what the rule itself excludes.
OUT_OF_REACH = {
    "halton": {"fill": "the cosine leaves no mask"},
    "multi_block": {"at least": "the first unfinished block always writes"},
    # Lines that the proof needs: the line above them writes as much already.
    "diffusion_gemma": {"fill": "the last step commits all masks"},
    "info_gain": {"at least": "each candidate has a position"},
    "klass": {"at least": "the share is 0 in no step in which masks are left"},
    "lookum": {"at least": "each candidate has a position"},
    "p2": {"fill": "the last step keeps all positions"},
    "p2_planner": {"fill": "the last step keeps all positions"},
    "p2_plus": {"at least": "a share rounded up is 1 or more"},
    "prophet": {"at least": "the block of the first mask has a mask"},
    "rcr": {"fill": "the last step takes nothing back"},
    "remdm_llada": {"fill": "the last step writes the last mask"},
    "slowfast": {"at least": "a stretch that is filled has a mask"},
    "wavefront": {"at least": "a mask stands beside the prompt or beside a written position"},
}


def tree(name: str) -> syntax.PolicyDefinition:
    return dsldec.load(name).facts.policy


def lines_of_code(name: str) -> list[int]:
    """The numbers of the lines with code: no blank lines, no comments, no doc string; the header counts."""
    doc = tree(name).doc
    assert doc is not None
    of_doc = range(doc.span.line, doc.span.line + doc.span.text.count("\n") + 1)
    lines = enumerate(policy_file(name).read_text(encoding="utf-8").splitlines(), 1)
    return [
        number
        for number, line in lines
        if line.strip() and not line.strip().startswith("#") and number not in of_doc
    ]


def is_plain(name: str) -> bool:
    """A rule of one row without anything that is carried, groups, or a window that chooses its length."""
    policy = tree(name)
    carried = (syntax.StateDeclaration, syntax.Revoke, syntax.Edit, syntax.Branch, syntax.Lookahead)
    parts = [
        part
        for statement in statements(policy)
        for field in ("mask", "value", "condition")
        if (expression := getattr(statement, field, None)) is not None
        for part in walk(expression)
    ]
    return (
        not policy.phases
        and not any(isinstance(statement, carried) for statement in statements(policy))
        and dsldec.load(name).facts.window in ("all", "blocks")
        and not any(
            isinstance(part, syntax.Call)
            and any(keyword.identifier.text == "each" for keyword in part.keywords)
            for part in parts
        )
    )


def names_in(table: object) -> Iterable[str]:
    return [one for one in table if isinstance(one, str)] if isinstance(table, Iterable) else []


def compared_with_a_loop() -> set[str]:
    """The policies in the tables of `tests/published`, which compare each with an independent loop."""
    found = {*ELSEWHERE}
    for file in sorted(PUBLISHED.rglob("test_*.py")):
        module = import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
        found |= {name for table in TABLES for name in names_in(getattr(module, table, ()))}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_it_is_told_with_its_source(name: str) -> None:
    doc = dsldec.load(name).doc
    assert names_source(doc), f"`{name}` names no source: end its doc string `(Name, arXiv:0000.00000)`"
    assert rule_of(doc), name
    assert source_of(doc) in " ".join(doc.split())


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short(name: str) -> None:
    lines, doc = lines_of_code(name), tree(name).doc
    assert len(lines) <= MOST_LINES or name in LONGER
    below = [number for number in lines if doc is not None and number > doc.span.line]
    assert len(below) <= MOST_LINES_OF_A_RULE or not is_plain(name)


def test_it_is_formatted_and_named_as_its_file() -> None:
    for name in NAMES:
        text = policy_file(name).read_text(encoding="utf-8")
        assert formatted(Source(text, name)) == (text, []), name
        assert dsldec.load(name).name == name


def test_its_defaults_fit() -> None:
    """Every default is a value that `bind` accepts."""
    for name in NAMES:
        policy = dsldec.load(name)
        defaults = {key: value for key, value in policy.parameters.items() if value is not None}
        assert policy.bind(**defaults).parameters == policy.parameters


@pytest.mark.parametrize("name", NAMES)
def test_its_cases_reach_all_of_it(name: str) -> None:
    file = cases_file(name)
    assert file.is_file(), f"write cases of `{name}` that a person can follow on paper"
    cases, wrong = read_cases(Source(file.read_text(encoding="utf-8"), str(file)))
    assert not wrong
    assert len(cases) >= FEWEST_CASES
    missed = coverage_of(name, cases).missed
    left = [place for place in missed if place.kind not in OUT_OF_REACH.get(name, {})]
    assert left == [], "\n\n".join(map(str, coverage_of(name, cases).diagnostics))


def test_what_is_out_of_reach_is_not_reached() -> None:
    for name, kinds in OUT_OF_REACH.items():
        file = cases_file(name)
        cases, _ = read_cases(Source(file.read_text(encoding="utf-8"), str(file)))
        assert {place.kind for place in coverage_of(name, cases).missed} == {*kinds}, name


def test_each_is_compared_with_an_independent_loop() -> None:
    missing = {*NAMES} - compared_with_a_loop()
    assert missing == set(), "add them to a table of `tests/published`, with a loop written from the rule"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_loop_elsewhere_is_there(name: str) -> None:
    assert re.search(rf"\b{name}\b", (ROOT / ELSEWHERE[name]).read_text(encoding="utf-8"))


def test_each_family_is_described() -> None:
    folders = {folder.name for folder in policies_folder().iterdir() if folder.is_dir()}
    assert folders == {*FAMILIES}
    for family in FAMILIES:
        names = dsldec.shipped_policies(family)
        assert names
        assert {family_of(name) for name in names} == {family}
