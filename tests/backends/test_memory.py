"""The memory of a compiled step besides its input logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import dsldec

from ..shipped import CORE

ROWS, POSITIONS, VOCABULARY = 2, 32, 30_000
DRAWN = "policy drawn():\n  window blocks(32)\n  draw gumbel(0.7)\n  commit masked and conf > 0.5 at least 1 by conf\n"
BANNED = "policy banned():\n  window blocks(32)\n  logits ban(3)\n  logits bias(4, 1.5)\n  commit masked and p(7) < 0.5 at least 1 by -entropy\n"
SHIPPED = [name for name in CORE if not dsldec.load(name).facts.kept_ids]


def peak(call: Callable[[], Any]) -> int:
    """The most bytes that a call holds at once, its result among them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        result = call()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    assert result is not None
    return most


def beside_the_logits(policy: dsldec.Policy, backend: str, dtype: torch.dtype) -> float:
    """The share of the logits' size that a step holds at most, its state and canvas among it."""
    step = policy.compile(backend, mask_id=VOCABULARY - 1)
    logits = torch.randn(ROWS, POSITIONS, VOCABULARY).to(dtype)
    canvas, editable = (
        torch.full((ROWS, POSITIONS), VOCABULARY - 1),
        torch.ones(ROWS, POSITIONS, dtype=torch.bool),
    )
    state = step.start(ROWS, POSITIONS, vocab_size=VOCABULARY)
    step(logits, canvas, editable, state)
    return peak(lambda: step(logits, canvas, editable, state)) / logits.nbytes


def test_what_is_measured_is_what_is_held() -> None:
    assert peak(lambda: torch.zeros(1000) + torch.zeros(1000)) == 3 * 4000
    assert peak(lambda: [torch.zeros(1000).sum() for _ in range(5)]) < 4000 + 5 * 512
    plain = lambda logits: logits.float().softmax(-1)  # noqa: E731
    assert peak(lambda: plain(torch.randn(2, 30_000).bfloat16())) > 2 * 30_000 * 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_eager_step_holds_no_second_copy_of_the_logits(dtype: torch.dtype) -> None:
    assert beside_the_logits(dsldec.load("threshold"), "eager", dtype) < 0.15


@pytest.mark.slow
def test_a_compiled_step_holds_no_second_copy_of_the_logits() -> None:
    assert beside_the_logits(dsldec.load("threshold"), "inductor", torch.bfloat16) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*SHIPPED, DRAWN, BANNED], ids=lambda name: name.split("(")[0])
def test_no_policy_without_kl_holds_one(name: str, dtype: torch.dtype) -> None:
    assert beside_the_logits(dsldec.load(name), "inductor", dtype) < 0.05


@pytest.mark.slow
def test_what_kl_remembers_is_small_by_default_and_a_copy_on_request() -> None:
    policy = dsldec.load("klass")
    few, all_ = (
        beside_the_logits(policy.bind(keep=keep), "inductor", torch.float32) for keep in (256, VOCABULARY)
    )
    assert few < 0.1
    assert all_ > 1
