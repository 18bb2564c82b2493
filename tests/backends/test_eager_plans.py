"""An eager step runs a plan that was made once: it must not depend on anything else that happened before."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dsldec
from dsldec.backends import vocabulary_tiles
from dsldec.backends.vocabulary import observe, statistics
from dsldec.runtime.session import Session

from .test_compiled import MASK, call

TWO = """policy two(lo: prob = 0.1, hi: prob = 0.9):
  window all
  state kept: prob = 0.0 per sequence
  set kept = hi
  commit masked and conf >= lo and conf < hi at least 1 by conf
"""


def inputs(vocabulary: int = 7, rows: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    logits = torch.randn(rows, 4, vocabulary, generator=torch.Generator().manual_seed(1)).mul_(3)
    return logits, torch.full((rows, 4), MASK), torch.ones(rows, 4, dtype=torch.bool)


def test_parameters_are_found_by_name_in_any_order() -> None:
    step = dsldec.load(TWO).compile("eager", mask_id=MASK)
    given, state = inputs(), step.start(1, 4)
    lo, hi = torch.tensor(0.1), torch.tensor(0.9)
    one = step(*given, state, {"lo": lo, "hi": hi})
    other = step(*given, state, {"hi": hi, "lo": lo})
    assert torch.equal(one.canvas, other.canvas)
    assert torch.equal(one.state["state_kept"], other.state["state_kept"])


def test_a_parameter_may_be_changed_in_place() -> None:
    step = dsldec.load(TWO).compile("eager", mask_id=MASK)
    params = {"lo": torch.tensor(0.1), "hi": torch.tensor(0.9)}
    kept = []
    for value in (0.9, 0.5):
        params["hi"].data.fill_(value)  # does not count as a new version of the tensor
        kept.append(round(float(step(*inputs(), step.start(1, 4), params).state["state_kept"]), 3))
    assert kept == [0.9, 0.5]


def test_no_state_shares_memory_with_a_parameter_in_inference_mode() -> None:
    step = dsldec.load(TWO).compile("eager", mask_id=MASK)
    with torch.inference_mode():
        params = {"lo": torch.tensor([[0.1]]), "hi": torch.tensor([[0.9]])}
        kept = step(*inputs(), step.start(1, 4), params).state["state_kept"]
        params["hi"].fill_(0.5)
    assert round(float(kept), 3) == 0.9


@pytest.mark.parametrize("mask_id", [np.int64(MASK), np.int32(MASK), torch.tensor(MASK)])
def test_ids_may_be_numbers_of_other_libraries(mask_id: Any) -> None:
    wanted = call(dsldec.load("static").compile("eager", mask_id=MASK))
    assert torch.equal(call(dsldec.load("static").compile("eager", mask_id=mask_id)), wanted)


def test_a_step_can_be_copied_and_pickled() -> None:
    step = dsldec.load("static").compile("eager", mask_id=MASK)
    wanted = call(step)
    for other in (copy.deepcopy(step.function), pickle.loads(pickle.dumps(step.function))):
        assert torch.equal(other(*inputs(), step.start(1, 4), step.params).canvas, step(*inputs(), step.start(1, 4)).canvas)  # fmt: skip
    assert torch.equal(call(step), wanted)


@pytest.fixture(params=[torch.float64, torch.bfloat16], ids=str)
def default_dtype(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield
    torch.set_default_dtype(before)


def test_another_default_dtype_changes_nothing(default_dtype: None) -> None:
    logits = torch.randn(1, 4, 40_000, dtype=torch.float32)
    tiled, plain = (observe(logits, 3, read=read) for read in (vocabulary_tiles.statistics, statistics))
    assert tiled["conf"].dtype is torch.float32
    torch.testing.assert_close(tiled, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lowest", [float("-inf"), torch.finfo(torch.float32).min])
def test_a_forced_token_has_no_entropy(lowest: float) -> None:
    logits = torch.full((1, 2, 40_000), lowest)
    logits[..., 17] = torch.finfo(torch.float32).max
    found = observe(logits, 3, read=vocabulary_tiles.statistics)
    assert found["entropy"].tolist() == [[0.0, 0.0]]
    assert found["token"].tolist() == [[17, 17]]


def test_a_host_may_write_into_what_a_session_shows() -> None:
    session = Session.of(
        dsldec.load("static", block=2), slots=1, columns=4, mask_id=MASK, vocab_size=7, gen_length=4
    )
    session.admit(0, dsldec_request())
    wanted = [each.tolist() for each in session.windows()]
    for each in session.windows():
        each += 1
    assert [each.tolist() for each in session.windows()] == wanted
    session.step(inputs()[0])
    session.done[0] = True
    assert session.done.tolist() == [False]


def dsldec_request() -> Any:
    from dsldec.runtime.requests import continued

    return continued(0, [], 4)
