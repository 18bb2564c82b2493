"""`dsldec test --coverage`: the places of a policy that no case reaches, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dsldec
from dsldec import checks
from dsldec.cli import main
from dsldec.resources import cases_file, policy_file, shipped_policies
from dsldec.source import Source
from dsldec.tools.cases import Case, read_cases
from dsldec.tools.coverage.places import KINDS, places_of
from dsldec.tools.coverage.report import Coverage, coverage_of, reached_by
from dsldec.tools.verdict import outcome_of

# Each text has the places of some kinds; `missed` are those that the cases leave out, as `kind: text`.
PLAIN = "policy p():\n  window blocks(4)\n  "


def covered(tmp_path: Path, text: str, cases: str) -> Coverage:
    file = tmp_path / "p.policy"
    file.write_text(text)
    read, wrong = read_cases(Source(cases))
    assert wrong == []
    return coverage_of(str(file), read)


def missed(tmp_path: Path, text: str, *cases: str) -> list[str]:
    """The places that cases of the given rows leave out."""
    written = "".join(f"case number {number}\n{rows}\n" for number, rows in enumerate(cases))
    return [f"{place.kind}: {place.span.text}" for place in covered(tmp_path, text, written).missed]


COMMIT = PLAIN + "commit masked and conf > 0.5 at least 1 by conf at most 2 by conf\n"
PASSES, FLOOR, LIMIT = (f"conf {values}\ncommit" for values in (".9 .9 .1", ".1 .2 .3", ".9 .9 .9"))


@pytest.mark.parametrize(
    ("cases", "left"),
    [
        ([PASSES], ["at least: at least 1 by conf", "at most: at most 2 by conf"]),
        ([FLOOR], ["commit: masked and conf > 0.5", "at most: at most 2 by conf"]),
        ([LIMIT], ["at least: at least 1 by conf"]),
        ([FLOOR, LIMIT], []),
    ],
)
def test_a_commit(cases: list[str], left: list[str], tmp_path: Path) -> None:
    assert missed(tmp_path, COMMIT, *cases) == left


def test_both_sides_of_orelse(tmp_path: Path) -> None:
    text = PLAIN + "commit (masked and conf > 0.8) orelse top(masked, 1, by=margin)\n"
    some = "conf .9 .1\nmargin .1 .1\ncommit"
    none = "conf .1 .1\nmargin .1 .1\ncommit"
    assert missed(tmp_path, text, some) == ["orelse right: top(masked, 1, by=margin)"]
    assert missed(tmp_path, text, none) == ["orelse left: masked and conf > 0.8"]
    assert missed(tmp_path, text, some, none) == []


def test_a_value_of_positions_counts_where_it_matters(tmp_path: Path) -> None:
    """Behind `masked and`, the branch for the first positions needs one that is still masked."""
    text = PLAIN + "commit masked and conf > (0.2 if pos < 2 else 0.4) at least 1 by conf\n"
    written = "start 7 7 _ _\nconf . . .9 .1\ncommit"
    assert "if: 0.2" in missed(tmp_path, text, written)
    assert "if: 0.2" not in missed(tmp_path, text, "conf .9 .9 .9 .1\ncommit")


def test_a_branch_inside_a_branch_that_is_not_taken(tmp_path: Path) -> None:
    text = "policy p(a: bool = true, b: bool = true):\n  window blocks(4)\n"
    text += "  commit top(masked, 1 if a else 2 if b else 3, by=conf)\n"
    rows = "conf .9 .8 .7\ncommit"
    assert missed(tmp_path, text, rows) == ["if: 2", "if not: 2 if b else 3", "if not: 3"]
    both = f"set a=false\n{rows}", f"set a=false b=false\n{rows}"
    assert missed(tmp_path, text, *both) == ["if: 1"]


def test_a_choice_by_name_needs_a_case_of_each_name(tmp_path: Path) -> None:
    text = "policy p(by: sure | margin = sure):\n  window blocks(4)\n"
    text += "  commit top(masked, 1, by=conf if by == sure else margin)\n"
    sure, other = "conf .9 .8\ncommit", "set by=margin\nmargin .9 .8\ncommit"
    assert missed(tmp_path, text, sure) == ["if not: margin"]
    assert missed(tmp_path, text, sure, other) == []


def test_a_function_has_its_places_once(tmp_path: Path) -> None:
    text = "policy p():\n  window blocks(4)\n  def low(x) = 0.2 if x > 0.5 else 0.1\n"
    text += "  commit masked and conf > low(conf) at least 1 by conf\n  finish when eos_closed and any(margin < low(margin))\n"
    checked, _ = checks.check(Source(text))
    assert checked is not None
    kinds = [place.kind for place in places_of(checked.resolved.policy)]
    assert kinds.count("if") == kinds.count("if not") == 1
    left = missed(tmp_path, text, "conf .9 .1\nmargin .9 .1\ncommit")
    assert left == ["at least: at least 1 by conf", "finish: " + text.split("\n")[4].strip()]


PHASES = """policy p(n: int = 2 in 1..9):
  window blocks(4)
  phase look at most 1 visits else write:
    commit masked and conf > 0.9
    next write when idle or not any(masked and conf > 0.5)
  phase write:
    commit top(masked, 1, by=conf)
    next look when conf_left()
"""


def test_phases_and_next(tmp_path: Path) -> None:
    text = PHASES.replace("conf_left()", "any(masked and conf > 0.4)")
    stays = "conf .95 .6 .6\ncommit 0"
    assert missed(tmp_path, text, stays) == [
        "phase else: write",
        "next: next write when idle or not any(masked and conf > 0.5)",
        "phase: write",
        "commit: top(masked, 1, by=conf)",
        "next: next look when any(masked and conf > 0.4)",
        "next not: next look when any(masked and conf > 0.4)",
    ]
    moves = "conf .1 .1 .1\ncommit\nconf .1 .2 .45\ncommit 2\nconf .1 .2 .\ncommit 1"
    left = missed(tmp_path, text, stays, moves)
    assert left == ["phase else: write", "next: next look when any(masked and conf > 0.4)"]
    again = "conf .1 .1 .1\ncommit\nconf .9 .6 .45\ncommit 0\nconf . .2 .3\ncommit 2"
    assert missed(tmp_path, text, stays, moves, again) == []


def test_revoke_edit_and_stay(tmp_path: Path) -> None:
    text = PLAIN + "commit top(masked, 2, by=conf)\n"
    text += "  revoke committed and p(canvas) < 0.2 at most committed_now - 1 by -p(canvas)\n"
    text += (
        "  edit committed and conf > 0.9 as token at most 1 by conf\n  stay at most 1 when edited_now > 0\n"
    )
    plain = "conf .5 .5\np .5 .5\ncommit 0 1"
    assert missed(tmp_path, text, plain)[0].startswith("revoke: ")
    assert [place.partition(":")[0] for place in missed(tmp_path, text, plain)] == ["revoke", "edit", "stay"]
    edits = "start 5 _ _\nconf .95 .5 .5\ntoken 8 1 2\np .5 .5 .5\ncommit 1 2\nedit 0"
    assert [place.partition(":")[0] for place in missed(tmp_path, text, plain, edits)] == ["revoke"]


def test_fill_finish_and_refresh(tmp_path: Path) -> None:
    text = PLAIN + "refresh when any(conf < 0.1)\n  commit top(masked, 1, by=conf)\n"
    text += "  fill when steps_in_window >= 1\n  finish when eos_closed\n"
    first = "conf .5 .6 .7\ncommit 2"
    assert [place.partition(":")[0] for place in missed(tmp_path, text, first)] == [
        "refresh",
        "fill",
        "finish",
    ]
    fills = f"{first}\nconf .05 .6 .\ncommit 0 1\nrefresh"
    ends = "gen 6\ntoken eos 1 2 3 4 5\nconf .9 .6 .7 .1 .1 .1\ncommit 0\ndone"
    assert missed(tmp_path, text, fills, ends) == []


def test_a_case_without_what_a_place_needs_reaches_less(tmp_path: Path) -> None:
    """A condition whose inputs the case does not give is neither true nor false."""
    text = PLAIN + "commit top(masked, 1, by=conf)\n  sure = 1 if mean(entropy) > 2 else 2\n"
    text += "  commit top(masked, sure, by=conf) if count(masked) > 2 else masked\n"
    left = ["if: 1", "if not: 2", "if: top(masked, sure, by=conf)"]
    assert missed(tmp_path, text, "conf .5 .6\ncommit") == left


def test_every_kind_says_what_to_add() -> None:
    for kind, (message, help) in KINDS.items():
        assert message[0].islower(), kind
        assert help.startswith("add a case "), kind


WITH_CASES = [name for name in shipped_policies() if cases_file(name).is_file()]


def shipped(name: str) -> tuple[checks.CheckedPolicy, list[Case]]:
    file = cases_file(name)
    checked, _ = checks.check(Source(policy_file(name).read_text(encoding="utf-8"), name))
    assert checked is not None
    return checked, read_cases(Source(file.read_text(encoding="utf-8"), str(file)))[0]


@pytest.mark.parametrize("name", WITH_CASES)
def test_only_places_are_reached(name: str) -> None:
    checked, cases = shipped(name)
    keys = {place.key for place in places_of(checked.resolved.policy)}
    assert {key for case in cases for key in reached_by(case, checked)} <= keys


def require_no_effect(name: str, cases: list[Case], checked: checks.CheckedPolicy) -> int:
    """A branch that a case does not take may be anything: with another one, the case passes too. Returns the
    number of changed branches.
    """
    changed, text = 0, checked.resolved.policy.span.source.text
    for case in cases:
        reached = reached_by(case, checked)
        for place in places_of(checked.resolved.policy):
            if place.key in reached or place.kind not in ("if", "if not", "orelse right"):
                continue
            start, end, part = place.span.start, place.span.end, place.span.text
            for other in (f"(({part}) + 1)", f"(masked and not ({part}))"):
                policy = dsldec.check(text[:start] + other + text[end:])[0]
                if policy is not None:
                    changed += 1
                    assert not outcome_of(case, policy, name).diagnostics, (case.title, part)
                    break
    return changed


def test_a_branch_that_is_not_reached_has_no_effect() -> None:
    names = ["dico", "info_gain", "lopa", "klass", "freedave_plus"]
    assert sum(
        require_no_effect(name, cases[:2], checked) for name in names for checked, cases in [shipped(name)]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_CASES)
def test_no_branch_that_is_not_reached_has_an_effect(name: str) -> None:
    checked, cases = shipped(name)
    require_no_effect(name, cases, checked)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own.policy").write_text(COMMIT.replace("policy p", "policy own"))
    (tmp_path / "own.cases").write_text("case one\nconf .9 .1 .1\ncommit 0\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_for_people(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "own.policy", "--coverage"]) == 0
    out = capsys.readouterr().out
    assert "warning[W0555]: no case needs this floor\n --> own.policy:3:32\n" in out
    assert out.endswith("\nown: 1 of 3 places reached, 33.3 %\n1 case: 1 pass\n")
    assert main(["test", "own.cases", "threshold", "--coverage"]) == 0
    assert "\nthreshold: 2 of 2 places reached\n" in capsys.readouterr().out


def test_a_threshold(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "own.policy", "--coverage", "--threshold", "33"]) == 0
    assert main(["test", "own.policy", "threshold", "--coverage", "--threshold", "40"]) == 1
    err = capsys.readouterr().err
    assert (
        "error[E0555]: the cases of `own` reach 33.3 % of its places, and `--threshold` asks for 40 %" in err
    )
    assert "`threshold` reach" not in err
    for wrong in ("101", "-1", "nan", "many", "1" * 99):
        assert main(["test", "own.policy", "--coverage", "--threshold", wrong]) == 2
        assert "error[E0422]: `--threshold` is a percentage from 0 to 100" in capsys.readouterr().err
    assert main(["test", "own.policy", "--threshold", "40"]) == 2
    assert "error[E0423]: `--threshold` has no meaning without `--coverage`" in capsys.readouterr().err


def test_as_json(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "own.policy", "--coverage", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["coverage"]
    assert (found["policy"], found["places"], found["reached"], found["percent"]) == ("own", 3, 1, 33.33)
    assert [(one["place"], one["line"], one["column"], one["code"]) for one in found["missed"]] == [
        ("at least", 3, 32, "W0555"),
        ("at most", 3, 51, "W0555"),
    ]
    assert main(["test", "own.policy", "--format", "json"]) == 0
    assert "coverage" not in json.loads(capsys.readouterr().out)


def test_a_policy_with_mistakes_has_no_coverage(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "own.policy").write_text("policy own():\n  window all\n  commit masked and conf > 0.9\n")
    assert main(["test", "own.policy", "--coverage"]) == 1
    out = capsys.readouterr().out
    assert "error[E0301]" in out
    assert "places reached" not in out


def test_a_failing_case_counts_as_far_as_it_runs(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "own.cases").write_text("case one\nconf .1 .2 .3\ncommit 0\n")
    assert main(["test", "own.policy", "--coverage"]) == 1
    assert "own: 1 of 3 places reached" in capsys.readouterr().out
