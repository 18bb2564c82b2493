"""`policies/README.md` lists every shipped policy. `pytest --accept` writes its tables anew."""

from __future__ import annotations

import re
from typing import Any

import pytest

import dsldec
from dsldec.language.walk import statements
from dsldec.library import FAMILIES, by_family, rule_of, source_of
from dsldec.resources import policies_folder
from dsldec.tools.library.entry import GEN_LENGTH, record_of
from dsldec.tools.library.hosts import hosts_of

from ..tables import Rows, require_tables

PAGE = policies_folder() / "README.md"
HEAD = ("policy", "a step", "forwards", "proved", "hosts", "source")
ALL_CACHES = ["none", "exact", "prefix", "dual"]


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def row(name: str) -> tuple[str, ...]:
    policy, record = dsldec.load(name), record_of(name)
    facts: Any = record["facts"]
    link = f"[`{name}`]({record['family']}/{name}.policy)"
    return (
        link,
        cell(rule_of(policy.doc)),
        str(facts["max_forwards"]),
        ", ".join(proved(policy, facts)),
        ", ".join(hosts(policy)),
        cell(source_of(policy.doc)),
    )


def proved(policy: dsldec.Policy, facts: Any) -> list[str]:
    floor = policy.facts.floor_per_step
    return [
        "deterministic" if facts["deterministic"] else "random",
        "no floor" if floor == 0 else f"floor `{floor}`" if isinstance(floor, str) else f"floor {floor}",
        *["revokes"] * facts["revokes"],
        *["edits"] * facts["edits"],
        *[f"{facts['branches']} candidates"] * (facts["branches"] > 1),
        *[f"{facts['drafts']} drafts, {'exact' if policy.facts.exact else 'not exact'}"]
        * (facts["drafts"] > 1),
        *[f"network `{network}`" for network in facts["networks"]],
    ]


def hosts(policy: dsldec.Policy) -> list[str]:
    known: Any = hosts_of(policy)
    blocks = " and ".join(map(str, known["sglang"].values()))
    caches = "any cache" if known["caches"] == ALL_CACHES else f"cache {' or '.join(known['caches'])}"
    return [
        *["drafts"] * known["drafts"],
        *[f"SGLang {blocks}"] * bool(blocks),
        *["DiffusionGemma"] * known["diffusion_gemma"],
        caches,
    ]


def tables() -> dict[str, Rows]:
    return {
        family: [HEAD, *(row(name) for name in members)]
        for family, members in by_family(dsldec.shipped_policies()).items()
    }


def test_the_tables_are_current(request: pytest.FixtureRequest) -> None:
    require_tables(PAGE, tables(), request)


def test_every_family_has_a_table_and_its_description() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for family, description in FAMILIES.items():
        assert f"## {family.capitalize()}\n\n{description[0].upper()}{description[1:]}.\n" in text
        assert f"<!-- {family} -->" in text
    assert str(GEN_LENGTH) in text


def test_every_link_of_the_page_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).exists(), target


def test_a_rule_that_cannot_be_written_is_not_shipped() -> None:
    """The last table of the page names no shipped policy as missing."""
    text = PAGE.read_text(encoding="utf-8").partition("## Rules that cannot be written yet")[2]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")][1:]
    missing = {one.strip().lower() for line in rows for one in line.split(",")}
    assert missing
    assert not missing & set(dsldec.shipped_policies())


def test_statements_are_read() -> None:
    """`revokes` and `edits` come from the statements themselves."""
    for name in ("rcr", "joint_threshold", "threshold"):
        policy, facts = dsldec.load(name), record_of(name)["facts"]
        kinds = {type(one).__name__ for one in statements(policy.facts.policy)}
        assert isinstance(facts, dict)
        assert (facts["revokes"], facts["edits"]) == ("Revoke" in kinds, "Edit" in kinds)
