"""A ragged workload compiles few shapes, and the padding changes no result."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

import dsldec
from dsldec import backends
from dsldec.backends import compiled
from dsldec.backends.module import StepModule
from dsldec.runtime.shape_buckets import positions_compiled, rows_compiled

from ..backends.uncompiled import pretend_to_compile
from ..toy import ToyDenoiser

WHOLE = "policy whole():\n  window all\n  commit top(masked, 3, by=conf)\n  commit masked and conf > 0.8\n"
UNTIL = """policy until():
  window until(3, 7, max=16)
  lookahead 3 accept p(draft) > 0.3
  commit masked and conf > 0.6 at least 1 by conf
"""
SLIDING = """policy sliding():
  window sliding(max_masks=6, max_length=20)
  state seen: int each = 0 per block
  set seen = seen + 1
  commit top(masked, 2, by=-entropy + seen)
"""


def test_how_many_there_are() -> None:
    for batch in (1, 2, 6, 8, 13):
        widths = [rows_compiled(rows, batch) for rows in range(1, batch + 1)]
        assert all(rows <= width <= min(batch, 2 * rows) for rows, width in enumerate(widths, 1))
        assert len(set(widths)) <= (batch - 1).bit_length() + 1
    lengths = [positions_compiled(n, n) for n in range(1, 4097)]
    assert all(n <= t <= max(n + 7, 1.25 * n) for n, t in enumerate(lengths, 1))
    assert len(set(lengths)) <= 8 + 4 * 6
    assert [positions_compiled(n, 1000) for n in (1, 7, 100)] == [1, 7, 100]


class Shapes:
    """A step's module that notes the shapes it would be compiled for."""

    def __init__(self, *given: Any) -> None:
        self.module = StepModule(*given)
        self.seen: set[tuple[int, ...]] = set()

    def __call__(self, logits: torch.Tensor, *more: Any) -> Any:
        self.seen.add(tuple(logits.shape))
        return self.module(logits, *more)


@pytest.mark.parametrize(
    "text", [WHOLE, UNTIL, SLIDING, "dico", "factor"], ids=lambda text: text.split("(")[0]
)
def test_ragged_workloads(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[Shapes] = []

    def make(program: Any, backend: str, *given: Any) -> Any:
        steps.append(Shapes(program, *given) if backend == "inductor" else StepModule(program, *given))  # type: ignore[arg-type]
        return steps[-1]

    monkeypatch.setattr(backends, "make", make)
    policy, workloads = (
        dsldec.load(text),
        [(count, length) for count in (1, 2, 3, 5, 6) for length in (1, 5, 11, 17, 23, 31)],
    )
    for count, length in workloads:
        prompts = [[9 + i, 17] for i in range(count)]
        slow, fast = (
            dsldec.decode(
                ToyDenoiser(7, 1.0), prompts, policy, gen_length=length, backend=backend, batch=4, trace=True
            )
            for backend in ("eager", "inductor")
        )
        assert [ids.tolist() for ids in fast.ids] == [ids.tolist() for ids in slow.ids]
        assert (fast.forwards.tolist(), fast.accepted) == (slow.forwards.tolist(), slow.accepted)
        assert fast.trace == slow.trace
    (shapes,) = [step.seen for step in steps if isinstance(step, Shapes)]
    assert {rows for rows, _, _ in shapes} == {1, 2, 3, 4}
    forms = {(rows > 1, positions) for rows, positions, _ in shapes}
    assert len(forms) <= 2 * 4 < len(workloads)  # 8, 16, 24, 32 positions, or the policy's own


def test_compiling_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pretend_to_compile(monkeypatch)
    policy = dsldec.load(WHOLE)
    with caplog.at_level(logging.INFO, "dsldec"):
        for length, prompts in ((5, 3), (8, 2), (9, 4), (8, 1)):
            dsldec.decode(ToyDenoiser(7, 1.0), [[1]] * prompts, policy, gen_length=length, backend="inductor")
    told = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in told if "compiling" in line] == [
        "compiling the step of `whole` for 2 rows or more of 8 positions, 40 ids, float32",
        "compiling the step of `whole` for 2 rows or more of 16 positions, 40 ids, float32",
        "compiling the step of `whole` for 1 row of 8 positions, 40 ids, float32",
    ]
    assert sum("compiled the step of" in line for line in told) == 3
    assert compiled.MOST_SHAPES >= 24
