"""What can be checked of the GPU's code without a GPU: tensors that have a device and a shape, and no
numbers.

`python -m tests.gpu.fakes`. Every policy's step and the loop around it run on fake tensors of a GPU: an
operation on tensors of two devices raises, and so does one that reads a value, since both would be mistakes
on a GPU. Torch takes these tensors through its real operators, but no kernel runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

import dsldec
from dsldec.backends import vocabulary_dispatch
from dsldec.backends.step import Step, parameter_tensors
from dsldec.runtime import decode, decode_loop, logits
from dsldec.runtime.step_runner import StepRunner

from ..shipped import CORE
from .results import Part, Result, run

VOCABULARY, MASK, EOS = 1000, 999, 998
ROWS, POSITIONS = 2, 32
PROMPTS = [[1, 2, 3], [4, 5, 6]]
PUBLISHED = Path(__file__).parent.parent / "published"


def device_of_fakes() -> str:
    """`cuda` where this build of torch can pretend to have it; else `lazy`, a device that every build knows
    and that is not the CPU.
    """
    try:
        with FakeTensorMode():
            torch.empty(2, device="cuda")[0] = 1.0  # an assignment by index asks the build for the device
    except RuntimeError:
        return "lazy:0"
    return "cuda:0"


DEVICE = device_of_fakes()


@contextmanager
def fake_gpu() -> Iterator[FakeTensorMode]:
    """Inside, tensors are fake, and taken for logits; what reads them is torch's form, as they have nothing
    that a kernel could read.
    """
    by_torch = mock.patch.object(vocabulary_dispatch, "on_cpu", vocabulary_dispatch.statistics)
    taken = mock.patch.object(logits, "FakeTensor", ())  # `isinstance` is false for all
    with by_torch, taken, the_mode() as mode:
        yield mode


@cache
def the_mode() -> FakeTensorMode:
    """One for all checks: a step that was called keeps tensors, which no other mode takes."""
    return FakeTensorMode(allow_non_fake_inputs=True)


def on_device(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: torch.empty(value.shape, dtype=value.dtype, device=DEVICE) for name, value in values.items()
    }


def step_is_whole(policy: dsldec.Policy) -> None:
    """Run one step. Raises where it mixes devices or reads a value, or where a result's device, shape or
    dtype is wrong.
    """
    step = policy.compile("eager", mask_id=MASK, eos_id=EOS)
    with fake_gpu():
        scores = torch.empty(ROWS, POSITIONS, VOCABULARY, device=DEVICE, dtype=torch.bfloat16)
        canvas = torch.empty(ROWS, POSITIONS, dtype=torch.int64, device=DEVICE)
        editable = torch.empty(ROWS, POSITIONS, dtype=torch.bool, device=DEVICE)
        state = step.start(ROWS, POSITIONS, DEVICE, vocab_size=VOCABULARY)
        params = on_device(parameter_tensors(step.program, policy.parameters))
        after, done, following, events = step(scores, canvas, editable, state, params)
        for name, value, like in (
            ("canvas", after, canvas),
            ("done", done, editable[:, 0]),
            *((n, following[n], state[n]) for n in state),
            ("not_finite", events.not_finite, editable),
        ):
            found, expected = (value.device, value.shape, value.dtype), (like.device, like.shape, like.dtype)
            assert found == expected, f"`{name}` is {found} and should be {expected}"


class FakeDenoiser:
    mask_id, eos_id, vocab_size, device = MASK, EOS, VOCABULARY, DEVICE

    def __call__(self, ids: Tensor) -> Tensor:
        assert ids.device == torch.device(DEVICE)
        return torch.empty(*ids.shape, VOCABULARY, device=DEVICE)


class NeverHeard:
    """A poll that hears of no row's end, as the flags of a fake tensor cannot be read."""

    def now(self, flags: Tensor) -> None:
        assert flags.device == torch.device(DEVICE)

    later = now

    def wait(self) -> None:
        return None


def loop_is_whole(policy: dsldec.Policy, drafts: int | None, forwards: int = 6) -> None:
    """Run some forwards of the loop. Raises where it mixes devices, or reads a value other than by the poll."""
    original = StepRunner.__init__

    def with_fakes(runner: Any, step: Step, *args: Any, **how: Any) -> None:
        original(runner, replace(step, params=on_device(dict(step.params))), *args, **how)

    bound = mock.patch.object(decode, "_cap", return_value=lambda request: forwards)
    poll = mock.patch.object(decode_loop, "polling", return_value=NeverHeard())
    placed = mock.patch.object(StepRunner, "__init__", with_fakes)
    with bound, poll, placed, fake_gpu():
        rows = decode.stream(
            FakeDenoiser(), PROMPTS, policy, gen_length=2 * POSITIONS, backend="eager", lookahead=drafts
        )
        try:
            for _ in rows:
                raise AssertionError("a row ended, and no flag can be read")
        except AssertionError as error:
            if f"more than the proved {forwards} forwards" not in str(error):
                raise


def policies() -> dict[str, dsldec.Policy]:
    """The shipped policies and, in a checkout, the published ones."""
    files = sorted(PUBLISHED.glob("*.policy"))
    return {name: dsldec.load(name) for name in CORE} | {file.stem: dsldec.load(file) for file in files}


def problem_of(check: Any, *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except Exception as error:  # torch has a class for each way to fail
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return None


def check_policy(name: str, policy: dsldec.Policy, result: Result) -> None:
    """Add to the result what is wrong with a policy's step and the loop around it."""
    own = policy.facts.drafts is not None
    for what, problem in (
        ("step", problem_of(step_is_whole, policy)),
        ("loop", problem_of(loop_is_whole, policy, None)),
        ("loop with drafts", None if own else problem_of(loop_is_whole, policy, 3)),
    ):
        if problem:
            result.fail(f"{name}, {what}: {problem}")


def parts(arguments: list[str]) -> Iterator[Part]:
    found = policies()
    for name, policy in found.items():
        yield Part(name, partial(check_policy, name, policy))

    def summary(result: Result) -> None:
        faults = len(result.lines)
        result.lines.append(
            f"fake tensors of a GPU: steps and loops of {len(found)} policies, {faults} faults"
        )
        result.figures |= {"policies": len(found), "faults": faults}

    yield Part("summary", summary)


if __name__ == "__main__":
    raise SystemExit(run(parts))
