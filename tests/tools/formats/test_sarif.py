"""`dsldec check --format sarif`: is a log valid SARIF 2.1.0, and each place right?"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dsldec import check
from dsldec.cli import main
from dsldec.codes import CODES
from dsldec.diagnostics import Diagnostic, Fix
from dsldec.source import Source, Span
from dsldec.tools import sarif

# The schema belongs to OASIS and is not in this repository: `dsldec.tools.sarif.SCHEMA` is its address. Name the
# downloaded file in this variable, and each log of these tests is held against it.
SCHEMA_FILE = os.environ.get("DSLDEC_SARIF_SCHEMA")


def errors_by_schema(log: dict[str, Any]) -> list[str]:
    """What the official schema finds wrong in a log; nothing without the schema."""
    if SCHEMA_FILE is None:
        return []
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(Path(SCHEMA_FILE).read_text(encoding="utf-8"))
    errors = jsonschema.Draft4Validator(schema).iter_errors(log)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


def valid(log: dict[str, Any]) -> dict[str, Any]:
    """The run of a log that is valid by the schema, where there is one."""
    assert errors_by_schema(log) == []
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
    return dict(run)


def fixed(text: str, result: dict[str, Any]) -> str:
    """The text after the fix of a result, as a reader applies it: columns count UTF-16 code units."""
    (fix,) = result["fixes"]
    (change,) = fix["artifactChanges"]
    assert change["artifactLocation"] == result["locations"][0]["physicalLocation"]["artifactLocation"]
    (one,) = change["replacements"]
    lines = [line.encode("utf-16-le") for line in text.splitlines(keepends=True)] + [b""]
    region = one["deletedRegion"]
    first, last = region["startLine"] - 1, region["endLine"] - 1
    before = b"".join(lines[:first]) + lines[first][: 2 * (region["startColumn"] - 1)]
    after = lines[last][2 * (region["endColumn"] - 1) :] + b"".join(lines[last + 1 :])
    return before.decode("utf-16-le") + one["insertedContent"]["text"] + after.decode("utf-16-le")


@pytest.mark.skipif(SCHEMA_FILE is None, reason="DSLDEC_SARIF_SCHEMA names no schema")
def test_the_schema_refuses_what_is_wrong() -> None:
    log = sarif.log([("p.policy", Diagnostic("E0201", "wrong"))])
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert errors_by_schema(log) != []


def test_a_mistake_is_one_result(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "sarif", "bad.policy", "static"]) == 1
    log = json.loads(capsys.readouterr().out)
    run = valid(log)
    assert log["$schema"] == sarif.SCHEMA
    (result,) = run["results"]
    assert run["columnKind"] == "utf16CodeUnits"
    assert result == {
        "ruleId": "E0201",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "nothing is called `cnf`\nhelp: did you mean `conf`?"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "bad.policy", "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 3, "startColumn": 21, "endLine": 3, "endColumn": 24},
                }
            }
        ],
        "fixes": result["fixes"],
    }
    assert fixed(bad.read_text(), result) == bad.read_text().replace("cnf", "conf")
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == "E0201"
    assert rule["shortDescription"]["text"][1:] == f"{CODES['E0201'].sentence[1:]}."
    assert "dsldec explain E0201" in rule["help"]["text"]
    assert CODES["E0201"].good in rule["help"]["text"]


def test_clean_policies_give_a_run_without_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--format", "sarif", "static"]) == 0
    run = valid(json.loads(capsys.readouterr().out))
    assert (run["results"], run["tool"]["driver"]["rules"]) == ([], [])


def test_each_code_has_a_valid_rule() -> None:
    run = valid(sarif.log([("p.policy", Diagnostic(code, "wrong")) for code in CODES]))
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [*CODES]
    assert {rule["defaultConfiguration"]["level"] for rule in rules if rule["id"][0] == "W"} == {"warning"}
    assert [result["ruleIndex"] for result in run["results"]] == [*range(len(CODES))]
    assert max(len(json.dumps(rule)) for rule in rules) < 10_000


def test_each_bad_policy_of_the_codes_has_a_valid_log(bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = []
    for code in CODES.values():
        if code.bad and len(code.bad) < 10_000:
            Path(f"{code.code}.policy").write_text(code.bad, encoding="utf-8")
            names.append(f"{code.code}.policy")
    assert main(["check", "--format", "sarif", *names]) == 1
    results = valid(json.loads(capsys.readouterr().out))["results"]
    found = {
        (result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], result["ruleId"])
        for result in results
    }
    assert {(f"{name}", name.removesuffix(".policy")) for name in names} <= found
    diagnostics = [d for code in CODES.values() if f"{code.code}.policy" in names for d in check(code.bad)[1]]
    fixes = [(r, d.fix) for r, d in zip(results, diagnostics, strict=True) if d.fix]
    assert len(fixes) > 20
    for result, fix in fixes:
        assert fixed(fix.span.source.text, result) == fix.applied()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_fix_behind_a_large_character(end: str, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f'policy p(a: pattern = "é🙂", b: prb = 0.9):{end}  window all{end}  commit masked{end}'
    bad.write_bytes(text.encode())
    assert main(["check", "--format", "sarif", "bad.policy"]) == 1
    results = valid(json.loads(capsys.readouterr().out))["results"]
    (result,) = (one for one in results if one["level"] == "error")
    assert fixed(text, result) == text.replace("prb", "prob")


@pytest.mark.parametrize("content", [b"", b"policy \xff", b"policy p\x00():\n", b"#" * 2_000_000])
def test_a_file_that_is_no_policy_has_a_place(
    content: bytes, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.write_bytes(content)
    assert main(["check", "--format", "sarif", str(bad)]) == 1
    (result,) = valid(json.loads(capsys.readouterr().out))["results"]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 1


def test_columns_count_utf_16_units() -> None:
    source = Source("# 🙂\n  é🙂 cnf 🙂x\n")
    at = source.text.index("cnf")
    results = sarif.log([("p.policy", Diagnostic("E0201", "wrong", Span(source, at, at + 6)))])["runs"][0][
        "results"
    ]
    region = results[0]["locations"][0]["physicalLocation"]["region"]
    line = source.line(2).encode("utf-16-le")
    assert region == {"startLine": 2, "startColumn": 7, "endLine": 2, "endColumn": 14}
    assert line[2 * 6 : 2 * 13].decode("utf-16-le") == "cnf 🙂x"


def test_a_fix_is_a_replacement() -> None:
    source = Source("policy p():\n  commit masked and cnf > 1\n", "p.policy")
    at = source.text.index("cnf")
    span = Span(source, at, at + 3)
    run = valid(sarif.log([("p.policy", Diagnostic("E0201", "wrong", span, fix=Fix(span, "conf")))]))
    (fix,) = run["results"][0]["fixes"]
    assert fix["description"] == {"text": "replace `cnf` with `conf`"}
    (change,) = fix["artifactChanges"]
    assert change["artifactLocation"]["uri"] == "p.policy"
    assert change["replacements"] == [
        {
            "deletedRegion": {"startLine": 2, "startColumn": 21, "endLine": 2, "endColumn": 24},
            "insertedContent": {"text": "conf"},
        }
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize("name", ["a b#c?d%20é:1.policy", "c:x.policy", "sub/[x]{y}.policy"])
def test_paths_are_percent_encoded(name: str, bad: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sub").mkdir()
    bad.rename(name)
    main(["check", "--format", "sarif", name])
    (result,) = valid(json.loads(capsys.readouterr().out))["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    parts = urlsplit(uri)
    assert (parts.scheme, parts.query, parts.fragment, unquote(parts.path)) == ("", "", "", name)
    assert uri.isascii()


def test_a_file_outside_has_a_whole_uri(
    bad: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    main(["check", "--format", "sarif", "../bad.policy"])
    (result,) = valid(json.loads(capsys.readouterr().out))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": bad.as_uri()}


def test_a_message_is_plain_text() -> None:
    run = valid(sarif.log([("p.policy", Diagnostic("E0201", "`{0}` [here](http://a.b)"))]))
    assert run["results"][0]["message"]["text"] == "`{{0}}` [here] (http://a.b)"
