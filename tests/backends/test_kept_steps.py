"""Traced steps are cached up to a limit, and the code of evicted steps is freed; policies of one text share
them.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

import dsldec
from dsldec import policy as policy_module
from dsldec.backends import compiled, inductor, step_cache, tensorrt
from dsldec.backends.step import Step
from dsldec.lru import LRUCache
from dsldec.policy import Policy

from .test_compiled import MASK

MOST = 3


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """References to the graphs of traced steps, which live as long as the compiled code; machine code, which
    takes long, is not made. As on a GPU, there are no packages.
    """
    seen: list[Callable[[], object]] = []
    really = torch.compile

    def traced(graph: torch.fx.GraphModule, inputs: object) -> Any:
        seen.append(weakref.ref(graph))
        return graph.forward

    monkeypatch.setattr(
        torch, "compile", lambda method, **how: really(method, fullgraph=True, dynamic=False, backend=traced)
    )
    monkeypatch.setattr(step_cache, "available", lambda: False)
    monkeypatch.setattr(inductor, "TRACED", LRUCache(MOST))
    torch._dynamo.reset()
    return seen


def call(step: Step, rows: int = 2, **names: torch.Tensor) -> torch.Tensor:
    canvas, editable = torch.full((rows, 4), step.mask_id), torch.ones(rows, 4, dtype=torch.bool)
    return step(torch.zeros(rows, 4, MASK + 1), canvas, editable, step.start(rows, 4))[0]


def alive(graphs: list[Callable[[], object]]) -> int:
    gc.collect()
    return sum(graph() is not None for graph in graphs)


def limited(monkeypatch: pytest.MonkeyPatch, text: str = "static") -> Policy:
    monkeypatch.setattr(policy_module, "MOST_STEPS", MOST)
    return dsldec.load(text)


def test_code_for_other_mask_ids_is_freed(
    graphs: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = limited(monkeypatch)
    for mask_id in range(MASK):
        call(policy.compile("inductor", mask_id=mask_id))
    assert len(policy._functions) == MOST
    assert len(graphs) == MASK
    assert alive(graphs) == MOST
    call(policy.compile("inductor", mask_id=MASK - 1))  # still there
    call(policy.compile("inductor", mask_id=0))  # made anew
    assert len(graphs) == MASK + 1
    del policy
    assert alive(graphs) == MOST  # for another policy of this text
    inductor.TRACED._entries.clear()
    assert alive(graphs) == 0


def test_the_same_text_is_traced_once_whoever_loads_it(graphs: list[Callable[[], object]]) -> None:
    text = "policy {}():\n  # a comment\n  window all\n  commit top(masked, 2, by=conf)\n"
    for name in ("one", "other"):
        call(dsldec.load(text.format(name)).compile("inductor", mask_id=MASK))
    assert len(graphs) == 1
    call(dsldec.load(text.format("two").replace("2, by", "3, by")).compile("inductor", mask_id=MASK))
    assert len(graphs) == 2


def test_code_for_other_static_values_is_freed(
    graphs: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = limited(monkeypatch, "threshold")
    assert policy.facts.static
    for block in range(1, 7):
        call(policy.bind(block=block).compile("inductor", mask_id=MASK))
    assert len(policy._functions) == MOST
    assert (len(graphs), alive(graphs)) == (6, MOST)


def test_a_step_in_use_outlives_its_place(
    graphs: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = limited(monkeypatch)
    held = policy.compile("inductor", mask_id=0)
    wanted = call(held)
    for mask_id in range(1, MASK):
        call(policy.compile("inductor", mask_id=mask_id))
    assert torch.equal(call(held), wanted)
    assert len(graphs) == MASK


@pytest.mark.slow
def test_code_for_other_shapes_is_freed(
    graphs: list[Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "MOST_SHAPES", MOST)
    step = dsldec.load("static").compile("inductor", mask_id=MASK)
    for rows in (*range(1, 12), 11, 10, 9):  # more than the eight that torch compiles one function for
        call(step, rows)
    assert len(graphs) == 11
    assert alive(graphs) == MOST


@pytest.mark.slow
def test_what_is_no_shape_may_change_more_often_than_torch_allows(graphs: list[Callable[[], object]]) -> None:
    step, threads = dsldec.load("static").compile("inductor", mask_id=MASK), torch.get_num_threads()
    try:
        for count in (*range(1, 12), 1):
            torch.set_num_threads(count)
            assert (call(step) != MASK).sum() == 2
    finally:
        torch.set_num_threads(threads)
    assert 11 <= len(graphs) <= 12


@pytest.mark.slow
def test_other_strides_are_compiled_for_and_no_error(graphs: list[Callable[[], object]]) -> None:
    step = dsldec.load("static").compile("inductor", mask_id=MASK)
    for length in range(4, 16):
        logits = torch.zeros(2, length, MASK + 1)[:, :4]
        canvas = torch.full((2, length), MASK)[:, :4]
        assert (
            step(logits, canvas, torch.ones(2, 4, dtype=torch.bool), step.start(2, 4))[0] != MASK
        ).sum() == 2


def test_many_policies_in_one_process(graphs: list[Callable[[], object]]) -> None:
    """More than the eight graphs that torch compiles for one function."""
    for tokens in range(1, 10):
        policy = dsldec.load(f"policy p{tokens}():\n  window all\n  commit top(masked, {tokens}, by=conf)\n")
        assert (call(policy.compile("inductor", mask_id=MASK)) != MASK).sum() == 2 * min(4, tokens)
    assert len(graphs) == 9


def test_engines_are_limited_too() -> None:
    class Library:
        __version__ = "none"

    engines = tensorrt.Engines(torch.nn.Identity(), Library(), ())
    assert engines.engines.size == compiled.MOST_SHAPES
