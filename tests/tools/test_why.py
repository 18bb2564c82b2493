"""`dsldec why`: of a prompt, a case and a trace file; mistakes; the outputs on its page."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from dsldec.cli import main
from dsldec.source import Source, Span
from dsldec.tools.explaining.drawing import policy_lines

PAGE = (Path(__file__).parent.parent.parent / "docs" / "why.md").read_text()
SHOWN = re.findall(r"^```sh\ndsldec (why [^\n]*)\n```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PROMPT = ["threshold", "--prompt", "What is 14+18?", "--gen-length", "16"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["why", *arguments]) == status
    out, err = capsys.readouterr()
    return err if status else out


@pytest.mark.parametrize(("command", "output"), SHOWN)
def test_the_page_shows_what_is_printed(
    command: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, *shlex.split(command)[1:]) == output


def test_the_page_shows_two_outputs() -> None:
    assert len(SHOWN) == 2


def test_a_prompt_as_steps_as_a_step_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    steps = printed(capsys, *PROMPT).splitlines()
    assert steps[0] == "`What is 14+18?`"
    assert steps[1].startswith("  step 0, window of positions 0 to 15: ")
    one = printed(capsys, *PROMPT, "--step", "0").splitlines()
    assert one[0] == "step 0, window of positions 0 to 15"
    assert re.match(r"  position \d+: '.*' committed: .*conf [\d.]+", one[1])
    found = json.loads(printed(capsys, *PROMPT, "--step", "0", "--position", "0", "--format", "json"))
    assert (found["version"], found["step"], found["position"], found["outcome"]) == (1, 0, 0, "unchanged")
    line = next(line for line in found["lines"] if line["text"].startswith("conf "))
    assert line["holds"] is False
    assert line["decides"] is True
    assert (line["place"]["line"], line["place"]["column"]) == (4, 21)
    listed = json.loads(printed(capsys, *PROMPT, "--format", "json"))["steps"]
    assert len(listed) == len(steps) - 1
    whole = json.loads(printed(capsys, *PROMPT, "--step", "0", "--format", "json"))
    assert whole["written"] == listed[0]["written"]
    assert whole["lines"]


def test_a_trace_file_is_explained_as_its_prompt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = str(tmp_path / "trace.jsonl")
    run = ["run", "--policy", *PROMPT[:1], PROMPT[2], "1+2?", *PROMPT[3:], "--trace", trace, "--values"]
    assert main([*run, "--out", str(tmp_path / "out.jsonl")]) == 0
    ids = sorted(json.loads(line)["id"] for line in (tmp_path / "trace.jsonl").read_text().splitlines())
    capsys.readouterr()
    place = ["--step", "2", "--position", "1"]
    of_file = printed(capsys, "--trace", trace, "--id", str(ids[0]), *place)
    assert of_file == printed(capsys, *PROMPT, *place)
    assert "E0569" in printed(capsys, "--trace", trace, status=2)
    assert "E0569" in printed(capsys, "--trace", trace, "--id", "99", status=2)
    assert "E0569" in printed(capsys, "--trace", trace, "--sample", "3", status=2)
    assert "E0423" in printed(capsys, "threshold", "--trace", trace, status=2)
    plain = [*run[:-3], "--trace", f"{trace}2", "--out", str(tmp_path / "out2.jsonl")]
    assert main(plain) == 0
    capsys.readouterr()
    assert "E0560" in printed(capsys, "--trace", f"{trace}2", "--id", str(ids[0]), status=2)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["threshold"], "E0423"),
        (["--prompt", "hi"], "E0423"),
        ([*PROMPT, "--id", "3"], "E0423"),
        ([*PROMPT, "--case", "x"], "E0423"),
        ([*PROMPT, "--position", "3", "--token", "3"], "E0423"),
        ([*PROMPT, "--step", "999"], "E0566"),
        ([*PROMPT, "--position", "999"], "E0566"),
        ([*PROMPT, "--position", "-2"], "E0566"),
        ([*PROMPT, "--token", "no such token"], "E0567"),
        ([*PROMPT[:3], "--token", "<|endoftext|>"], "E0567"),
        ([*PROMPT, "--step", "x"], "E0422"),
        (["threshold", "--case", "no such case"], "E0568"),
        (["--trace", "nofile.jsonl"], "E0460"),
    ],
)
def test_mistakes(arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"error[{code}]" in printed(capsys, *arguments, status=2)


def test_a_case_without_an_observation_is_a_diagnostic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.policy").write_text("policy p():\n  window all\n  commit top(masked, 1, by=margin)\n")
    (tmp_path / "p.cases").write_text("case c\n  conf .5 .6\n  commit 1\n")
    assert "E0444" in printed(capsys, str(tmp_path / "p.policy"), "--case", "c", status=1)


def test_carets_stand_under_the_marked_places() -> None:
    source = Source("first\nconf >= a and\tb\n", "a\x1b.policy")
    spans = [Span(source, 6, 15), Span(source, 20, 21), Span(source, 0, 30)]
    assert list(policy_lines(spans)) == [
        " --> a\\x1b.policy", "1 | first", "  | ^^^^^", "2 | conf >= a and b", "  | ^^^^^^^^^     ^",
    ]  # fmt: skip
