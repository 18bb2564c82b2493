"""`dsldec list`: every shipped policy once, with its rule, its bound and its source."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

import dsldec
from dsldec.cli import main
from dsldec.library import FAMILIES, names_source, rule_of, source_of
from dsldec.resources import family_of, policy_file


def test_every_policy_stands_in_its_family_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    family, found = "", []
    for line in lines:
        if not line.startswith(" ") and line.partition(":")[0] in FAMILIES:
            family = line.partition(":")[0]
            assert line == f"{family}: {FAMILIES[family]}"
        elif line.startswith("  ") and not line.startswith("   "):
            found.append((family, line.strip().partition("(")[0]))
    assert sorted(name for _, name in found) == dsldec.shipped_policies()
    assert all(family_of(name) == family for family, name in found)
    assert [family for family, _ in found] == sorted(
        (family for family, _ in found), key=[*FAMILIES].index
    )  # the families in their order, each in one piece
    assert lines[-1].startswith(f"{len(found)} policies. ")
    assert max(map(len, lines)) <= 110


def test_a_policy_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--family", "threshold"]) == 0
    out = capsys.readouterr().out
    rule = rule_of(dsldec.load("threshold").doc)
    assert f"  threshold(confidence=0.9, block=32)\n    {rule}.\n" in out
    assert "    at most 256 forwards for 256 tokens; Fast-dLLM, arXiv:2505.22618" in out
    assert "dico" not in out


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--family", "revision", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["version"] == 1
    assert whole["families"] == [{"name": "revision", "description": FAMILIES["revision"]}]
    assert [one["name"] for one in whole["policies"]] == dsldec.shipped_policies("revision")
    for one in whole["policies"]:
        require_true(one)


def require_true(one: dict[str, Any]) -> None:
    """A record says of a policy what its text and its facts say."""
    policy, facts = dsldec.load(one["name"]), one["facts"]
    plan = policy.plan(256)
    assert policy_file(one["name"]).as_posix().endswith(one["file"])
    assert one["source"] == source_of(policy.doc)
    assert {p["name"]: p["default"] for p in one["parameters"]} == policy.parameters
    assert {p["name"] for p in one["parameters"] if p["static"]} == {*policy.facts.static}
    assert facts["terminates"] is facts["batch_independent"] is True
    assert facts["max_forwards"] == plan.max_forwards
    assert facts["deterministic"] == policy.facts.deterministic
    assert (facts["revokes"] or facts["edits"]) == policy.facts.revises
    assert (facts["branches"], facts["drafts"]) == (plan.branches, plan.drafts)
    hosts = one["hosts"]
    assert hosts["decode"] is hosts["transformers"] is True
    assert hosts["diffusion_gemma"] == policy.facts.noise
    for model, size in hosts["sglang"].items():
        assert main(["explain", one["name"], "--target", "sglang"]) == 0, (model, size)


def test_the_hosts_are_those_of_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """SGLang runs a policy exactly if `explain --target sglang` says so."""
    assert main(["list", "--json", "--family", "window"]) == 0
    policies = json.loads(capsys.readouterr().out)["policies"]
    for one in policies:
        status = main(["explain", one["name"], "--target", "sglang"])
        assert (status == 0) is bool(one["hosts"]["sglang"]), one["name"]


@pytest.mark.parametrize(
    ("wrong", "near"), [("treshold", "did you mean `threshold`? "), ("x" * 300, ""), ("", "")]
)
def test_an_unknown_family(wrong: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--family", wrong]) == 2
    err = capsys.readouterr().err
    if wrong:
        assert "error[E0556]: no family of policies is called `" in err
        assert f"= help: {near}the families are `schedule`, `threshold`" in err
        assert len(err) < 400
    with pytest.raises(dsldec.UsageError, match="E0556"):
        dsldec.shipped_policies(wrong or 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["ls", "policies"])
def test_other_names_of_the_verb(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb]) == 2
    assert "`dsldec list`" in capsys.readouterr().err


def test_an_unknown_policy_gets_a_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "zzzzzzzzzz"]) in (1, 2)
    err = capsys.readouterr().err
    assert "`dsldec list` prints the shipped policies" in err
    assert len(err) < 300
    with pytest.raises(dsldec.PolicyError, match=r"`dsldec.shipped_policies\(\)` gives the names"):
        dsldec.load("zzzzzzzzzz")
    with pytest.raises(dsldec.PolicyError, match="did you mean `klass`"):
        dsldec.load("klas")


def test_the_text_needs_no_torch() -> None:
    code = "import sys; from dsldec.cli import main; main(['list', '--family', 'stability']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("doc", "rule", "source"),
    [
        ("Commit the best (A and B, arXiv:2505.22618, eq. 3).", "Commit the best", "A and B, arXiv:2505.22618, eq. 3"),
        ("The end last (LLaDA pull request 139).", "The end last", "LLaDA pull request 139"),
        (
            "Divide (Luo et al., arXiv:2602.23792): find seeds (at most 8).",
            "Divide: find seeds (at most 8)",
            "Luo et al., arXiv:2602.23792",
        ),
        ("One thing f(x) (P, arXiv:2505.22618). Then\n  another. See (y).", "One thing f(x)", "P, arXiv:2505.22618"),
        ("Above it (SGLang, LowConfidence).", "Above it", "SGLang, LowConfidence"),
        ("A rule (the idea of Swordsman).", "A rule", "the idea of Swordsman"),
        ("By hand (github.com/a/b, x.py: f()).", "By hand", "github.com/a/b, x.py: f()"),
        ("No source at all.", "No source at all", ""),
        ("", "", ""),
    ],
)  # fmt: skip
def test_the_rule_and_the_source_of_a_doc_string(doc: str, rule: str, source: str) -> None:
    assert (rule_of(doc), source_of(doc)) == (rule, source)
    assert names_source(doc) is any(one in doc for one in ("arXiv", "pull request", "github", "SGLang"))
