"""Every intermediate canvas follows from the record of the steps, before and after the record was a line of
JSON.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch

import dsldec
from dsldec.options import DecodeOptions
from dsldec.runtime.decode import stream_rows
from dsldec.runtime.rows import Row
from dsldec.runtime.trace import StepEvent
from dsldec.trace_step import TraceStep, rounded

from ..backends.policies import random_policy
from ..published.test_published import CASES, PROMPTS, Ending, loaded
from ..shipped import CORE
from ..toy import MASK, ToyDenoiser
from .families import Padded
from .test_infill import RULES, TEXTS, Mixed, random_text
from .test_infill import policy as policy_of
from .test_lookahead_paths import undrafting
from .test_poll import DRAWN, GUIDED, LENIENT
from .test_refill import NUCLEUS, Uneven, random_run
from .test_stop import EOS, Texts

SHIPPED = {name: [{}] for name in CORE}
POLICIES: dict[str, list[dict[str, Any]]] = SHIPPED | CASES | {"llada_random": [{}]}


# Bans likely ids: the written id is another one.
BANS = "policy bans():\n  window blocks(8)\n  logits ban(3, 7, 11, 20, 25, 30)\n  commit top(masked, 2, by=conf)\n"


def events_and_rows(
    denoiser: Any, prompts: Sequence[Sequence[int]], policy: dsldec.Policy | str, **how: Any
) -> tuple[list[list[list[int]]], list[Row]]:
    """The canvas after each step, of each prompt, as the loop had it; and the rows."""
    canvases: list[list[list[int]]] = [[] for _ in prompts]

    def on_step(event: StepEvent) -> None:
        canvases[event.index].append(event.generated.tolist())

    options = DecodeOptions(**{"trace": True, "logprobs": True, "backend": "eager"} | how)
    rows = sorted(stream_rows(denoiser, prompts, policy, options, on_step), key=lambda row: row.index)
    return canvases, rows


def assert_rebuilt(denoiser: Any, prompts: Any, policy: Any, **how: Any) -> Counter[str]:
    """The trajectory of each prompt gives the canvases of the loop; counts the kinds of change."""
    seen: Counter[str] = Counter()
    canvases, rows = events_and_rows(denoiser, prompts, policy, **how)
    assert len(rows) == len(prompts)
    for prompt, had, row in zip(prompts, canvases, rows, strict=True):
        one = row.trajectory
        assert one is not None
        assert one.prompt_ids == prompt[: row.prompt_length]
        assert one.length == len(had[0])
        begin = [prompt[row.prompt_length :]] if how.get("infill") else [[MASK] * one.length]
        made = [canvas[row.prompt_length :] for canvas in one.canvases()]
        assert made == begin + had, (policy, row.index)
        assert [canvas[: row.prompt_length] for canvas in one.canvases()] == [one.prompt_ids] * len(made)
        assert_last(row, made)
        again = dsldec.Trajectory.from_json(one.to_json())
        assert list(again.canvases()) == list(one.canvases())
        assert [plain(step) for step in again.steps] == [plain(step) for step in one.steps]
        assert again.confidence == [rounded(share) for share in one.confidence]
        assert (again.ids, again.eos_id, again.given) == (one.ids, one.eos_id, one.given)
        for step in one.steps:
            seen["revoked"] += len(step.revoked)
            seen["edited"] += len(step.edited)
            seen["phases"] += step.phase != one.steps[0].phase
        seen["given"] += len(one.given)
        seen["drafts"] += [step.forward for step in one.steps] != list(range(len(one.steps)))
        seen["failed"] += row.error is not None  # its last step wrote nothing
        seen["filled"] += made[-1] != one.ids
        seen["replaced"] += any(
            at >= len(one.ids) or one.ids[at] != id_ for at, id_ in enumerate(made[-1]) if id_ != MASK
        )
    return seen


def assert_last(row: Row, made: list[list[int]]) -> None:
    """The step map, the ids and the confidences are those of a loop over the canvases."""
    one, logprobs = row.trajectory, row.logprobs
    assert one is not None
    assert logprobs is not None
    assert one.ids == row.generated.tolist()
    last = [-1] * len(one.ids)
    for step, (before, after) in enumerate(pairwise(made)):
        last = [step if after[at] != before[at] else old for at, old in enumerate(last)]
    lasts = [
        made[-1][at] not in (MASK, one.given.get(at)) and made[-1][at] == id_
        for at, id_ in enumerate(one.ids)
    ]
    last = [step if here else -1 for step, here in zip(last, lasts, strict=True)]
    assert one.step_map == logprobs.step == last
    assert one.padded_step_map == [len(made) - 1 if step == -1 else step for step in last]
    for at, step in enumerate(last):
        assert (logprobs.confidence[at] is None) == (logprobs.logprob[at] is None) == (step == -1)
        if step >= 0:
            assert made[-1][at] == one.ids[at] == one.steps[step].ids[at]
            assert logprobs.confidence[at] == one.steps[step].observations["conf"][at]
        else:
            assert one.ids[at] in (MASK, one.eos_id, one.given.get(at))


def plain(step: TraceStep) -> tuple[Any, ...]:
    """A step without its observations."""
    return (
        step.phase, step.forward, step.committed, step.revoked, step.edited, dict(step.ids), dict(step.removed)
    )  # fmt: skip


@pytest.mark.parametrize("name", POLICIES)
def test_every_canvas_of_a_policy_follows(name: str) -> None:
    policy = loaded(name).bind(**POLICIES[name][-1])
    assert_rebuilt(ToyDenoiser(2, 4.0), PROMPTS, policy, gen_length=21)
    assert_rebuilt(Ending(1, 1.0, 14), PROMPTS, policy, gen_length=21)


def test_every_kind_of_change_is_recorded() -> None:
    seen: Counter[str] = Counter()
    for name in ("p2", "joint_threshold", "wino_plain", "slowfast", "freedave"):
        for settings in POLICIES.get(name, [{}]):
            policy = loaded(name).bind(**settings)
            seen += assert_rebuilt(ToyDenoiser(4, 5.0), PROMPTS, policy, gen_length=24)
    assert all(seen[kind] for kind in ("revoked", "edited", "phases", "drafts")), seen


@pytest.mark.parametrize("name", RULES)
def test_every_canvas_of_an_infilling_follows(name: str) -> None:
    texts = list(TEXTS.values())
    seen = assert_rebuilt(Mixed(ToyDenoiser(3, 1.0)), texts, policy_of(RULES[name][0]), infill=True, batch=3)
    assert seen["given"]
    assert_rebuilt(ToyDenoiser(3, 1.0), texts[2:5], undrafting(3), infill=True)


def of_run(seed: int, policy: dsldec.Policy | str, most: int = 7) -> Counter[str]:
    """More prompts than rows, drafts, ends of text, rows that fail."""
    run = random_run(seed, most, policy)
    denoiser = Padded(Uneven(7, 1.0)) if run.pads else Uneven(7, 1.0)
    return assert_rebuilt(denoiser, run.prompts, run.policy, request_ids=run.ids, batch=run.batch, **run.how)


def test_every_canvas_of_a_run_follows() -> None:
    seen: Counter[str] = Counter()
    for seed, policy in enumerate(
        (LENIENT, DRAWN, GUIDED, NUCLEUS, "freedave", loaded("wino_plain"), loaded("saber"))
    ):
        seen += of_run(seed, policy)
    for seed in range(4):
        seen += of_run(seed, random_policy(seed)[0] if seed % 2 else undrafting(seed))
    assert all(seen[kind] for kind in ("drafts", "failed", "filled", "revoked")), seen


@pytest.mark.parametrize("eos_id", [EOS, None])
def test_writes_behind_a_stop_string_are_in_the_record(eos_id: int | None) -> None:
    """The result has other ids there, or none; the canvases had the written ones."""
    seen: Counter[str] = Counter()
    for policy in ("threshold", "freedave", loaded("wino_plain")):
        for stop in ("a", "ab", "b"):
            denoiser = Texts(3, eos_id)
            how = {"gen_length": 14, "stop": stop, "min_length": 3, "stop_ids": [7]}
            seen += assert_rebuilt(denoiser, PROMPTS, policy, **how)
    assert seen["replaced"], seen


@pytest.mark.slow
def test_every_canvas_of_many_runs_follows() -> None:
    for seed in range(100, 200):
        rng = random.Random(seed)
        of_run(seed, random_policy(seed)[0], 15)
        of_run(seed, undrafting(seed), 15)
        texts = [random_text(rng, rng.randint(4, 20)) for _ in range(5)]
        assert_rebuilt(Mixed(ToyDenoiser(seed, 1.0)), texts, random_policy(seed)[0], infill=True, batch=2)


def test_the_confidence_is_that_of_the_written_id() -> None:
    unlikely = 0
    for policy in (
        "threshold",
        DRAWN,
        BANS,
        loaded("joint_threshold").bind(confidence=0.1, block=64),
        loaded("p2"),
    ):
        denoiser = ToyDenoiser(2, 4.0)
        _, rows = events_and_rows(denoiser, PROMPTS, policy, gen_length=16)
        for row in rows:
            one = row.trajectory
            assert one is not None
            for canvas, step in zip(one.canvases(), one.steps, strict=False):
                shares = denoiser(torch.tensor([canvas]))[0].softmax(-1)
                for at, id_ in step.ids.items():
                    unlikely += id_ != int(shares[row.prompt_length + at].argmax())
                    assert step.confidence[at] == pytest.approx(float(shares[row.prompt_length + at, id_]))
    assert unlikely


def test_without_trace_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    from dsldec.runtime.trace import StepObserver

    monkeypatch.setattr(StepObserver, "_changes", None)  # a call would fail
    decoded = dsldec.decode(ToyDenoiser(2, 4.0), PROMPTS, "threshold", gen_length=8)
    assert decoded.trajectories == decoded.logprobs == [None, None]
    assert decoded.trace == [[], []]


def test_logprobs_need_no_trace() -> None:
    decoded = dsldec.decode(ToyDenoiser(2, 4.0), PROMPTS, "threshold", gen_length=8, logprobs=True)
    traced = dsldec.decode(ToyDenoiser(2, 4.0), PROMPTS, "threshold", gen_length=8, trace=True)
    assert decoded.trajectories == [None, None]
    assert decoded.logprobs == [one.logprobs for one in traced.trajectories if one is not None]
    assert traced.logprobs == [None, None]
