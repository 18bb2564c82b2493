"""A program without repeated and known operations computes the same as the program with all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec.ir.build import Builder
from dsldec.ir.lower import _Lowering
from dsldec.language.words import Extent, Kind
from dsldec.policy import Policy

from ..backends.policies import random_policy
from ..backends.test_equal import EOS, MASK, by_name, inputs
from ..shipped import CORE, PUBLISHED


def policies() -> Iterator[str | Path]:
    yield from CORE
    yield from PUBLISHED
    yield from (random_policy(seed)[0] for seed in range(60))


def with_all_operations(source: str | Path) -> Policy:
    """The policy whose program repeats masks, keeps constants and carries every field."""

    def where(self: Builder, condition: int, then: int, otherwise: int, kind: Kind) -> int:
        return self.add("where", (condition, then, otherwise), kind, self.place(condition, then, otherwise))

    def mask(self: Builder, name: str, *inputs: int, of: str | int | None = None) -> int:
        return self.add(name, inputs, Kind.MASK, Extent.POSITION, of)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Builder, "within", lambda self, part, whole, depth=0: False)
        patch.setattr(Builder, "where", where)
        patch.setattr(Builder, "mask", mask)
        patch.setattr(_Lowering, "_live", lambda self, results, following: set(following))
        return dsldec.load(source)


def test_simplified_programs_give_the_same_results() -> None:
    removed = 0
    for seed, source in enumerate(policies()):
        long, short = with_all_operations(source), dsldec.load(source)
        removed += len(long.program.operations) - len(short.program.operations)
        slow, fast = (policy.compile("eager", mask_id=MASK, eos_id=EOS) for policy in (long, short))
        logits = 4 * torch.randn(3, 8, MASK + 1, generator=torch.Generator().manual_seed(seed))
        canvas, editable, state = inputs(slow, seed, 3, 8)
        if seed % 3 == 0:  # a row without a mask changes nothing
            canvas[0] = EOS
        expected = by_name(slow(logits, canvas, editable, state))
        carried = {name: value for name, value in state.items() if name in short.program.carried}
        for name, value in by_name(fast(logits, canvas, editable, carried)).items():
            assert torch.equal(value.nan_to_num(nan=-7), expected[name].nan_to_num(nan=-7)), (name, source)
    assert removed > 500


def test_a_mask_inside_another_is_not_limited_to_it_again() -> None:
    text = "policy p():\n  window all\n  x = top(masked and conf > 0.5, 2, by=conf)\n  commit (x or trim(masked, to=x)) at least 1 by conf\n"
    operations = dsldec.load(text).program.operations
    limited = [
        operation
        for operation in operations
        if operation.name == "and" and "or" in {operations[i].name for i in operation.inputs}
    ]
    assert limited == []


def test_only_counters_of_visits_that_nothing_reads_are_removed() -> None:
    carried = dsldec.load("dico").program.carried
    assert {name for name in carried if name.startswith("visits_")} == {"visits_divide"}
    unread = "policy p():\n  window all\n  state n: int = 0 per sequence\n  commit masked\n  set n = n + 1\n"
    assert "state_n" in dsldec.load(unread).program.carried
