"""`linear` and `cosine` leave exactly the numbers of masks that their definitions give."""

from __future__ import annotations

from decimal import Decimal, localcontext

import pytest
import torch

import dsldec
from dsldec.backends.module_schedules import cosine_left
from dsldec.backends.numerics import EXACT, FOR_ENGINES
from dsldec.language.arithmetic import ELEMENTWISE

from ..toy import ToyDenoiser

MASKS, STEPS = 512, 64
HALF_PI = Decimal("1.570796326794896619231321691639751442098584699687552910487")


def cosine(done: int, steps: int) -> Decimal:
    """cos(pi / 2 * done / steps) with 40 digits, by its power series."""
    x = HALF_PI * done / steps
    total = term = Decimal(1)
    for k in range(1, 30):
        term = -term * x * x / ((2 * k - 1) * (2 * k))
        total += term
    return total


def exact_cosines() -> torch.Tensor:
    """`[steps, done, masks]`: the largest int not above masks * cosine."""
    table = torch.zeros(STEPS + 1, STEPS + 1, MASKS + 1, dtype=torch.int64)
    with localcontext() as context:
        context.prec = 45
        for steps in range(1, STEPS + 1):
            for done in range(1, steps):
                wave = Decimal("0.5") if 3 * done == 2 * steps else cosine(done, steps)
                table[steps, done] = torch.tensor([int(masks * wave) for masks in range(MASKS + 1)])
    return table


@pytest.mark.parametrize("form", [EXACT, FOR_ENGINES], ids=["doubles", "without doubles"])
def test_cosines_are_exact(form) -> None:
    exact = exact_cosines()
    steps, done, masks = torch.meshgrid(
        torch.arange(1, STEPS + 1), torch.arange(STEPS + 1), torch.arange(MASKS + 1), indexing="ij"
    )
    inside = (done >= 1) & (done <= steps)
    got = cosine_left(form, masks, done, steps)
    assert torch.equal(got[inside], exact[1:][inside])


def test_cosines_of_the_reference_are_exact() -> None:
    exact = exact_cosines().tolist()
    for steps in range(1, STEPS + 1):
        for done in range(1, steps + 1):
            got = [ELEMENTWISE["cosine_left"](masks, done, steps) for masks in range(MASKS + 1)]
            assert got == exact[steps][done]


@pytest.mark.parametrize("backend", ["reference", "eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_linear_schedules_are_exact(backend: str) -> None:
    text = "policy p(n: int = 1 in 1..64):\n  window all\n  commit top(masked, linear(n), by=conf)\n"
    lengths = [1, 2, 3, 7, 12, 16] if backend == "reference" else [1, 2, 3, 7, 12, 16, 63, 64, 65]
    for n in {"reference": (1, 2, 3, 7, STEPS), "eager": (1, 2, 3, 7, 31, STEPS), "inductor": (3,)}[backend]:
        decoded = dsldec.decode(
            ToyDenoiser(0, 2.0), [[1, 2]] * len(lengths), dsldec.load(text, n=n), gen_length=lengths,
            backend=backend, trace=True, stop_at_eos=False,
        )  # fmt: skip
        for masks, steps in zip(lengths, decoded.trace, strict=True):
            left = masks
            for done, step in enumerate(steps, 1):
                left -= len(step.ids)
                assert left == masks * (n - done) // n, (n, masks, done)
            assert left == 0


def left_after_each_step(schedule: str, masks: int, backend: str) -> list[int]:
    """The masks that a policy with this schedule leaves after each step of one window."""
    text = f"policy p(n: int = 1 in 1..1000000000):\n  window all\n  commit top(masked, {schedule}, by=conf) at least 1 by conf\n"
    decoded = dsldec.decode(
        ToyDenoiser(0, 2.0), [[1, 2]], dsldec.load(text), gen_length=masks, backend=backend, trace=True
    )
    left = [masks]
    for step in decoded.trace[0]:
        left.append(left[-1] - len(step.ids))
    return left[1:]


@pytest.mark.parametrize("backend", ["reference", "eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_published_examples(backend: str) -> None:
    assert left_after_each_step("linear(3)", 12, backend) == [8, 4, 0]
    assert left_after_each_step("cosine(3)", 8, backend) == [6, 4, 0]


def test_a_schedule_of_very_many_steps_does_not_overflow() -> None:
    assert left_after_each_step("linear(1000000000 * 1000000000)", 3, "eager") == [2, 1, 0]
