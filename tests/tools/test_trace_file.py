"""Has each answer of a run exactly one trace, after every way a run can end?"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.tools.owned import OwnedFile

from .test_run import MASK, Echo, control_c, out_of_memory, results, run
from .test_run import model as model  # the fixture

DRAWS = "policy draws():\n  window blocks(4)\n  draw gumbel(2.0)\n  commit top(masked, 1, by=conf)\n"


def traces(name: str = "t.jsonl") -> dict[Any, dsldec.Trajectory]:
    """The traces of a file by id and sample; none is there twice."""
    read = list(dsldec.Trajectory.read(name))
    found = {(one.id, one.sample): one for one in read}
    assert len(found) == len(read)
    return found


def assert_consistent(count: int) -> None:
    """Each of `count` answers has one trace, with its ids."""
    answers = {(one["id"], one.get("sample")): one["ids"] for one in results() if "error" not in one}
    assert len(answers) == count
    assert {which: one.ids for which, one in traces().items()} == answers


def test_each_answer_has_a_trace(model: Echo) -> None:
    assert run("--trace", "t.jsonl", "--gen-length", "8", "ab", "c") == 0
    assert_consistent(2)
    one = traces()[0, None]
    assert one.prompt_ids == model.encode("ab")
    *_, last = one.canvases()
    assert last[: len(one.prompt_ids)] == one.prompt_ids
    assert next(one.canvases())[len(one.prompt_ids) :] == [MASK] * 8
    assert [
        len(line) > 0 and line.startswith('{"id":') for line in Path("t.jsonl").read_text().splitlines()
    ] == [
        True,
        True,
    ]


def test_a_trace_needs_no_results_file(model: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--trace", "t.jsonl", "ab", out=None) == 0
    assert capsys.readouterr().out == "AB\n"
    assert len(traces()) == 1


def test_samples_have_their_numbers(model: Echo) -> None:
    Path("draws.policy").write_text(DRAWS)
    assert (
        run("--trace", "t.jsonl", "--policy", "draws.policy", "--n", "2", "--gen-length", "8", "ab", "c") == 0
    )
    assert set(traces()) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert_consistent(4)


def test_a_prompt_without_an_answer_has_no_trace(model: Echo) -> None:
    model.fails_at = {12: out_of_memory}
    arguments = ("--trace", "t.jsonl", "--gen-length", "8", "--batch", "1", "ab", "c", "def")
    assert run(*arguments) == 1
    assert_consistent(sum("text" in line for line in results()))
    assert 0 < len(traces()) < 3
    model.fails_at = {}
    assert run("--resume", *arguments) == 0
    assert_consistent(3)


def test_a_run_that_is_interrupted_is_continued(model: Echo) -> None:
    model.fails_at = {12: control_c}
    arguments = ("--trace", "t.jsonl", "--gen-length", "8", "--batch", "1", "ab", "c", "def")
    assert run(*arguments) == 130
    assert 0 < len(traces()) < 3
    assert run("--resume", *arguments) == 0
    assert_consistent(3)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_a_trace_without_an_answer_is_written_again(keep: int, model: Echo) -> None:
    """A run was killed between the two lines, or lines of the results file were removed by hand."""
    arguments = ("--trace", "t.jsonl", "--gen-length", "8", "ab", "c")
    assert run(*arguments) == 0
    lines = Path("r.jsonl").read_text().splitlines(keepends=True)
    Path("r.jsonl").write_text("".join(lines[:keep]))
    if keep == 0:
        Path("t.jsonl").write_text(Path("t.jsonl").read_text().splitlines(keepends=True)[0])
    assert run("--resume", *arguments) == 0
    assert_consistent(2)


@pytest.mark.parametrize("cut", [1, 7, 40, -1, -9])
def test_a_line_that_a_crash_cut_is_removed(
    cut: int, model: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--trace", "t.jsonl", "--gen-length", "8", "ab", "c")
    assert run(*arguments) == 0
    whole = Path("t.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    Path("t.jsonl").write_bytes(whole[: first + cut] if cut > 0 else whole[:cut])
    lines = Path("r.jsonl").read_text().splitlines(keepends=True)
    Path("r.jsonl").write_text(lines[0])
    assert run("--resume", *arguments) == 0
    assert ("of `t.jsonl` removed" in capsys.readouterr().err) == (cut != -1)
    assert_consistent(2)


def test_a_write_that_fails_leaves_whole_lines(model: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[OwnedFile, bytes], None] = OwnedFile._write
    count = iter(range(100))

    def full(file: OwnedFile, line: bytes) -> None:
        if file.flag == "--trace" and next(count):
            write(file, line[:20])
            raise OSError(28, "No space left on device")
        write(file, line)

    monkeypatch.setattr(OwnedFile, "_write", full)
    arguments = ("--trace", "t.jsonl", "--gen-length", "8", "--batch", "1", "ab", "c")
    assert run(*arguments) == 2
    assert_consistent(1)
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--trace", "-"), "E0423", "traces are not written to standard output"),
        (("--trace", "./r.jsonl"), "E0423", "`--out` and `--trace` name the same file"),
        (("--trace", "none/t.jsonl"), "E0432", "the folder of the trace file `none/t.jsonl` does not exist"),
        (("--trace", "."), "E0432", "the trace file `.` is a folder"),
        (("--trace", "old.jsonl"), "E0433", "the trace file `old.jsonl` exists already"),
        (("--trace", "old.jsonl", "--resume"), "E0434", "line 1 of `old.jsonl` is not a trace: `precious`"),
        (
            ("--trace", "taken.jsonl"),
            "E0438",
            "another run writes the trace file `taken.jsonl` at this moment",
        ),
    ],
)
def test_a_wrong_file_is_refused_before_decoding(
    arguments: tuple[str, ...], code: str, says: str, model: Echo, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("old.jsonl").write_text("precious\n")
    taken = OwnedFile("taken.jsonl")
    assert run(*arguments, "ab") == 2
    taken.close()
    told = capsys.readouterr().err
    assert f"error[{code}]: {says}" in told
    assert "trace" in told
    assert not model.calls
    assert Path("old.jsonl").read_text() == "precious\n"
    assert not Path("r.jsonl").exists()


def test_traces_of_another_run_stay(model: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--trace", "t.jsonl", "--gen-length", "8", "ab", "c") == 0
    before = Path("t.jsonl").read_bytes()
    Path("r.jsonl").unlink()
    assert run("--trace", "t.jsonl", "--resume", "--gen-length", "9", "ab", "c") == 2
    assert "error[E0437]: line 1 of `t.jsonl` was written with another policy" in capsys.readouterr().err
    assert run("--trace", "t.jsonl", "--resume", "--gen-length", "8", "ab", "c") == 2
    assert "error[E0434]: the trace file `t.jsonl` has 2 traces" in capsys.readouterr().err
    assert Path("t.jsonl").read_bytes() == before


def test_answers_from_before_have_no_trace(model: Echo, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--gen-length", "8", "ab") == 0
    assert run("--trace", "t.jsonl", "--gen-length", "8", "--resume", "ab", "c") == 0
    assert "1 answer of `r.jsonl` without a trace" in capsys.readouterr().err
    assert set(traces()) == {(1, None)}


def test_logprobs_are_in_the_results(model: Echo, tmp_path: Path) -> None:
    assert run("--logprobs", "--gen-length", "8", "--trace", "t.jsonl", "ab") == 0
    one = traces()[0, None]
    assert results()[0]["logprobs"] == {"confidence": one.confidence, "step": one.step_map}
    lines = [{"prompt": "ab", "logprobs": True}, {"prompt": "c"}]
    Path("p.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert run("--gen-length", "8", "--prompts", "p.jsonl", out="two.jsonl") == 0
    first, second = sorted(results("two.jsonl"), key=lambda line: line["id"])
    assert first["logprobs"] == results()[0]["logprobs"]
    assert "input" not in first
    assert "logprobs" not in second
