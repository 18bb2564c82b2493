"""`dsldec view` and `dsldec run --html`: the page is written, and every mistake is a sentence.

Not here: the page itself (`test_page_data`, `tests/browser`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import dsldec
from dsldec.cli import main
from dsldec.tools.viewing import opened_page
from dsldec.tools.viewing.page import MARK

from ...toy import ToyDenoiser


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    """A file with two traces, with the ids `one` and `two`."""
    file = tmp_path / "traces.jsonl"
    run = dsldec.decode(ToyDenoiser(3, 2.0), [[1, 2], [3]], "threshold", gen_length=8, trace="values")
    lines = [
        replace(one, id=id).to_json() for id, one in zip(("one", "two"), run.trajectories, strict=True) if one
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_it_writes_a_page_beside_the_trace(traces: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", str(traces)]) == 0
    page = traces.with_suffix(".html")
    assert MARK in page.read_text()
    said = capsys.readouterr()
    assert said.out.startswith(f"`{page}` written, 0.")
    assert "steps of threshold" in said.out
    assert "several traces; the page shows that of prompt `one`" in said.err
    assert main(["view", str(traces), "--id", "two"]) == 0  # it replaces its own page
    assert capsys.readouterr().err == ""


def test_it_writes_two_runs_of_the_same_prompt(
    traces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jsonl"
    policy = dsldec.load("threshold", confidence=0.5)
    run = dsldec.decode(ToyDenoiser(3, 2.0), [[3], [1, 2]], policy, gen_length=8, trace="values")
    other.write_text("\n".join(one.to_json() for one in run.trajectories if one) + "\n")
    out = str(tmp_path / "both.html")
    assert main(["view", str(traces), "--against", str(other), "--out", out]) == 0
    assert "threshold confidence=0.9 and" in capsys.readouterr().out.replace("steps of ", "").replace(
        "8 ", ""
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["{folder}/none.jsonl"], "E0460", "no such file"),
        (["{folder}/empty.jsonl"], "E0570", "has no trace"),
        (["{folder}/wrong.jsonl"], "E0460", "line 1"),
        (["{traces}", "--id", "onee"], "E0571", "did you mean `--id one`?"),
        (["{traces}", "--id", "zzz"], "E0571", "its ids are `one`, `two`"),
        (["{traces}", "--id", "one", "--sample", "3"], "E0571", "leave `--sample` out"),
        (["{traces}", "--against", "{folder}/single.jsonl"], "E0572", "no trace of the same prompt"),
        (["{traces}", "--out", "{folder}/none/x.html"], "E0432", "its folder does not exist"),
        (["{traces}", "--out", "{folder}"], "E0432", "it is a folder"),
        (["{traces}", "--out", "{traces}"], "E0436", "dsldec did not write it"),
        (["{traces}", "--id", ""], "E0422", "`--id` is a text"),
    ],
)
def test_mistakes_are_sentences(
    traces: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str, says: str
) -> None:
    folder = traces.parent
    (folder / "empty.jsonl").touch()
    (folder / "wrong.jsonl").write_text("{}\n")
    (folder / "single.jsonl").write_text(traces.read_text().split("\n")[1] + "\n")
    before = traces.read_text()
    filled = [one.format(folder=folder, traces=traces) for one in arguments]
    assert main(["view", *filled]) == 2
    said = capsys.readouterr().err
    assert f"error[{code}]" in said
    assert says in said
    assert traces.read_text() == before


def test_a_missing_browser_is_a_warning(
    traces: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsldec.tools.viewing.verb.on_a_desktop", lambda: True)
    monkeypatch.setattr(opened_page.webbrowser, "open", lambda address: False)
    assert main(["view", str(traces), "--id", "one"]) == 0
    assert "warning[W0570]" in capsys.readouterr().err
    assert main(["view", str(traces), "--id", "one", "--no-open"]) == 0
    assert "W0570" not in capsys.readouterr().err


def test_a_browser_opens_on_a_desktop_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0")
    assert opened_page.on_a_desktop()
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4")
    assert not opened_page.on_a_desktop()
    monkeypatch.delenv("SSH_CONNECTION")
    monkeypatch.delenv("DISPLAY")
    assert not opened_page.on_a_desktop()


def test_run_writes_the_page_of_its_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "run.html"
    changed = ["--set", "confidence=0.8"]
    assert main(["run", "--html", str(page), "--gen-length", "16", *changed, "What is 2+3?"]) == 0
    assert "<title>threshold(confidence=0.8): steps of dsldec</title>" in page.read_text()
    assert main(["run", "--html", str(page), "--gen-length", "16", "What is 2+3?"]) == 0
    assert "<title>threshold: steps of dsldec</title>" in page.read_text()
    assert MARK in page.read_text()
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--html", "{folder}/x.html", "a", "b"], "E0423"),
        (["--html", "{folder}/x.html", "--n", "2", "a"], "E0423"),
        (["--html", "{folder}/x.html", "--out", "{folder}/r.jsonl", "--resume", "a"], "E0423"),
        (["--html", "{folder}/none/x.html", "a"], "E0432"),
        (["--html", "{folder}/mine.html", "a"], "E0436"),
    ],
)
def test_a_page_that_run_cannot_write_is_refused_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: str
) -> None:
    (tmp_path / "mine.html").write_text("<p>mine</p>")
    assert main(["run", *(one.format(folder=tmp_path) for one in arguments)]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl").exists()
