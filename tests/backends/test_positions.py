"""`grow` and `thin` equal the reference: random masks, ties, numbers without a value, windows sorted or in
pairs, and operations that do not grow with the window.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import dsldec
from dsldec.backends import module_geometry, module_orders, reference_geometry, reference_orders
from dsldec.backends.numerics import EXACT

from ..shipped import CORE

SCORES = (0.0, 0.25, 0.5, 1.0, -1.0, float("inf"), float("nan"), 1e-45, 3e38)
WIDTHS = (0.0, 1.0, 2.5, 4.0, 1e30, float("inf"), float("nan"))


def masks(rng: random.Random, rows: int, length: int) -> list[list[bool]]:
    share = rng.choice((0.2, 0.5, 0.9))
    return [[rng.random() < share for _ in range(length)] for _ in range(rows)]


@pytest.mark.parametrize("longest_paired", [64, 0])
def test_grow_equals_the_reference(longest_paired: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_geometry, "LONGEST_PAIRED_EAGER", longest_paired)
    for seed in range(400):
        rng = random.Random(seed)
        rows, length = rng.choice((1, 2, 3)), rng.choice((1, 2, 3, 8, 40))
        mask, left, right, trim = (masks(rng, rows, length) for _ in range(4))
        gap = [[rng.randrange(-1, 4)] for _ in range(rows)]
        apart = [[rng.random() < 0.5] for _ in range(rows)]
        given = [torch.tensor(x) for x in (mask, left, right, gap, apart, trim)]
        grow = reference_geometry.GEOMETRY["grow"]
        expected = [grow(mask[b], left[b], right[b], gap[b][0], apart[b][0], trim[b]) for b in range(rows)]
        assert module_geometry.GEOMETRY_IN_FORM["grow"](EXACT, *given).tolist() == expected, seed


@pytest.mark.parametrize("name", ["thin", "thin_by_kernel", "thin of ints"])
def test_thin_equals_the_reference(name: str) -> None:
    for seed in range(400):
        rng = random.Random(seed)
        rows, length, most = rng.choice((1, 2, 3)), rng.choice((1, 2, 3, 8, 40)), rng.randrange(1, 10)
        mask, condition = masks(rng, rows, length), masks(rng, rows, length)
        scores: Any = range(-2, 5) if "ints" in name else SCORES
        score = [[rng.choice(scores) for _ in range(length)] for _ in range(rows)]
        width = [[rng.choice(WIDTHS)] for _ in range(rows)]
        given = [torch.tensor(x) for x in (mask, score, condition, width)]
        form = (EXACT,) if name == "thin_by_kernel" else ()
        function = name.split()[0]
        plain = getattr(reference_orders, function)
        expected = [plain(mask[b], score[b], condition[b], width[b][0], at_most=most) for b in range(rows)]
        assert getattr(module_orders, function)(*form, *given, at_most=most).tolist() == expected, seed


class Counting(TorchDispatchMode):
    """Counts operations, and remembers the largest result in numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.operations += 1
        if isinstance(result, torch.Tensor) and result.is_contiguous():
            self.largest = max(self.largest, result.numel())
        return result


@pytest.mark.parametrize("name", CORE)
def test_a_long_window_takes_no_more_operations_and_no_square_of_its_length(name: str) -> None:
    vocabulary, counts = 5, dict[int, Counting]()
    for length in (256, 1024):
        policy = dsldec.load(name)
        step = policy.compile("eager", mask_id=vocabulary - 1)
        logits = torch.randn(1, length, vocabulary, generator=torch.Generator().manual_seed(0))
        canvas, editable = torch.full((1, length), vocabulary - 1), torch.ones(1, length, dtype=torch.bool)
        state = step.start(1, length, vocab_size=vocabulary)
        with counts.setdefault(length, Counting()):
            step(logits, canvas, editable, state)
    assert counts[1024].operations <= counts[256].operations
    assert counts[1024].largest <= 64 * 1024
