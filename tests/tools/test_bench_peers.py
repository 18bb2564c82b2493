"""`dsldec bench peers`: the peers write the ids that the policies write, and the ratios have their names."""

from __future__ import annotations

import pytest
import torch

from dsldec.tools import bench_peers
from dsldec.tools.bench_goals import GoalOptions


def canvas_of(call) -> torch.Tensor:
    return call()[0]


@pytest.fixture
def logits() -> torch.Tensor:
    """`[4, 8, 50]`, with some positions of high confidence and some rows without any."""
    noise = torch.randn(4, 8, 50, generator=torch.Generator().manual_seed(0))
    return noise * torch.tensor([0.5, 1.0, 4.0, 8.0]).view(4, 1, 1)


@pytest.mark.parametrize(
    ("policy", "peer"),
    [
        ("static", bench_peers.LLADA),
        ("threshold", bench_peers.FAST_DLLM),
        ("factor", bench_peers.FAST_DLLM),
    ],
)
def test_a_peer_writes_the_ids_of_the_policy(policy: str, peer: str, logits: torch.Tensor) -> None:
    logits[..., -1] -= 100  # no peer excludes MASK
    ours = canvas_of(bench_peers.step_call(policy, "eager", logits))
    assert torch.equal(ours, canvas_of(bench_peers.peer_call(policy, peer, logits)))
    assert 4 <= (ours != 49).sum() < ours.numel()


@pytest.mark.parametrize("policy", bench_peers.POLICIES)
def test_the_peers_differ_in_arithmetic_only(policy: str, logits: torch.Tensor, monkeypatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda step, **options: step)
    logits[..., -1] -= 100
    fast, compiled = (
        canvas_of(bench_peers.peer_call(policy, peer, logits))
        for peer in (bench_peers.FAST_DLLM, bench_peers.DINFER)
    )
    if policy == "static":  # dInfer's has no threshold here
        fast = canvas_of(bench_peers.peer_call(policy, bench_peers.LLADA, logits))
    assert torch.equal(fast, compiled)


def test_the_ratios_have_their_names(monkeypatch) -> None:
    monkeypatch.setattr(bench_peers, "SHAPES", ((2, 4, 60),))
    lines: list[str] = []
    only = ("static, eager, 2x4x60 float32 / LLaDA", "dico, eager, 2x4x60 bfloat16 / Fast")
    found = bench_peers.goals(GoalOptions(rounds=1, only=only), lines.append)
    assert [goal.name for goal in found] == [
        "static, eager, 2x4x60 float32 / LLaDA",
        "dico, eager, 2x4x60 bfloat16 / Fast-dLLM",
    ]
    assert all(goal.at_most == 1 and goal.ratio.median > 0 for goal in found)
    assert lines


def test_the_defaults_have_every_policy_batch_vocabulary_and_dtype() -> None:
    for name, values in {
        "policy": bench_peers.POLICIES,
        "shape": bench_peers.SHAPES,
        "dtype": bench_peers.DTYPES,
        "backend": ("eager", "inductor"),
    }.items():
        assert {getattr(case, name) for case in bench_peers.DEFAULTS} == set(values)
