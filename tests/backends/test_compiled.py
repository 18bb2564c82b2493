"""The compiled step: the number of graphs and compilations, and the message if it cannot be compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec.backends import toolchain
from dsldec.backends.step import Step

from ..toy import ToyDenoiser

MASK = 6


def call(step: Step, rows: int = 2) -> torch.Tensor:
    logits = torch.randn(rows, 4, MASK + 1, generator=torch.Generator().manual_seed(0))
    return step(
        logits, torch.full((rows, 4), MASK), torch.ones(rows, 4, dtype=torch.bool), step.start(rows, 4)
    )[0]


def test_other_parameter_values_do_not_compile_again() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    policy = dsldec.load("factor")
    written = [
        (call(policy.bind(budget=budget).compile("inductor", mask_id=MASK)) != MASK).sum().item()
        for budget in (0.1, 1.0, 50.0)
    ]
    assert written[0] < written[2]
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


DRAWN = """policy drawn(sure: prob = 0.8, share: prob = 0.5):
  window blocks(4)
  state met: int each = 0 per block
  set met = met + count(masked)
  commit chance(masked, share) and conf >= sure at least 1 by conf
"""


def test_nothing_but_shapes_compiles_again() -> None:
    """Not other prompts, seeds, positions, states, parameters, or rows that are over."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    policy, generator = dsldec.load(DRAWN), torch.Generator().manual_seed(0)
    written = set()
    for seed in range(6):
        step = policy.bind(sure=seed / 9, share=seed / 6).compile("inductor", mask_id=MASK)
        state = step.start(3, 4, generation_length=4 + seed)
        state |= {
            "key": torch.randint(2**62, (3,), generator=generator),
            "window_start": torch.tensor([0, 4, 4 * seed]),
        }
        canvas, editable = torch.full((3, 4), MASK), torch.rand(3, 4, generator=generator) < 0.8
        for _ in range(3):
            canvas, _, state, _ = step(
                torch.randn(3, 4, MASK + 1, generator=generator), canvas, editable, state
            )
        written.add(tuple(canvas.flatten().tolist()))
    assert len(written) == 6
    counters = torch._dynamo.utils.counters
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]


def test_a_whole_decode_compiles_once() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    policy = dsldec.load("freedave", drafts=3, block=8)
    for prompts, length in (
        ([[9, 17, 0], [25, 0], [3, 4, 5]], 20),
        ([[1], [2], [3], [4]], 16),
        ([[5]] * 4, 9),
    ):
        fast, slow = (
            dsldec.decode(ToyDenoiser(7, 1.0), prompts, policy, gen_length=length, backend=backend, batch=4)
            for backend in ("inductor", "eager")
        )
        assert [ids.tolist() for ids in fast.ids] == [ids.tolist() for ids in slow.ids]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


@pytest.mark.slow
def test_the_next_process_starts_from_the_cache(tmp_path: Path) -> None:
    code = (
        "import torch, dsldec\n"
        "step = dsldec.load('static').compile('inductor', mask_id=6)\n"
        "step(torch.zeros(1, 4, 7), torch.full((1, 4), 6), torch.ones(1, 4, dtype=torch.bool), step.start(1, 4))\n"
        "counts = torch._dynamo.utils.counters\n"
        "print(counts['aot_autograd']['autograd_cache_hit'], counts['aot_autograd']['autograd_cache_miss'])\n"
    )
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    ran = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        for _ in range(2)
    ]
    assert [one.stdout.split() for one in ran] == [["0", "1"], ["1", "0"]], ran[0].stderr[-2000:]


def test_many_policies_in_one_process() -> None:
    for tokens in range(1, 10):
        policy = dsldec.load(f"policy p{tokens}():\n  window all\n  commit top(masked, {tokens}, by=conf)\n")
        assert (call(policy.compile("inductor", mask_id=MASK)) != MASK).sum() == 2 * min(4, tokens)


@pytest.mark.slow
def test_many_shapes_in_one_process() -> None:
    step = dsldec.load("static").compile("inductor", mask_id=MASK)
    for rows in range(1, 11):
        assert (call(step, rows) != MASK).sum() == rows


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    with pytest.raises(dsldec.UsageError, match="needs a C\\+\\+ compiler"):
        dsldec.load("static").compile("inductor", mask_id=MASK)
    assert dsldec.load("static").compile("auto", mask_id=MASK).backend == "eager"


@pytest.mark.skipif(os.name != "posix", reason="a compiler made of a shell script")
def test_a_compiler_that_does_not_work_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "g++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    code = (
        "import torch, dsldec\n"
        "step = dsldec.load('static').compile('inductor', mask_id=6)\n"
        "try:\n"
        "    step(torch.zeros(1, 4, 7), torch.full((1, 4), 6), torch.ones(1, 4, dtype=torch.bool), step.start(1, 4))\n"
        "except dsldec.UsageError as error:\n"
        "    print(error.diagnostic.code)\n"
    )
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    environment.pop("CXX", None)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ran.stdout.strip() == "E0404", ran.stderr[-2000:]
