"""A trace file is read with all checks, and columns are made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.trace_step import DIGITS, TraceStep, rounded

MASK, EOS = 9, 1
# Position 0 is given. Step 0 writes 1 to 4; step 1 revokes 1 and edits 2; step 2, of the same forward, writes 1
# again. The text ends at position 3, so that the id at 4 is replaced.
STEPS = [
    TraceStep("a", [1, 2, 3, 4], [], [], 0, {"conf": {1: 0.5, 2: 0.25, 3: 1.0, 4: 1 / 3}}, {1: 4, 2: 5, 3: EOS, 4: 6}),
    TraceStep("b", [], [1], [2], 1, {"conf": {1: 0.1, 2: 0.12346}}, {2: 7}, {1: 4, 2: 5}),
    TraceStep("b", [1], [], [], 1, {"conf": {1: 1e-7}}, {1: 8}),
]  # fmt: skip
ONE = dsldec.Trajectory([2, 3], 6, [6, 8, 7, EOS, EOS], MASK, EOS, STEPS, {0: 6}, "q", 2)
LINE = json.loads(ONE.to_json())


def changed(**fields: Any) -> str:
    """The line with other fields; `None` leaves one out."""
    return json.dumps({name: value for name, value in (LINE | fields).items() if value is not None})


def why(text: str) -> str:
    with pytest.raises(dsldec.UsageError) as refused:
        dsldec.Trajectory.from_json(text)
    diagnostic = refused.value.diagnostic
    assert diagnostic.code == "E0460"
    assert "dsldec run --trace" in diagnostic.help
    return diagnostic.message.removeprefix("the text is no trajectory: it ")


def test_a_line_has_these_fields() -> None:
    assert LINE == {
        "id": "q",
        "sample": 2,
        "format": 1,
        "mask_id": 9,
        "eos_id": 1,
        "prompt_ids": [2, 3],
        "length": 6,
        "ids": [6, 8, 7, 1, 1],
        "given": [[0, 1]],
        "step_map": [-1, 2, 1, 0, -1],
        "confidence": [None, 1e-07, 0.1235, 1.0, None],
        "phases": [["a", 1], ["b", 2]],
        "forwards": [0, 1, 1],
        "undone": [[0, 1, 1, 4, 0.5], [0, 1, 2, 5, 0.25], [0, 3, 4, 6, 0.3333]],
    }
    assert ONE.to_json().startswith('{"id":"q",')
    assert DIGITS == 4


def test_the_canvases_are_those_of_the_steps() -> None:
    canvases = [
        [2, 3, 6, 9, 9, 9, 9, 9],
        [2, 3, 6, 4, 5, 1, 6, 9],
        [2, 3, 6, 9, 7, 1, 6, 9],
        [2, 3, 6, 8, 7, 1, 6, 9],
    ]
    again = dsldec.Trajectory.from_json(ONE.to_json())
    assert list(ONE.canvases()) == list(again.canvases()) == canvases
    assert again.step_map == ONE.step_map == [-1, 2, 1, 0, -1]
    assert again.padded_step_map == [3, 2, 1, 0, 3]
    assert again.to_json() == ONE.to_json()
    assert (again.id, again.sample, again.given) == ("q", 2, {0: 6})


def test_an_ordinary_line_is_short() -> None:
    step = TraceStep("", [0], [], [], 0, {"conf": {0: 0.5}}, {0: 7})
    line = json.loads(dsldec.Trajectory([], 1, [7], MASK, None, [step]).to_json())
    assert not {"id", "sample", "given", "forwards", "undone"} & set(line)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON"),
        ("[]", "is not an object"),
        (b"{}", "is `b'{}'`"),
        ("{}", "has no `format` 1"),
        (changed(format=2), "has no `format` 1"),
        (changed(ids=None), "has no list `ids`"),
        (changed(ids=[1, "x", 2, 3, 4]), "has an invalid entry 1 in `ids`"),
        (changed(ids=[-1] * 5), "has an invalid entry 0 in `ids`"),
        (changed(ids=[True] * 5), "has an invalid entry 0 in `ids`"),
        (changed(ids=[10**30] * 5), "has an invalid entry 0 in `ids`"),
        (changed(ids=[1] * 4), "has lists `ids`, `step_map` and `confidence` of different lengths"),
        (changed(length=4), "has no valid `length`"),
        (changed(length=10**12), "has no valid `length`"),
        (changed(mask_id="<mask>"), "has no valid `mask_id`"),
        (changed(eos_id=0.5), "has an `eos_id` that is no int"),
        (changed(prompt_ids=3), "has no list `prompt_ids`"),
        (changed(id=[1]), "has an `id` that is no string or int"),
        (changed(sample=-1), "has a `sample` that is no whole number from 0 on"),
        (changed(step_map=[-1, 2, 1, 0, 3]), "has an invalid entry 4 in `step_map`"),
        (changed(step_map=[0, 2, 1, 0, -1]), "writes position 0, which is given"),
        (changed(step_map=[-1, 0, 1, 0, -1]), "has writes at position 1 that overlap"),
        (changed(confidence=[2.0] * 5), "has an invalid entry 0 in `confidence`"),
        (changed(phases=[["a", 10**12]]), "has `phases` that are no pairs of a name and a count"),
        (changed(phases=[["a", 2**18], ["b", 1]]), "has more than 262144 steps"),
        (changed(phases=[[1, 3]]), "has `phases` that are no pairs of a name and a count"),
        (changed(forwards=[0, 1]), "has `forwards` that are not one a step, in order"),
        (changed(forwards=[0, 2, 1]), "has `forwards` that are not one a step, in order"),
        (changed(given=[[0, 9]]), "has `given` that are no runs of positions in order"),
        (changed(given=[[1, 1], [0, 1]]), "has `given` that are no runs of positions in order"),
        (changed(undone=[[0, 1, 6, 4, 0.5]]), "has an entry of `undone` outside the steps or positions"),
        (changed(undone=[[0, 0, 1, 4, 0.5]]), "has an entry of `undone` outside the steps or positions"),
        (changed(undone=[[0, 4, 1, 4, 0.5]]), "has an entry of `undone` outside the steps or positions"),
        (changed(undone=[[0, 1, 4, 0.5]]), "has an invalid entry 0 in `undone`"),
        (changed()[:-1] + ', "format": 1}', "is not JSON as dsldec reads it: it has the key `format` twice"),
        (changed(ids=[float("nan")]), "is not JSON as dsldec reads it: it has `NaN`, which is not a number"),
    ],
)
def test_another_line_is_refused(text: Any, reason: str) -> None:
    assert why(text) == reason


def test_a_file_is_read_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    file.write_text(f"{ONE.to_json()}\n{ONE.to_json()}\n{{}}\n")
    read = dsldec.Trajectory.read(file)
    assert next(read).to_json() == next(read).to_json() == ONE.to_json()
    with pytest.raises(dsldec.UsageError, match=r"line 3 of the trace file `.*` is no trajectory: it has no"):
        next(read)
    file.write_bytes(b"\xff\n")
    with pytest.raises(dsldec.UsageError, match="it is not UTF-8 text"):
        next(dsldec.Trajectory.read(file))
    with pytest.raises(dsldec.UsageError, match="cannot be read: no such file or directory"):
        next(dsldec.Trajectory.read(tmp_path / "none.jsonl"))
    with pytest.raises(dsldec.UsageError, match="cannot be read: it is a directory"):
        next(dsldec.Trajectory.read(str(tmp_path)))


def test_text_from_a_file_is_no_control_code(tmp_path: Path) -> None:
    file = tmp_path / "\x1b[31m.jsonl"
    file.write_text('{"\\u001b[2J": 1, "\\u001b[2J": 1}\n')
    with pytest.raises(dsldec.UsageError) as refused:
        next(dsldec.Trajectory.read(file))
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 0.99995, 0.123456, 3e-12, 1 / 3])
def test_a_confidence_has_four_digits(confidence: float) -> None:
    assert rounded(confidence) == pytest.approx(confidence, rel=5e-4)
    assert 0 <= float(rounded(confidence) or 0) <= 1


def test_a_row_without_a_trace_has_no_columns() -> None:
    with pytest.raises(dsldec.UsageError, match="entry 1 of the trajectories is no `Trajectory`, but `None`"):
        dsldec.Trajectory.columns([ONE, None])


def test_columns_are_those_of_a_data_set() -> None:
    columns = dsldec.Trajectory.columns([ONE, ONE], padded=True)
    assert columns["step_map"] == [[3, 2, 1, 0, 3]] * 2
    assert dsldec.Trajectory.columns([ONE])["step_map"] == [[-1, 2, 1, 0, -1]]
    assert columns["prompt_length"] == [2, 2]
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict(columns)
    assert data[1] == {name: values[1] for name, values in columns.items()}
    assert data.features["step_map"].feature.dtype == "int64"
    assert data.features["confidence"].feature.dtype == "float64"
