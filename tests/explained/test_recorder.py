"""`trace="values"` records the values of every step: those of the reference, and those that made the writes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import torch

import dsldec
from dsldec.options import DecodeOptions
from dsldec.resources import family_of
from dsldec.runtime.decode import stream_rows
from dsldec.runtime.prompt_options import PromptOptions
from dsldec.runtime.recorded_rows import likeliest
from dsldec.runtime.recorder import StepMade, _WatchedStep
from dsldec.runtime.rows import Row
from dsldec.trajectory import Trajectory

from ..backends.policies import random_policy
from ..networks import bound
from ..runtime.constrained_runs import random_trial
from ..runtime.test_poll import DRAWN, GUIDED, LENIENT
from ..shipped import LIBRARY
from ..toy import MASK, ToyDenoiser
from .recorded import as_text, assert_told, by_the_reference, record_of

TOY = ToyDenoiser(3, 1.5)
PROMPTS = [[1, 2, 3], [4, 5], [7, 8, 9, 10]]


def decoded(policy: dsldec.Policy, prompts: Sequence[Sequence[int]] = PROMPTS, **how: Any) -> list[Row]:
    """The rows of a run whose steps all have records, in order of the prompts."""
    each = how.pop("each", None)
    options = DecodeOptions(**{"trace": "values", "gen_length": 10, "backend": "eager"} | how)
    rows = sorted(stream_rows(TOY, prompts, policy, options, each=each), key=lambda row: row.index)
    for row in rows:
        assert row.trajectory is not None
        for number, step in enumerate(row.trajectory.steps):
            assert record_of(step).step == number
            assert record_of(step).recomputed is False
    return rows


def trajectories(rows: list[Row]) -> list[Trajectory]:
    return [row.trajectory for row in rows if row.trajectory is not None]


def require_values(
    policy: dsldec.Policy, prompts: Sequence[Sequence[int]] = PROMPTS, **how: Any
) -> list[Row]:
    """The values tell the writes, equal those of the reference, and are the same from a file."""
    rows = decoded(policy, prompts, **how)
    with by_the_reference():
        slow = decoded(policy, prompts, **how)
    for one, other in zip(trajectories(rows), trajectories(slow), strict=True):
        again = Trajectory.from_json(one.to_json())
        for step, by_reference, read in zip(one.steps, other.steps, again.steps, strict=True):
            assert as_text(record_of(step)) == as_text(record_of(by_reference))
            assert as_text(record_of(step)) == as_text(record_of(read))
    return rows


def require_told(rows: list[Row]) -> None:
    for trajectory in trajectories(rows):
        for step in trajectory.steps:
            assert_told(step)


@pytest.mark.parametrize("names", [LIBRARY[place::6] for place in range(6)], ids=range(6))
def test_the_values_of_a_shipped_policy_tell_the_writes(names: list[str]) -> None:
    for name in names:
        require_told(decoded(dsldec.load(name), PROMPTS[:1], gen_length=8))


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARY)
def test_the_values_of_a_shipped_policy_are_those_of_the_reference(name: str) -> None:
    require_told(require_values(dsldec.load(name), gen_length=12, batch=2))


@pytest.mark.parametrize("seeds", [range(4, 7), pytest.param(range(7, 200), marks=pytest.mark.slow)])
def test_the_values_of_a_random_policy_are_those_of_the_reference(seeds: range) -> None:
    for seed in seeds:
        text, _ = random_policy(seed)
        policy, _ = dsldec.check(text)
        assert policy is not None
        rows = require_values(policy, PROMPTS[:2], gen_length=9)
        if "accept" not in text:  # an accepted draft has the writes of its own step
            require_told(rows)


@pytest.mark.parametrize("name", [name for name in dsldec.shipped_policies() if family_of(name) == "learned"])
def test_the_values_of_a_policy_with_a_network(name: str) -> None:
    require_told(require_values(bound(dsldec.load(name)), PROMPTS[:2]))


@pytest.mark.parametrize("text", [GUIDED, DRAWN], ids=["guided", "drawn"])
def test_the_values_with_guidance_and_in_sliding_windows(text: str) -> None:
    policy, _ = dsldec.check(text)
    assert policy is not None
    require_told(require_values(policy, batch=2))
    require_told(require_values(policy, lookahead=3, gen_length=16))


def test_the_values_of_an_infilling() -> None:
    prompts = [[1, MASK, MASK, 2, MASK, 3], [MASK, MASK, 5]]
    require_told(require_values(dsldec.load("threshold"), prompts, infill=True, gen_length=None))


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 60), marks=pytest.mark.slow)])
def test_the_values_of_a_run_with_patterns(seeds: range) -> None:
    for seed in seeds:
        trial = random_trial(seed)
        out = trial.run(trace="values")
        with by_the_reference():
            slow = trial.run(trace="values")
        for one, other in zip(out.trajectories, slow.trajectories, strict=True):
            assert one is not None
            assert other is not None
            for step, by_reference in zip(one.steps, other.steps, strict=True):
                assert as_text(record_of(step)) == as_text(record_of(by_reference))
                assert_told(step)


def test_each_request_has_its_own_parameters() -> None:
    each = [
        PromptOptions(10, parameters={"confidence": 0.3}), PromptOptions(10), PromptOptions(10, parameters={"confidence": 0.6})
    ]  # fmt: skip
    rows = require_values(dsldec.load("threshold", confidence=0.9), each=each)
    require_told(rows)
    records = [record_of(one.steps[0]) for one in trajectories(rows)]
    assert [record.explained.parameters["confidence"] for record in records] == [0.3, 0.9, 0.6]
    assert len({id(record.explained.watched) for record in records}) == 1


# --- drafts and candidates


def test_a_refused_draft_is_in_the_record() -> None:
    policy, plain = dsldec.load("threshold", confidence=0.5), []
    (row,) = decoded(policy, PROMPTS[:1], lookahead=4, gen_length=24)
    steps = trajectories([row])[0].steps
    canvases = [canvas[3:] for canvas in trajectories([row])[0].canvases()]
    for number, (step, after) in enumerate(zip(steps, canvases[1:], strict=True)):
        record = record_of(step)
        refuses = bool(record.refused)
        # An accepted draft shares its forward with the step before; after a refusal comes a new forward.
        shared = number + 1 < len(steps) and steps[number + 1].forward == step.forward
        assert not (refuses and shared)
        assert all(after[at] != id_ for at, id_ in record.refused.items())
        assert record.dropped == 0 or refuses
        plain.append(refuses)
    assert any(plain)
    assert sum(record_of(step).dropped for step in steps) == sum(row.proposed) - sum(row.accepted) - sum(
        plain
    )


def test_an_accepted_draft_of_a_lenient_policy_is_recorded() -> None:
    policy, _ = dsldec.check(LENIENT)
    assert policy is not None
    require_values(policy, gen_length=16)


def test_the_scores_of_all_candidates_are_in_the_record() -> None:
    (row,) = require_values(dsldec.load("lopa"), PROMPTS[:1], gen_length=16)
    steps = trajectories([row])[0].steps
    assert max(step.branch for step in steps) > 0
    for step in steps:
        scores = record_of(step).scores
        assert step is steps[-1] or len(scores) > 1
        assert all(score <= scores[step.branch] for score in scores)


def test_the_candidates_are_the_likeliest_ids() -> None:
    (row,) = decoded(dsldec.load("threshold"), PROMPTS[:1])
    record = record_of(trajectories([row])[0].steps[0])
    assert record.candidates is not None
    probabilities = TOY(torch.tensor([[1, 2, 3, *[MASK] * 10]]))[0, 3:].double().softmax(1)
    probabilities[:, MASK] = -1
    best = probabilities.topk(4, 1)
    assert list(record.candidates.ids) == [tuple(one) for one in best.indices.tolist()]
    for shares, wanted in zip(record.candidates.probabilities, best.values.tolist(), strict=True):
        assert shares == pytest.approx(wanted, rel=1e-4, abs=1e-30)


# --- names


def test_the_named_values_stand_in_the_order_of_the_text() -> None:
    text = (
        "policy p(level: prob = 0.5):\n  window blocks(5)\n  state low: prob = 0.25 per block\n"
        "  phase one:\n    sure = conf >= low\n    set low = level\n    commit masked and sure at least 1 by conf\n"
        "    next two when any(masked)\n  phase two:\n    commit top(masked, 2, by=conf)\n    next one\n"
    )
    policy, diagnostics = dsldec.check(text)
    assert policy is not None, diagnostics
    (row,) = decoded(policy, PROMPTS[:1])
    steps = trajectories([row])[0].steps
    first, second = record_of(steps[0]), record_of(steps[1])
    named = first.named()
    assert list(named) == ["low", "sure", "set low"]
    assert named["low"].value == 0.25
    assert named["set low"].value == 0.5
    assert named["sure"].span.text == "sure = conf >= low"
    assert len(named["sure"].value) == 5  # type: ignore[arg-type]
    assert first.next is not None
    assert first.next.phase.text == "two" == steps[1].phase
    assert second.named() == {}


# --- what must not happen


def test_recording_keeps_nothing_without_values() -> None:
    row = next(iter(stream_rows(TOY, PROMPTS[:1], "threshold", DecodeOptions(trace=True, gen_length=8))))
    assert row.trajectory is not None
    assert all(step.record is None for step in row.trajectory.steps)
    assert row.trajectory.tokens == {}
    assert "values" not in row.trajectory.to_json()


def test_answers_do_not_change() -> None:
    for name in ("klass", "lopa"):
        plain, recorded = (
            dsldec.decode(TOY, PROMPTS[:2], name, gen_length=8, trace=trace, backend="eager")
            for trace in (True, "values")
        )
        assert [one.tolist() for one in recorded.ids] == [one.tolist() for one in plain.ids]
        assert recorded.trace == plain.trace


def test_a_failure_of_recording_costs_no_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    values = _WatchedStep.values

    def exhausted(self: _WatchedStep, made: StepMade, steps: Any) -> Any:
        if max(steps.values()) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory\nand more")
        return values(self, made, steps)

    monkeypatch.setattr(_WatchedStep, "values", exhausted)
    with caplog.at_level(logging.WARNING, logger="dsldec"):
        out = dsldec.decode(TOY, PROMPTS[:1], "static", gen_length=6, trace="values", backend="eager")
    (trajectory,) = out.trajectories
    assert trajectory is not None
    assert [step.record is None for step in trajectory.steps] == [number == 1 for number in range(6)]
    assert [one.message for one in caplog.records if "W0560" in one.message] == [
        "warning[W0560]: the values of a step could not be recorded: CUDA out of memory\n"
        "  = help: the answers do not change; decode in smaller batches, or record no values"
    ]
    again = Trajectory.from_json(trajectory.to_json())
    assert [step.record is None for step in again.steps] == [step.record is None for step in trajectory.steps]
    with pytest.raises(dsldec.UsageError, match="E0560"):
        trajectory.steps[1].why(0)


def test_a_wrong_value_of_trace_is_refused() -> None:
    with pytest.raises(dsldec.UsageError, match='did you mean `trace="values"`'):
        dsldec.decode(TOY, PROMPTS, "static", trace="value")


@pytest.mark.slow
def test_a_compiled_step_gives_the_same_record() -> None:
    rows = [
        list(
            stream_rows(
                TOY, PROMPTS[:1], "threshold", DecodeOptions(trace="values", gen_length=16, backend=name)
            )
        )
        for name in ("eager", "inductor")
    ]
    eager, compiled = ([as_text(record_of(s)) for s in trajectories(of)[0].steps] for of in rows)
    assert compiled == eager


@pytest.mark.parametrize("mask_id", [0, 3, 39, 40])
def test_the_candidates_leave_out_a_likely_mask(mask_id: int) -> None:
    logits = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(1))
    logits[0, :, mask_id % 40] += 50
    ids, shares = likeliest(logits, mask_id, [0, 1])
    without = logits.clone()
    if mask_id < 40:
        without[..., mask_id] = float("-inf")
    assert torch.equal(ids, without.topk(4, 2).indices.transpose(1, 2))
    assert torch.allclose(shares, logits.softmax(2).gather(2, ids.transpose(1, 2)).transpose(1, 2))
