"""Steps that explain each other: texts of ids, states, drafts that `accept` took, the end of the text."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Iterator

import pytest

import dsldec
from dsldec.diagnostics import UsageError
from dsldec.explained.record_lines import SIZES
from dsldec.explained.recorded_values import INT, RecordedValues
from dsldec.tools.viewing.page_data import ViewedRun, page_data
from dsldec.trajectory import Trajectory

from ..toy import ToyDenoiser
from .recorded import record_of

HEAD = "policy p(block: int = 8 in 1..9):\n  window blocks(block)\n"
DRAFTS = HEAD + "  lookahead 2 accept conf > .02\n  commit masked and conf > .5 at least 1 by conf\n"
COUNTED = (
    HEAD
    + "  state seen: int each = 0 per sequence\n  commit masked and seen > 99 at least 1 by conf\n  set seen = seen + 1\n"
)
SPECIAL = (2**63 - 1, -(2**63), -1, 0, 1, 2**31)
PATCHED = ("dico", "dilated_spacing", "multi_block", "lopa")


def trajectory(policy: str, seed: int = 3, length: int = 16) -> Trajectory:
    made = dsldec.decode(
        ToyDenoiser(seed, 24), [[1, 2]], dsldec.load(policy), gen_length=length, trace="values"
    )
    (one,) = made.trajectories
    assert one is not None
    return one


def every(one: Trajectory) -> Iterator[str]:
    for step in range(len(one.steps)):
        for position in range(-1, one.length + 1):
            yield str(one.why(step, position))


def test_a_step_alone_follows_a_state_and_names_the_step_that_wrote() -> None:
    one = trajectory(COUNTED)
    first = one.steps[0].committed[0]
    assert f"written in step 0: id {one.steps[0].ids[first]}" in str(one.steps[1].why(first))
    text = str(one.steps[2].why(one.steps[2].committed[0]))
    assert "seen" in text
    assert text == str(one.why(2, one.steps[2].committed[0]))


def test_a_step_shows_the_texts_of_ids() -> None:
    denoiser = dsldec.from_pretrained()
    made = dsldec.decode(denoiser, ["What is 14+18?"], "threshold", gen_length=16, trace="values")
    first = made.trace[0][0].committed[0]
    assert "written in step 0: '" in str(made.trace[0][1].why(first))


@pytest.mark.parametrize("policy", [COUNTED, DRAFTS])
def test_a_pickled_trace_and_a_file_explain_the_same(policy: str) -> None:
    one = trajectory(policy)
    assert [*every(pickle.loads(pickle.dumps(one)))] == [*every(one)]
    assert [*every(Trajectory.from_json(one.to_json()))] == [*every(one)]


def test_a_step_that_is_not_there_is_refused() -> None:
    for step in (-1, 999, True):
        with pytest.raises(UsageError, match="E0566"):
            trajectory(COUNTED).why(step, 0)


def test_a_draft_that_accept_took_is_what_the_explanation_says() -> None:
    taken = 0
    for seed in range(4):
        one = trajectory(DRAFTS, seed)
        for step in one.steps:
            record = record_of(step)
            for position in range(one.length):
                said = {"committed": step.committed, "revoked": step.revoked, "edited": step.edited}
                outcome = record.why(position).outcome
                assert [word for word, places in said.items() if position in places] == [
                    word for word in said if word == outcome
                ]
            for position in record.taken or ():
                taken += 1
                assert "the statements below do not count" in str(step.why(position))
    assert taken


def test_the_end_of_the_text_is_said_in_the_last_step() -> None:
    one = trajectory(COUNTED)
    last = len(one.steps) - 1
    assert "no step follows" not in str(one.why(0, one.length - 1))
    shorter = Trajectory.from_json(one.to_json().replace('"eos_id":', f'"eos_id":{one.ids[2]},"was":'))
    end = shorter.ids.index(one.ids[2])
    assert f"the text ends at position {end}, and no step follows" in str(shorter.why(last, end + 1))


@pytest.mark.parametrize("name", PATCHED)
def test_any_number_in_a_column_is_explained(name: str) -> None:
    """No number of a trace file is an index without a check."""
    rng = random.Random(name)
    one = trajectory(name, length=12)
    for step in one.steps:
        values = record_of(step).values
        assert isinstance(values, RecordedValues)
        ints = bytearray(values.data[INT])
        for at in range(0, len(ints), SIZES[INT]):
            if rng.random() < 0.5:
                ints[at : at + SIZES[INT]] = struct.pack("<q", rng.choice(SPECIAL))
        values.data = {**values.data, INT: bytes(ints)}
        assert record_of(step).why_phase() is not None
    assert all(every(one))
    assert page_data([ViewedRun("x", one)])
