"""A waiting prompt takes the row of a finished one: it gets the same result as alone, and no row is empty
while a prompt waits.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.runtime import decode_loop
from dsldec.runtime.decode import Decoded, DecodingStopped, stream
from dsldec.runtime.poll import AsyncPoll, SyncPoll
from dsldec.runtime.trace import StepEvent

from ..backends.policies import random_policy
from ..shipped import CORE, ONE_CANDIDATE
from ..toy import MASK, ToyDenoiser
from .families import Padded, Watched
from .test_lookahead_paths import undrafting
from .test_poll import DRAWN, GUIDED, LENIENT, delays, late

EOS = 5
NUCLEUS = "policy nucleus():\n  window blocks(5)\n  draw nucleus(1.0, 0.9)\n  commit chance(masked, 0.4) at least 1 by conf\n"


class Uneven(ToyDenoiser):
    """By its first id, a row ends early, or is broken once so much is written, or does neither."""

    eos_id = EOS

    def __call__(self, ids: Tensor) -> Tensor:
        logits, first, written = super().__call__(ids), ids[:, 0], (ids != MASK).sum(1)
        ends = (first % 3 == 0) & (written > 5 + first % 7)
        logits[:, :, EOS] = torch.where(ends, 20.0, -32.0).unsqueeze(1)
        broken = (first % 4 == 1) & (written > 5 + first % 5)
        return torch.where(broken.view(-1, 1, 1), float("nan"), logits)


@dataclass
class Run:
    """What is decoded, and how."""

    policy: dsldec.Policy
    prompts: list[list[int]]
    ids: list[int]
    pads: bool
    batch: int
    how: dict[str, Any]

    def decode(self, rows: Sequence[int], batch: int, **more: Any) -> tuple[Decoded, Watched]:
        watched = Watched(Padded(Uneven(7, 1.0)) if self.pads else Uneven(7, 1.0))
        prompts, ids = [self.prompts[row] for row in rows], [self.ids[row] for row in rows]
        return dsldec.decode(
            watched, prompts, self.policy, request_ids=ids, batch=batch, backend="eager", **self.how | more
        ), watched


def random_prompts(rng: random.Random, count: int, longest: int = 6) -> list[list[int]]:
    """Of mixed lengths, no two alike."""
    firsts = rng.sample(range(MASK), count)
    return [[first, *[rng.randrange(MASK) for _ in range(rng.randrange(longest))]] for first in firsts]


def random_run(seed: int, most: int, policy: dsldec.Policy | str) -> Run:
    rng = random.Random(seed)
    of = policy if isinstance(policy, dsldec.Policy) else dsldec.load(policy)
    drafts = rng.choice((None, None, 1, 2, 3, 4))
    try:
        of.drafts(drafts)
    except dsldec.UsageError:  # the policy says how many
        drafts = None
    count = rng.randint(1, most)
    how: dict[str, Any] = {
        "gen_length": rng.randint(5, 12),
        "seed": rng.randrange(99),
        "lookahead": drafts,
        "trace": True,
    }
    how |= {"verify_rows": rng.choice(("batch", "batch", "sequential"))}
    return Run(
        of,
        random_prompts(rng, count),
        rng.sample(range(1000), count),
        rng.random() < 0.6,
        rng.randint(1, 5),
        how,
    )


def told(decoded: Decoded, row: int) -> Any:
    """All that is said of one prompt."""
    numbers = (decoded.forwards, decoded.rows, decoded.tokens)
    return (
        decoded.ids[row].tolist(), [int(n[row]) for n in numbers], decoded.proposed[row], decoded.accepted[row], decoded.errors[row],
        decoded.text[row], repr(decoded.trace[row]),
    )  # fmt: skip


def assert_as_alone(run: Run) -> Counter[str]:
    """Every prompt gets what it gets alone; gives how prompts ended."""
    together, watched = run.decode(range(len(run.prompts)), run.batch)
    assert not together.wasted_rows.any()
    assert sum(shape[0] for shape in watched.shapes) == int(together.rows.sum())
    ends: Counter[str] = Counter()
    for row in range(len(run.prompts)):
        alone, _ = run.decode([row], 1)
        assert told(together, row) == told(alone, 0), (row, run)
        error = together.errors[row]
        ends["broken" if error else "ended" if together.tokens[row] < run.how["gen_length"] else "whole"] += 1
        ends["waited"] += row >= run.batch
    if not run.pads:
        assert all(
            length == len(set_)
            for shape, call in zip(watched.shapes, watched.calls, strict=True)
            for set_ in call
            for length in [shape[1]]
        )
    return ends


def shipped() -> list[dsldec.Policy]:
    return [dsldec.load(name, block=5) for name in CORE]


def test_every_prompt_gets_what_it_gets_alone() -> None:
    ends: Counter[str] = Counter()
    policies = [*shipped(), *(dsldec.load(text) for text in (DRAWN, LENIENT, GUIDED, NUCLEUS))]
    for seed, policy in enumerate(policies):
        ends += assert_as_alone(random_run(seed, 9, policy))
    assert all(ends[kind] > 3 for kind in ("broken", "ended", "whole", "waited"))


def test_random_policies_too() -> None:
    for seed in range(5):
        assert_as_alone(random_run(seed, 6, random_policy(seed)[0] if seed % 2 else undrafting(seed)))


@pytest.mark.slow
def test_every_prompt_of_many_gets_what_it_gets_alone() -> None:
    for seed in range(100, 160):
        for policy in (random.Random(seed).choice(shipped()), random_policy(seed)[0], undrafting(seed)):
            assert_as_alone(random_run(seed, 25, policy))


# --- when


def longest_first(prompts: Sequence[list[int]]) -> list[int]:
    """The order of prompts of mixed lengths in batches of more than one row."""
    return sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))


def schedule(forwards: Sequence[int], width: int, order: Sequence[int] | None = None) -> list[list[int]]:
    """Who is in each call, in the order of the rows: whoever waits takes the lowest row that is free."""
    waiting = deque(range(len(forwards)) if order is None else order)
    rows, calls = [-1] * min(width, len(forwards)), []
    left = list(forwards)
    while waiting or any(one >= 0 for one in rows):
        rows = [waiting.popleft() if one < 0 and waiting else one for one in rows]
        calls.append([one for one in rows if one >= 0])
        for one in calls[-1]:
            left[one] -= 1
        rows = [one if one >= 0 and left[one] else -1 for one in rows]
    return calls


def of_prompts(call: list[list[int]], prompts: Sequence[list[int]]) -> list[int]:
    """Which prompts the canvases of a call are of, by their first ids."""
    firsts = [prompt[0] for prompt in prompts]
    return [firsts.index(canvas[0]) for canvas in call]


@pytest.mark.parametrize("name", [name for name in ONE_CANDIDATE if not name.startswith("freedave")])
def test_rows_are_taken_as_soon_as_they_are_free(name: str) -> None:
    rng = random.Random(name)
    for batch in (1, 4) if name == "dico" else (1, 2, 4):
        prompts = random_prompts(rng, 9)
        run = Run(dsldec.load(name, block=5), prompts, list(range(9)), True, batch, {"gen_length": 10})
        decoded, watched = run.decode(range(9), batch)
        order = longest_first(prompts) if batch > 1 else list(range(9))
        wanted = schedule(decoded.forwards.tolist(), batch, order)
        assert [of_prompts(call, prompts) for call in watched.calls] == wanted
        assert all(
            len(call) == batch
            for call in watched.calls[: next(i for i, call in enumerate(wanted) if order[-1] in call)]
        )
        assert [[len(canvas) for canvas in call] for call in watched.calls] == [
            [len(prompts[i]) + 10 for i in call] for call in wanted
        ]


def test_prompts_of_one_length_wait_for_each_other_alone() -> None:
    """A plain callable: lengths come one after the other, in the order of their first prompts."""
    rng = random.Random(3)
    prompts = random_prompts(rng, 14, 3)
    run = Run(
        dsldec.load("threshold", block=5, confidence=0.4),
        prompts,
        list(range(14)),
        False,
        3,
        {"gen_length": 10},
    )
    decoded, watched = run.decode(range(14), 3)
    wanted: list[list[int]] = []
    for length in dict.fromkeys(map(len, prompts)):
        group = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
        wanted += [
            [group[i] for i in call] for call in schedule([int(decoded.forwards[i]) for i in group], 3)
        ]
    assert [of_prompts(call, prompts) for call in watched.calls] == wanted
    assert watched.shapes == [(len(call), len(prompts[call[0]]) + 10) for call in wanted]


@pytest.mark.parametrize("drafts", [1, 3])
def test_those_who_watch_hear_of_each_request_in_order(drafts: int) -> None:
    prompts = random_prompts(random.Random(8), 9)
    heard: list[tuple[str, int]] = []
    events: list[StepEvent] = []

    def on_step(event: StepEvent) -> None:
        heard.append(("step", event.index))
        events.append(event)

    policy, denoiser, rows = dsldec.load("threshold", block=5, confidence=0.4), Padded(Uneven(7, 1.0)), []
    for row in stream(
        denoiser, prompts, policy, gen_length=10, backend="eager", batch=2, lookahead=drafts, trace=True, on_step=on_step
    ):  # fmt: skip
        heard.append(("row", row.index))
        rows.append(row)
    assert sorted(row.index for row in rows) == list(range(9))
    for row in rows:
        own = [event for event in events if event.index == row.index]
        assert row.trace is not None
        assert [kind for kind, index in heard if index == row.index] == ["step"] * len(own) + ["row"]
        # A step on logits that are no numbers is heard of, and is no step.
        assert [event.step for event in own] == [
            *range(1, len(row.trace) + (row.error is None)),
            *[len(row.trace)] * (row.error is not None),
        ]
        assert [event.forwards for event in own] == [step.forward + 1 for step in row.trace]
        assert [event.written for event in own] == [step.committed for step in row.trace]
        assert own[0].forwards == 1
        assert own[-1].forwards == row.forwards
        written = sorted(at for event in own for at in event.written)
        length = len(prompts[row.index])
        assert written == [at for at in range(10) if own[-1].generated[at] != MASK]
        assert all(int(row.ids[length + at]) == int(own[-1].generated[at]) for at in written)
    if drafts == 1:  # rows end in the order of the schedule, those of one call from the first row on
        forwards = {row.index: row.forwards for row in rows}
        calls = schedule([forwards[i] for i in range(9)], 2, longest_first(prompts))
        last = {i: n for n, call in enumerate(calls) for i in call}
        assert [last[row.index] for row in rows] == sorted(last.values())


# --- what goes wrong


def test_a_denoiser_that_fails_loses_no_row_that_is_finished() -> None:
    class Exhausted(Uneven):
        least = 0

        def __call__(self, ids: Tensor) -> Tensor:
            self.least -= 1
            if self.least < 0:
                raise MemoryError("no more")
            return super().__call__(ids)

    prompts = [[first, *([8] * (first % 3))] for first in range(1, 12)]
    how: dict[str, Any] = {"gen_length": 9, "backend": "eager", "batch": 3}

    class All(Padded):
        """Rows of a call fail together."""

        def __call__(self, ids: Tensor, lengths: list[int]) -> Tensor:
            self.denoiser.least += len(lengths) - 1
            return super().__call__(ids, lengths)

    toy = Exhausted(7, 1.0)
    toy.least = 10**6
    whole = dsldec.decode(All(toy), prompts, "static", **how)
    calls = schedule(whole.forwards.tolist(), 3, longest_first(prompts))
    last = {i: n for n, call in enumerate(calls) for i in call}
    for fails_at in (0, 1, 7, 13, len(calls) - 1):
        toy = Exhausted(7, 1.0)
        toy.least = fails_at
        with pytest.raises(DecodingStopped) as stopped:
            dsldec.decode(All(toy), prompts, "static", **how)
        got = stopped.value.decoded
        for row in range(len(prompts)):
            if last[row] < fails_at:
                assert told(got, row) == told(whole, row)
            else:
                assert got.errors[row] is not None
                assert got.errors[row].code == "E0410"
                assert got.ids[row].tolist() == prompts[row]
        assert sum(last[row] < fails_at for row in range(len(prompts))) == sum(
            n < fails_at for n in last.values()
        )


def of_length(length: int) -> list[int]:
    return [length, 8, *[MASK] * length, 9]


@pytest.mark.parametrize("poll", ["at once", "late"])
def test_the_bound_is_each_request_s_own(poll: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Met by all, passed by none; and if one is passed, that is noticed, however many rows came and went
    before.
    """

    def heard(after: int) -> Any:
        return SyncPoll() if poll == "at once" else AsyncPoll(late(lambda: after))

    lengths = [3, 9, 5, 4, 7, 2, 6]
    facts = type(dsldec.load("static").facts)
    how: dict[str, Any] = {"infill": True, "backend": "eager", "batch": 2}
    for after in (1, 99):
        monkeypatch.setattr(decode_loop, "polling", lambda device, watched: heard(after))  # noqa: B023
        monkeypatch.setattr(facts, "forwards_bound", lambda self, length, *given: length)
        decoded = dsldec.decode(Padded(ToyDenoiser(7, 1.0)), list(map(of_length, lengths)), "static", **how)
        assert decoded.forwards.tolist() == lengths
        for passed in lengths:
            monkeypatch.setattr(
                facts,
                "forwards_bound",
                lambda self, length, *given, passed=passed: length - (length == passed),
            )
            with pytest.raises(
                DecodingStopped, match=f"more than the proved {passed - 1} forwards"
            ) as stopped:
                dsldec.decode(Padded(ToyDenoiser(7, 1.0)), list(map(of_length, lengths)), "static", **how)
            assert stopped.value.decoded.errors[lengths.index(passed)] is not None


# --- hearing late


LATE = [
    (name, drafts)
    for name in ONE_CANDIDATE
    for drafts in (None, 3)
    if not (name.startswith("freedave") and drafts)
]
LATE += [(text, drafts) for text in (DRAWN, GUIDED) for drafts in (1, 3)] + [(LENIENT, None)]
QUICK = [
    ("static", None),
    ("dico", None),
    ("klass", None),
    ("threshold", 3),
    ("freedave", None),
    (DRAWN, 3),
    (GUIDED, 1),
    (LENIENT, None),
]


@pytest.mark.parametrize(
    ("name", "drafts"),
    [pytest.param(*one, marks=() if one in QUICK else pytest.mark.slow) for one in LATE],
    ids=lambda value: str(value).split("(")[0].removeprefix("policy "),
)
def test_hearing_late_changes_nothing_of_who_comes_after(
    name: str, drafts: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is heard of a row's former request does not end the one that is there."""
    policy = dsldec.load(name, **({"block": 5} if "\n" not in name else {}))
    prompts = random_prompts(random.Random(name), 7)
    run = Run(policy, prompts, list(range(7)), True, 2, {"gen_length": 8, "lookahead": drafts})
    wanted, _ = run.decode(range(7), 2)
    for which, delay in delays():
        monkeypatch.setattr(decode_loop, "polling", lambda device, watched: AsyncPoll(late(delay())))  # noqa: B023
        got, watched = run.decode(range(7), 2)
        assert [told(got, row) for row in range(7)] == [told(wanted, row) for row in range(7)], which
        assert int(got.rows.sum() + got.wasted_rows.sum()) == sum(shape[0] for shape in watched.shapes)
    assert got.wasted_rows.any()


# --- compiled


@pytest.mark.slow
def test_a_run_that_takes_rows_again_compiles_once() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    prompts = random_prompts(random.Random(2), 13)
    for policy in (dsldec.load("threshold", block=5, confidence=0.4), dsldec.load("dico", block=5)):
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        fast, slow = (
            dsldec.decode(
                Padded(Uneven(7, 1.0)), prompts, policy, gen_length=12, backend=backend, batch=4, lookahead=2
            )
            for backend in ("inductor", "eager")
        )
        assert [told(fast, row)[:5] for row in range(13)] == [told(slow, row)[:5] for row in range(13)]
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before + 1
