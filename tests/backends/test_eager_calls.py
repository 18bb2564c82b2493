"""An eager step calls torch as few times as it can, and its results stay those of the reference.

Counted is every operation that torch dispatches, views and the reading of each parameter too, beside the
reading of the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import dsldec
from dsldec.backends import eager_schedule, module, module_eager
from dsldec.backends.module import StepModule
from dsldec.backends.module_eager import ParameterReader
from dsldec.backends.step import Step, StepOutput, StepState

from ..shipped import CORE
from .policies import random_policy
from .test_equal import EOS, MASK, assert_same, by_name, compare, inputs, observed  # noqa: F401

# By policy: the window, and the most operations of one step in one row and in eight rows.
MOST_CALLS = {
    "static": (32, 19, 20),
    "threshold": (32, 23, 24),
    "freedave": (32, 20, 21),
    "freedave_plus": (32, 23, 24),
    "factor": (32, 34, 36),
    "frechet": (32, 42, 44),
    "entropy_bounded": (32, 44, 46),
    "klass": (64, 51, 51),
    "dico": (256, 310, 560),
    "lopa": (32, 72, 76),
    "info_gain": (128, 54, 56),
    "diffusion_gemma": (256, 248, 355),
}
READS = ("observe", "probability", "log_probabilities", "divergence", "jensen_shannon")


class Calls(TorchDispatchMode):
    """Counts operations, except while logits are read."""

    def __init__(self) -> None:
        super().__init__()
        self.count, self.reading = 0, False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not self.reading
        return function(*args, **(kwargs or {}))


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    calls = Calls()

    def unseen(function: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any, **how: Any) -> Any:
            calls.reading = True
            try:
                return function(*args, **how)
            finally:
                calls.reading = False

        return read

    with monkeypatch.context() as patch:
        for name in READS:
            patch.setattr(module, name, unseen(getattr(module, name)))
        with calls:
            yield calls


def start(name: str, rows: int, length: int) -> tuple[Step, Tensor, Tensor, Tensor, StepState]:
    policy = dsldec.load(name)
    policy = policy.bind(block=length) if "block" in policy.parameters else policy
    step = policy.compile("eager", mask_id=MASK, eos_id=EOS)
    canvas, editable = torch.full((rows, length), MASK), torch.ones(rows, length, dtype=torch.bool)
    state = step.start(rows, length, generation_length=2 * length, vocab_size=MASK + 1)
    logits = 3 * torch.randn(rows, length, MASK + 1, generator=torch.Generator().manual_seed(length))
    return step, logits, canvas, editable, state


def test_every_shipped_policy_has_a_bound() -> None:
    assert set(MOST_CALLS) == set(CORE)


@pytest.mark.parametrize("name", MOST_CALLS)
def test_a_step_calls_torch_few_times(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    length, *most = MOST_CALLS[name]
    for rows, bound in zip((1, 8), most, strict=True):
        step, logits, canvas, editable, state = start(name, rows, length)
        step(logits, canvas, editable, state)  # makes the plan
        counts = []
        for _ in range(12):
            with counting(monkeypatch) as calls:
                canvas, _, state, _ = step(logits, canvas, editable, state)
            counts.append(calls.count)
        assert max(counts) <= bound, f"{rows} rows: {counts}"
        assert isinstance(step.function, StepModule)
        assert len(step.function.plans) == 1


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters stay tensors, and nothing is read as a number."""

    def refuse(*args: Any) -> Any:
        raise AssertionError("read as a number")

    monkeypatch.setattr(module_eager, "may_read", lambda device: False)
    monkeypatch.setattr(module_eager, "thin", refuse)
    monkeypatch.setattr(eager_schedule, "some_and_not_all", refuse)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_a_step_on_a_gpu_equals_the_reference(observed: dict[str, Tensor]) -> None:  # noqa: F811
    for seed in range(0, 400, 5):
        compare(seed, 7 * seed + 3, observed)


@pytest.mark.parametrize("seed", range(40, 60))
def test_no_result_shares_memory(seed: int) -> None:
    """A result shares no memory with an input, another result, or a tensor that the step stores."""
    step = dsldec.load(random_policy(seed)[0]).compile("eager", mask_id=MASK, eos_id=EOS)
    canvas, editable, state = inputs(step, seed, 1 + seed % 3, 8)
    logits = torch.randn(len(canvas), 8, MASK + 1, generator=torch.Generator().manual_seed(seed))
    first = step(logits, canvas, editable, state)
    copies = {name: value.clone() for name, value in by_name(first).items()}
    given = [logits, canvas, editable, *state.values(), *step.params.values()]
    memory = [value.untyped_storage().data_ptr() for value in (*given, *by_name(first).values())]
    assert len(memory) == len(set(memory))
    for value in by_name(first).values():
        value.fill_(1)
    again = by_name(step(logits, canvas, editable, state))
    for name, value in copies.items():
        assert torch.equal(value.nan_to_num(7.0), again[name].nan_to_num(7.0)), name


def test_a_parameter_may_change_in_place() -> None:
    step, logits, canvas, editable, state = start("threshold", 1, 8)
    level = torch.tensor(2.0)
    params = {**step.params, "confidence": level}
    strict = step(logits, canvas, editable, state, params)
    level.fill_(0.0)
    loose = step(logits, canvas, editable, state, params)
    assert (strict.canvas != MASK).sum() == 1
    assert (loose.canvas != MASK).sum() == 8


def test_rows_may_have_parameters_of_their_own() -> None:
    step, logits, canvas, editable, state = start("klass", 3, 16)
    levels = torch.tensor([[0.1], [0.5], [0.99]])
    together = step(logits, canvas, editable, state, {**step.params, "confidence": levels})
    for row in range(3):
        one = slice(row, row + 1)
        own = {name: value[one] for name, value in state.items()}
        params = {**step.params, "confidence": levels[row, 0].clone()}
        alone = step(logits[one], canvas[one], editable[one], own, params)
        assert torch.equal(alone.canvas, together.canvas[one])
        for name, value in alone.state.items():
            assert torch.equal(value, together.state[name][one]), name


@pytest.mark.parametrize("name", ["static", "klass", "dico"])
def test_an_eager_step_equals_the_form_that_is_compiled(name: str) -> None:
    """Over a whole window, in windows short enough for pairs and in longer ones."""
    for rows, length in ((1, 16), (3, 80)):
        step, logits, canvas, editable, state = start(name, rows, length)
        function = step.function
        assert isinstance(function, StepModule)
        for _ in range(6):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(ParameterReader, "signature", lambda self, params: None)
                slow: StepOutput = step(logits, canvas, editable, state)
            fast = step(logits, canvas, editable, state)
            assert_same(slow, fast, f"{name}, {rows} rows")
            canvas, _, state, _ = fast
