"""The number of passes of a compiled step over the vocabulary, counted in the code of Inductor, and the
number in the facts.

The code is written but not built, because building takes long.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch._functorch import config as functorch_config
from torch._inductor import config
from torch._inductor.async_compile import AsyncCompile
from torch._inductor.utils import run_and_get_code

import dsldec
from dsldec.backends.compiled import TracedStep
from dsldec.backends.module import StepModule
from dsldec.backends.vocabulary import OBSERVATIONS, observe, probability

from ..shipped import CORE

VOCABULARY = 5003  # a prime, so that no other loop is a multiple of it; no other test's, as torch keeps the unbuilt code
LENGTH = re.compile(r"for\(int64_t \w+=static_cast<int64_t>\(0L\); \w+<static_cast<int64_t>\((\d+)L\)")
SORT = re.compile(r"= torch\.ops\.aten\.(?:sort\.stable|topk\.default)\(")
BUFFER = re.compile(r"empty_strided_cpu\(\(([\d, ]*)\)")


@pytest.fixture(autouse=True)
def _nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda self, *given, **named: lambda *tensors: None)


def code_of(compiled: Any, *inputs: Any) -> str:
    torch._dynamo.reset()
    with config.patch(fx_graph_cache=False), functorch_config.patch(enable_autograd_cache=False):
        _, codes = run_and_get_code(compiled, *inputs)
    assert len(codes) == 1
    return codes[0]


def step_code(policy: dsldec.Policy, dtype: torch.dtype = torch.float32) -> str:
    rows, length = 2, 8
    step = policy.compile("eager", mask_id=6)
    traced = TracedStep(StepModule(policy.program, 6, None, step.static))
    canvas, editable = torch.full((rows, length), 6), torch.ones(rows, length, dtype=torch.bool)
    state = step.start(rows, length, vocab_size=VOCABULARY)
    logits = torch.randn(rows, length, VOCABULARY).to(dtype)
    return code_of(traced, logits, canvas, editable, state, step.params)


def passes(code: str) -> int:
    """Loops over the vocabulary, and sorts."""
    return sum(int(length) % VOCABULARY == 0 for length in LENGTH.findall(code)) + len(SORT.findall(code))


def buffers(code: str) -> int:
    """Buffers as large as the logits."""
    return sum(str(VOCABULARY) in shape.split(", ") for shape in BUFFER.findall(code))


def written(body: str) -> dsldec.Policy:
    return dsldec.load(f"policy written():\n  window all\n{body}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("wanted", [(), OBSERVATIONS])
def test_observing_takes_two_passes_and_no_buffer(wanted: tuple[str, ...], dtype: torch.dtype) -> None:
    logits = torch.randn(1, 4, VOCABULARY).to(dtype)

    def seen(logits: torch.Tensor, ids: torch.Tensor) -> Any:
        seen = observe(logits, 7, wanted)
        return seen, probability(logits, ids, seen), probability(logits, ids + 1, seen)

    code = code_of(
        torch.compile(seen, fullgraph=True, dynamic=False), logits, torch.zeros(1, 4, dtype=torch.int64)
    )
    assert passes(code) == 2
    assert buffers(code) == 0


SLOW = {"dico", "diffusion_gemma", "entropy_bounded", "factor", "frechet", "freedave", "freedave_plus"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CORE]
)
def test_shipped_policies_take_the_passes_of_their_facts(name: str) -> None:
    policy = dsldec.load(name)
    assert passes(step_code(policy)) == policy.facts.vocabulary_passes


@pytest.mark.slow
@pytest.mark.parametrize("name", CORE)
def test_shipped_policies_take_the_same_passes_over_small_numbers(name: str) -> None:
    policy = dsldec.load(name)
    assert passes(step_code(policy, torch.bfloat16)) == policy.facts.vocabulary_passes


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("  commit top(masked, 1, by=conf + p(canvas) + p(5))\n", 2),
        ("  logits temperature(0.8 - 0.1 * step)\n  commit top(masked, 1, by=margin + p(canvas))\n", 3),
        ("  logits bias(5, 0.1)\n  logits ban(3)\n  commit top(masked, 1, by=margin + p(canvas))\n", 2),
        pytest.param(
            "  draw gumbel(0.5)\n  commit top(masked, 1, by=conf + p(canvas))\n", 4, marks=pytest.mark.slow
        ),
        pytest.param(
            "  draw nucleus(0.5, 0.9)\n  commit top(masked, 1, by=conf)\n", 10, marks=pytest.mark.slow
        ),
    ],
)
def test_what_takes_more_passes(body: str, expected: int) -> None:
    policy = written(body)
    assert passes(step_code(policy)) == policy.facts.vocabulary_passes == expected


@pytest.mark.slow
def test_what_is_shared_takes_fewer() -> None:
    policy = written("  draw gumbel(0.5)\n  commit top(masked, 1, by=-kl(before))\n")
    assert passes(step_code(policy)) <= policy.facts.vocabulary_passes
