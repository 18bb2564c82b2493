"""The values of words in a window with given positions: their text is fixed, and no step may write or revoke
it.
"""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends.step import Step, StepState

from .policies import random_policy

MASK, EOS, LENGTH, START = 30, 4, 10, 20
BACKENDS = pytest.mark.parametrize("backend", ["eager", "reference"])


def holes(seed: int) -> tuple[list[bool], list[int]]:
    """Where a window of ten may be written, in at least one position, and what stands in it: masks there,
    text elsewhere.
    """
    rng = random.Random(seed)
    editable = [rng.random() < 0.5 for _ in range(LENGTH)]
    editable[rng.randrange(LENGTH)] = True
    return editable, [MASK if may else rng.randrange(MASK) for may in editable]


def step_of(statements: str, backend: str, window: str = "blocks(10)") -> Step:
    text = f"policy p():\n  window {window}\n" + "".join(f"  {line}\n" for line in statements.split("; "))
    return dsldec.load(text).compile(backend, mask_id=MASK, eos_id=EOS)


def stepped(step: Step, seed: int, logits: Tensor | None = None) -> tuple[list[int], StepState]:
    """The places that are written, and what is carried."""
    editable, canvas = holes(seed)
    if logits is None:
        logits = torch.randn(1, LENGTH, MASK + 1, generator=torch.Generator().manual_seed(seed))
    state = step.start(1, LENGTH, generation_length=2 * START, vocab_size=MASK + 1)
    state["window_start"] = state["window_start"] + START
    after, _, state, _ = step(logits, torch.tensor([canvas]), torch.tensor([editable]), state)
    return [
        place for place, (old, new) in enumerate(zip(canvas, after[0].tolist(), strict=True)) if old != new
    ], state


@BACKENDS
def test_the_window_ends_behind_its_last_place_to_write(backend: str) -> None:
    step = step_of("commit masked and pos == window_end - 1 at least 1 by -pos", backend)
    for seed in range(30):
        editable = holes(seed)[0]
        assert stepped(step, seed)[0] == [max(place for place in range(LENGTH) if editable[place])]


@BACKENDS
def test_the_length_of_the_window_counts_places_to_write(backend: str) -> None:
    step = step_of("commit top(masked, window_length - 1, by=-pos) at least 1 by -pos", backend)
    for seed in range(30):
        free = [place for place in range(LENGTH) if holes(seed)[0][place]]
        assert stepped(step, seed)[0] == free[: max(1, len(free) - 1)]


@BACKENDS
def test_progress_counts_what_is_given_as_written(backend: str) -> None:
    """Of 40 positions 20 lie before the window; those behind its last place to write are not looked at yet."""
    for share in range(20, 31):
        step = step_of(f"commit masked and progress > {share} / 40 - 0.001 at least 1 by -pos", backend)
        for seed in range(10):
            free = [place for place in range(LENGTH) if holes(seed)[0][place]]
            settled = START + max(free) + 1 - len(free)
            assert stepped(step, seed)[0] == (free if settled >= share else free[:1])


@BACKENDS
def test_a_window_that_no_token_ends_reaches_its_last_place_to_write(backend: str) -> None:
    step = step_of("commit top(masked, 1, by=conf)", backend, "until(3, max=10)")
    logits = torch.zeros(1, LENGTH, MASK + 1)
    logits[..., 7] = 5.0
    for seed in range(30):
        free = [place for place in range(LENGTH) if holes(seed)[0][place]]
        assert stepped(step, seed, logits)[1]["window_length"].tolist() == [max(free) + 1]
        ends = logits.clone()
        ends[:, :, 3] = 9.0  # and where one is proposed, it reaches the first place to write
        assert stepped(step, seed, ends)[1]["window_length"].tolist() == [min(free) + 1]


def test_a_step_leaves_alone_what_is_given() -> None:
    """Whatever stands there, nothing that is given is written over or taken back, and its logits are never
    read.
    """
    for seed in range(24):
        text = random_policy(seed)[0]
        step = dsldec.load(text).compile("eager", mask_id=MASK, eos_id=EOS)
        generator = torch.Generator().manual_seed(seed)
        logits, other = (4 * torch.randn(1, LENGTH, MASK + 1, generator=generator) for _ in range(2))
        editable, canvas = holes(seed)
        given = torch.tensor([[not may for may in editable]])
        said = []
        for seen in (logits, torch.where(given.unsqueeze(2), other, logits)):
            state = step.start(1, LENGTH, generation_length=2 * START, vocab_size=MASK + 1)
            now = torch.tensor([canvas])
            for _ in range(3):
                before = now
                now, done, state, _ = step(seen, now, ~given, state)
                assert not ((now != before) & given).any(), text
            said.append((now.tolist(), done.tolist()))
        assert said[0] == said[1], text
