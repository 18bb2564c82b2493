"""`dsldec test`: every shipped case passes, and the message for a failing case names its step."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dsldec
from dsldec.cli import main
from dsldec.resources import cases_file, policy_file, shipped_policies
from dsldec.tools.test import outcomes_of

from ..conftest import Accepted

OWN = """policy own(k: int = 1 in 1..9, block: int = 2 in 1..9):
  window blocks(block)
  phase wide at most 1 visits else narrow:
    commit masked and conf > 0.8
    next narrow
  phase narrow:
    commit top(masked, k, by=margin)
    revoke committed and p(canvas) < 0.5 at most committed_now - 1 by doubt
"""
FAILING = """case several things at once
  gen 3
  conf    .9  .5  .5
  commit  0
  phase   wide
  margin   .  .5  .5
  conf    .9  .5  .5
  p       .4   .   .
  commit  0
  canvas  1   0   _
  phase   wide
  done
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy `own.policy`, and the file its cases go to."""
    (tmp_path / "own.policy").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return Path("own.cases")


@pytest.mark.parametrize("name", shipped_policies())
def test_the_cases_of_a_shipped_policy_pass(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cases_file(name).is_file(), f"write cases of `{name}` that a person can follow on paper"
    assert main(["test", name]) == 0
    out = capsys.readouterr().out
    count = len(re.findall(r"^case ", cases_file(name).read_text(), re.MULTILINE))
    assert out == f"{count} cases: {count} pass\n"
    assert count >= 2


# Changes of a policy's text, of which its cases must notice one.
MUTATIONS = (
    ("by=conf", "by=pos"),
    ("by=-entropy", "by=pos"),
    ("by conf", "by -pos"),
    (">=", ">"),
    ("<=", "<"),
    (" > ", " >= "),
    (" < ", " <= "),
    (" + 1", " + 2"),
    ("top(masked, ", "top(masked, 1 + "),
    ("conf", "margin"),
    ("at_most=", "at_most=1 + "),
    (" - ", " + "),
    (" and ", " or "),
    ("min=", "min=1 + "),
    ("chance(masked, ", "chance(masked, 0.1 * "),
    ("even(", "linear("),
    ("linear(", "linear(1 + "),
    ("even(", "even(1 + "),
)


@pytest.mark.parametrize("name", [name for name in shipped_policies() if cases_file(name).is_file()])
def test_a_shipped_case_would_notice(name: str, tmp_path: Path) -> None:
    """The cases of a policy are no cases of another one."""
    text = policy_file(name).read_text(encoding="utf-8")
    file = tmp_path / f"{name}.policy"
    file.with_suffix(".cases").write_text(cases_file(name).read_text(encoding="utf-8"))

    def notices(changed: str) -> bool:
        if changed == text or dsldec.check(changed)[0] is None:
            return False
        file.write_text(changed)
        return any(outcome.diagnostics for outcome in outcomes_of(str(file)))

    assert any(notices(text.replace(before, after)) for before, after in MUTATIONS)


def test_a_case_that_fails_is_told_with_its_step(
    own: Path, capsys: pytest.CaptureFixture[str], accepted: Accepted
) -> None:
    own.write_text(FAILING)
    assert main(["test", "own.policy"]) == 1
    accepted("test/failing.txt", capsys.readouterr().out)


def test_as_json(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own.write_text("case right\nconf .9 .9\ncommit 0 1\ndone\ncase wrong\nconf .9 .1\ncommit 1\n cnf\n")
    assert main(["test", "own.cases", "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(case["file"], case["line"], case["case"], case["passes"]) for case in found["cases"]] == [
        ("own.cases", 1, "right", True)
    ]
    assert [(d["code"], d["line"], d["column"]) for d in found["diagnostics"]] == [("E0441", 8, 2)]


@pytest.mark.parametrize(
    ("text", "code", "marked", "says"),
    [
        ("case a\nset k=0\nconf .9\ncommit 0", "E0402", "k=0", "lies in 1..9"),
        ("case a\nset k=x\nconf .9\ncommit 0", "E0424", "k=x", "for example `set k=4`"),
        ("case a\nset kk=1\nconf .9\ncommit 0", "E0403", "kk=1", "did you mean `k`?"),
        ("case a\nconf .9\ncommit 0\nphase wilde", "E0443", "wilde", "did you mean `wide`?"),
        ("case a\nmargin .9\ncommit 0", "E0444", "margin .9", "reads `conf`, and this forward has no row"),
        (
            "case a\nconf .9 .1\ncommit 0\nmargin . .5\nconf . .1\ncommit 1",
            "E0444",
            "margin . .5",
            "reads `p`, and this forward has no row",
        ),
        ("case a\nconf .9 .\ncommit 0", "E0444", ".", "position 1 is masked"),
        ("case a\nconf .9\ncommit 0\nconf .9\ncommit", "E0446", "conf .9", "say `done` there"),
        ("case a\nstart 7\nconf .9\ncommit", "E0446", "conf .9", "leave a position masked"),
        ("case a\nconf .9 .9\ncommit 0 1\ncanvas 0 2", "E0446", "canvas 0 2", "write `canvas 0 1`"),
        ("case a\nconf .1\ncommit\ndone", "E0446", "done", "leave `done` out"),
        ("case a\nconf .9\nphase wide", "E0446", "phase wide", "add `commit 0`"),
    ],
)
def test_what_a_case_gets_wrong_is_marked(
    text: str, code: str, marked: str, says: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own.write_text(text)
    assert main(["test", "own.policy"]) == 1
    out = capsys.readouterr().out
    first, place, _, line, carets = out.splitlines()[:5]
    assert first.startswith(f"error[{code}]: ")
    assert place.strip().startswith("--> own.cases:")
    assert line[carets.index("^") :].startswith(marked)
    assert carets.count("^") == len(marked)
    assert says in out
    assert out.endswith("1 case: 0 pass, 1 fail\n")


def test_a_phase_that_is_not_run_needs_no_rows(own: Path) -> None:
    own.write_text(
        "case a\nset block=3\nconf .9 .1 .2\ncommit 0\nphase wide\nmargin . .3 .2\nconf .9 .3 .2\np .9 . .\ncommit 1\nphase narrow\n"
    )
    assert main(["test", "own.policy"]) == 0


def test_windows_that_are_written_at_the_start_are_passed_over(own: Path) -> None:
    own.write_text("case a\nstart 7 7 _ 7\nconf . . .9 .\ncommit 2\ncanvas 7 7 2 7\ndone\n")
    assert main(["test", "own.policy"]) == 0


def test_errors_of_the_policy_are_told(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own.write_text("case a\nconf .9\ncommit 0\n")
    Path("own.policy").write_text("policy own():\n  window blocks(2)\n  commit masked and cnf > 0.5\n")
    assert main(["test", "own.policy"]) == 1
    out = capsys.readouterr().out
    assert "did you mean `conf`?" in out
    assert out.endswith("0 cases: 0 pass, 1 error\n")


def test_bytes_that_are_no_text(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own.write_bytes(b"case \xff\n")
    assert main(["test", "own.policy"]) == 1
    assert "`own.cases` is not UTF-8 text" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [
        ([], "E0420", "`dsldec test` lacks `NAME|FILE`"),
        (["treshold"], "E0401", "did you mean `threshold`?"),
        (
            ["own.policy"],
            "E0440",
            "`own.cases` cannot be read: the cases of a policy stand in a file beside it",
        ),
        (["none.cases"], "E0440", "`none.cases` cannot be read: there is no such file"),
        (["."], "E0401", ""),
        (["/.cases"], "E0440", ""),
        (["a\0.cases"], "E0440", ""),
    ],
)
def test_what_cannot_be_read_is_wrong_usage(
    names: list[str], code: str, says: str, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", *names]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error[{code}]: ")
    assert says in err


def test_a_file_with_mistakes_is_told_without_torch(own: Path) -> None:
    own.write_text("case a\ncnf .9\n")
    program = (
        "import sys; from dsldec.cli import main; print(main(['test', 'own.cases']), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.endswith("1 False\n"), ran.stdout + ran.stderr


def test_files_of_tables_are_named_from_the_folder_of_the_cases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taus.json").write_text("[0.9, 0.1]")
    (tmp_path / "own.policy").write_text(
        "policy own(taus: table by step = 0.5, way: conf | margin = conf):\n  window blocks(2)\n"
        "  commit masked and conf >= of(taus, step) at least 1 by conf if way == conf else margin\n"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    cases = "case of each step\n  set {}\n  conf .8 .7\n  margin .1 .7\n  commit 1\n"
    for setting, code, told in (
        ("taus=@taus.json way=margin", 0, "1 case: 1 pass"),
        ("taus=@none.json", 1, "with a number for each step"),
        ("taus=0.5,0.4", 1, "takes a list from a file, not `0.5,0.4`"),
        ("way=none", 1, "for example `set way=conf`"),
    ):
        (tmp_path / "own.cases").write_text(cases.format(setting))
        assert main(["test", str(tmp_path / "own.policy")]) == code, setting
        found = capsys.readouterr()
        assert told in found.out + found.err
