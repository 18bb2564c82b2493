"""Recorded values in a trace file: a line from anyone costs bounded memory and ends in a sentence, and torch is
not needed.
"""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.cli.dispatch import main
from dsldec.explained import record_lines
from dsldec.trajectory import Trajectory

from ..toy import ToyDenoiser
from .recorded import as_text, record_of


@cache
def text() -> str:
    decoded = dsldec.decode(
        ToyDenoiser(3, 1.5), [[1, 2, 3]], "remdm", gen_length=12, trace="values", backend="eager", lookahead=3
    )
    (trajectory,) = decoded.trajectories
    assert trajectory is not None
    return trajectory.to_json()


def line() -> Any:
    return json.loads(text())


def refusal(changed: Any) -> str:
    with pytest.raises(dsldec.UsageError) as refused:
        Trajectory.from_json(json.dumps(changed))
    return str(refused.value)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("policy", 7, "has values without the text of a policy"),
        ("policy", "policy p():\n  nonsense\n", "has values of a policy that has a mistake"),
        ("name", None, "has values without the name of a policy"),
        ("parameters", [], "has values without the parameters of a policy"),
        ("parameters", {"none": 1}, "has values with a parameter that the policy does not take"),
        ("parameters", {"steps": [[1]]}, "has values with a parameter that the policy does not take"),
        ("program", "0" * 16, "E0561"),
        ("windows", None, "has values without a list `windows`"),
        ("windows", [[0, 12, 10**9]], "has `windows` outside the steps or positions"),
        ("windows", [[5, 12, 1]], "has `windows` outside the steps or positions"),
        ("windows", [[-4, 2, 1]], "has `windows` outside the steps or positions"),
        ("windows", [[0, 12, 1]], "has `windows` that are not one a step"),
        ("candidates", -1, "has an invalid number of `candidates`"),
        ("candidates", 5, "has `columns` of another size"),
        ("columns", 5, "has values without `columns`"),
        ("columns", "%", "has damaged `columns`"),
        ("columns", "", "has `columns` of another size"),
        ("drafts", [[0, 1]], "has an invalid entry in `drafts`"),
        ("drafts", [[0, 1, [[-1, 5]]]], "has an invalid entry in `drafts`"),
        ("scores", [[0, ["nan"]]], "has an invalid entry in `scores`"),
        ("recomputed", [10**6], "has an invalid entry in `recomputed`"),
        ("recomputed", {}, "has values without a list `recomputed`"),
    ],
)
def test_a_wrong_field_is_refused(field: str, value: Any, says: str) -> None:
    changed = line()
    changed["values"][field] = value
    assert says in refusal(changed)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("values", [], "has `values` that are no object"),
        ("prompt", 5, "has a `prompt` that is no text"),
        ("tokens", [], "has `tokens` that are no object"),
        ("tokens", {"-1": "x"}, "has an invalid id in `tokens`"),
        ("tokens", {"9" * 19: "x"}, "has an invalid id in `tokens`"),
        ("tokens", {"1": 5}, "has an invalid text in `tokens`"),
        ("phases", [["other", 12]], "has a phase that the policy of its values does not have"),
    ],
)
def test_a_wrong_line_is_refused(field: str, value: Any, says: str) -> None:
    changed = line()
    if field == "phases":
        value = [["other", sum(count for _, count in changed["phases"])]]
    changed[field] = value
    assert says in refusal(changed)


def test_values_of_another_version_name_it() -> None:
    changed = line()
    changed["values"] |= {"dsldec": "0.0.7", "program": "0" * 16}
    assert refusal(changed) == (
        "error[E0561]: the recorded values belong to another version of dsldec, 0.0.7\n"
        "  = help: read them with it: `pip install dsldec==0.0.7`"
    )
    changed["values"]["dsldec"] = "0.0.7; rm -rf /"
    assert "rm -rf" not in refusal(changed)


def test_a_number_that_is_no_probability_is_refused() -> None:
    changed = line()
    data = bytearray(zlib.decompress(base64.b64decode(changed["values"]["columns"])))
    data[-4:] = b"\0\0\xc0\x7f"  # NaN
    changed["values"]["columns"] = base64.b64encode(zlib.compress(bytes(data))).decode()
    assert "has a candidate with an invalid probability" in refusal(changed)


def test_a_small_line_does_not_unpack_to_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = base64.b64encode(zlib.compress(bytes(2**28), 9)).decode()
    changed = line()
    changed["values"]["columns"] = bomb
    long = {name: value for name, value in line().items() if name != "forwards"}
    long |= {"length": 2**20, "phases": [["", 2**9]]}
    long["values"] |= {"windows": [[0, 2**20, 2**9]], "columns": bomb}
    tracemalloc.start()
    try:
        assert "has `columns` of another size" in refusal(changed)
        assert "has values of more than 256 MiB" in refusal(long)
        monkeypatch.setattr(record_lines, "MOST_RECORDS", 2**8)
        assert "has values of more than 256 steps" in refusal(long)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 2**20


def changes(rng: random.Random, value: Any) -> Any:
    """The value with one random change."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        if rng.random() < 0.1:
            return {name: one for name, one in value.items() if name != key}
        return value | {key: changes(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], changes(rng, value[at]), *value[at + 1 :]]
    if isinstance(value, str) and value and rng.random() < 0.7:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice("A\0=_ é") * rng.randint(0, 3) + value[at + rng.randint(0, 2) :]
    numbers = (None, True, -1, 0, 1, 2**31, 2**63, 10**40, 0.5, -1e300, "", "x", [], {}, [[]], {"1": 2})
    return rng.choice(numbers)


@pytest.mark.parametrize("seeds", [range(150), pytest.param(range(150, 20_000), marks=pytest.mark.slow)])
def test_a_mutated_line_is_read_or_refused(seeds: range) -> None:
    for seed in seeds:
        rng = random.Random(seed)
        changed = line()
        changed["values"] = changes(rng, changed["values"])
        if rng.random() < 0.5:
            changed = changes(rng, changed)
        try:
            trajectory = Trajectory.from_json(json.dumps(changed))
        except dsldec.UsageError:
            continue
        for step in trajectory.steps:
            if step.record is not None:
                assert as_text(record_of(step))
                assert record_of(step).named() is not None


def test_values_that_are_too_many_are_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trajectory = Trajectory.from_json(text())
    monkeypatch.setattr(record_lines, "MOST_BYTES", 1000)
    again = Trajectory.from_json(trajectory.to_json())
    assert [step.record for step in again.steps] == [None for _ in trajectory.steps]
    assert "W0561" in caplog.text


def test_lines_share_a_policy() -> None:
    one, other = (Trajectory.from_json(text()) for _ in range(2))
    assert record_of(one.steps[0]).explained is record_of(other.steps[-1]).explained


# --- on the command line


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(tmp_path)
    files = ["--out", "results.jsonl", "--trace", "traces.jsonl"]

    def with_prompts(*given: str) -> tuple[int, str]:
        status = main(["run", *given, "--gen-length", "8", "--backend", "eager", *files])
        return status, capsys.readouterr().err

    return with_prompts


def test_a_trace_file_with_values_is_read_without_torch(run: Callable[..., tuple[int, str]]) -> None:
    assert run("Compute 3*6.", "--values")[0] == 0
    program = (
        "import dsldec, sys\n"
        "(one,) = dsldec.Trajectory.read('traces.jsonl')\n"
        "print(one.prompt, one.tokens[one.ids[0]], one.steps[0].record.explained.source.name)\n"
        "assert one.steps[0].record.candidates.ids[0]\n"
        "assert 'torch' not in sys.modules\n"
    )
    read = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    assert read.stdout.startswith("Compute 3*6. ")


def test_a_file_may_have_traces_with_and_without_values(run: Callable[..., tuple[int, str]]) -> None:
    assert run("Compute 3*6.")[0] == 0
    status, told = run("Compute 3*6.", "Compute 2*6.", "--values", "--resume")
    assert status == 0
    assert "1 trace of `traces.jsonl` has no values: decoded before `--values` was given" in told
    status, told = run("Compute 3*6.", "Compute 2*6.", "Compute 2*7.", "--resume")
    assert status == 0
    assert "1 trace of `traces.jsonl` has values, and further traces will have none: give `--values`" in told
    recorded = [one.recorded for one in Trajectory.read("traces.jsonl")]
    assert sorted(recorded) == [False, False, True]


def test_values_need_a_trace_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "Compute 3*6.", "--values"]) == 2
    assert "E0423" in capsys.readouterr().err
