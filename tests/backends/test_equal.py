"""Every backend equals the reference, on random policies and random observations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

import dsldec
from dsldec.backends import BACKENDS, module, reference
from dsldec.backends.module import COMPUTED, READ
from dsldec.backends.step import State
from dsldec.ir.nodes import OPERATIONS
from dsldec.language.words import WORDS

from .policies import OBSERVED, random_observations, random_policy

MASK = 30
PARAMETERS = {"level": 0.25, "weight": -0.5, "few": 3, "bold": False}


def inputs(seed: int, rows: int, length: int) -> tuple[Tensor, Tensor, State]:
    generator = torch.Generator().manual_seed(seed + 1)
    canvas = torch.randint(0, MASK + 1, (rows, length), generator=generator)
    canvas[torch.rand(rows, length, generator=generator) < 0.6] = MASK
    editable = torch.rand(rows, length, generator=generator) < 0.9
    state = {
        "step": torch.randint(0, 4, (rows,), generator=generator),
        "window_start": 8 * torch.randint(0, 3, (rows,), generator=generator),
        "not_finite": torch.zeros(rows, length, dtype=torch.bool),
    }
    return canvas, editable, state


def assert_same(left: tuple[Tensor, Tensor, State], right: tuple[Tensor, Tensor, State], about: str) -> None:
    assert torch.equal(left[0], right[0]), about
    assert torch.equal(left[1], right[1]), about
    assert left[2].keys() == right[2].keys()
    for name in left[2]:
        assert torch.equal(left[2][name], right[2][name]), f"{name}: {about}"


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Both backends see what is put in here, instead of logits."""
    given: dict[str, Tensor] = {}

    def observe(logits: Tensor, mask_id: int, wanted: frozenset[str]) -> Mapping[str, Tensor]:
        return dict(given)

    monkeypatch.setattr(module, "observe", observe)
    monkeypatch.setattr(reference, "observe", observe)
    return given


def compare(policy_seed: int, table_seed: int, observed: dict[str, Tensor]) -> set[str]:
    text, used = random_policy(policy_seed)
    rows, length = 1 + table_seed % 3, (1, 2, 5, 8)[table_seed % 4]
    observed.update(random_observations(table_seed, rows, length))
    policy = dsldec.load(text).bind(**(PARAMETERS if table_seed % 2 else {}))
    canvas, editable, state = inputs(table_seed, rows, length)
    logits = torch.zeros(rows, length, MASK + 1)
    slow, fast = (policy.compile(backend, mask_id=MASK)(logits, canvas, editable, state) for backend in ("reference", "eager"))
    assert_same(slow, fast, f"policy {policy_seed}, table {table_seed}\n{text}")
    return used


def test_eager_equals_reference(observed: dict[str, Tensor]) -> None:
    used: Counter[str] = Counter()
    for seed in range(400):
        used.update(compare(seed, 7 * seed + 3, observed))
    words = set(WORDS) | {"and", "or", "not", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/", "at least", "at most", "orelse", "if"}
    assert {word: used[word] for word in words if used[word] < 20} == {}, "the generator hardly uses these"


@pytest.mark.slow
def test_eager_equals_reference_at_length(observed: dict[str, Tensor]) -> None:
    for seed in range(1_000, 21_000):
        compare(seed, 5 * seed + 1, observed)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_inductor_equals_reference(seed: int) -> None:
    """Through logits this time: the observations are the same because the pass over the vocabulary is exact here."""
    policy = dsldec.load(random_policy(seed)[0])
    generator = torch.Generator().manual_seed(seed)
    slow, fast = policy.compile("reference", mask_id=MASK), policy.compile("inductor", mask_id=MASK)
    for table in range(10):
        # One likely id a position, of probability 1, 1/2 or 1/4: every observation but entropy is dyadic.
        logits = torch.full((2, 8, MASK + 1), float("-inf"))
        for row in range(2):
            for position in range(8):
                ids = torch.randperm(MASK, generator=generator)[: 2 ** int(torch.randint(0, 3, (), generator=generator))]
                logits[row, position, ids] = 1.0
        canvas, editable, state = inputs(100 * seed + table, 2, 8)
        assert_same(slow(logits, canvas, editable, state), fast(logits, canvas, editable, state), f"seed {seed}, table {table}")


@hypothesis_settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_a_row_does_not_depend_on_its_neighbours(seed: int, length: int) -> None:
    policy = dsldec.load(random_policy(seed)[0])
    step = policy.compile("eager", mask_id=MASK)
    logits = 4 * torch.randn(3, length, MASK + 1, generator=torch.Generator().manual_seed(seed))
    canvas, editable, state = inputs(seed, 3, length)
    together = step(logits, canvas, editable, state)
    for row in range(3):
        one = slice(row, row + 1)
        alone = step(logits[one], canvas[one], editable[one], {name: value[one] for name, value in state.items()})
        assert_same(alone, (together[0][one], together[1][one], {name: value[one] for name, value in together[2].items()}), f"row {row}")


@hypothesis_settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_every_step_writes_something_and_only_where_it_may(seed: int) -> None:
    policy = dsldec.load(random_policy(seed)[0])
    canvas, editable, state = inputs(seed, 3, 8)
    logits = torch.randn(3, 8, MASK + 1, generator=torch.Generator().manual_seed(seed))
    logits[..., MASK] = 20.0  # nothing is likelier than MASK, and still it is never committed
    after, done, _ = policy.compile("eager", mask_id=MASK)(logits, canvas, editable, state)
    free = (canvas == MASK) & editable
    changed = after != canvas
    assert not (changed & ~free).any()
    assert (changed.any(1) | ~free.any(1)).all()
    assert torch.equal(done, ~((after == MASK) & editable).any(1))


def test_parameters_are_inputs_of_the_step() -> None:
    step = dsldec.load("threshold").compile("eager", mask_id=MASK)
    logits = torch.randn(1, 8, MASK + 1, generator=torch.Generator().manual_seed(0))
    canvas, editable = torch.full((1, 8), MASK), torch.ones(1, 8, dtype=torch.bool)
    state = step.start(1, 8)
    strict = step(logits, canvas, editable, state)[0]
    loose = step(logits, canvas, editable, state, {"confidence": torch.tensor(0.0)})[0]
    assert (strict != MASK).sum() < (loose != MASK).sum() == 8


def test_every_operation_has_a_meaning_in_both() -> None:
    assert {*COMPUTED, *READ, "number"} == set(OPERATIONS)
    tables = (reference.READ, reference.COMPUTED, reference.REDUCED, reference.ELEMENTWISE)
    assert set().union(*tables) == set(OPERATIONS)
    assert sum(map(len, tables)) == len(OPERATIONS), "an operation stands in two tables"


def test_every_observation_is_a_word() -> None:
    assert set(OBSERVED) <= set(WORDS)
    assert BACKENDS == ("reference", "eager", "inductor")


def test_ints_are_those_of_64_bits_everywhere() -> None:
    text = "policy p(n: int = 1000000000):\n  window blocks(8)\n  commit masked and n * n * n * pos > 5 at least 1 by conf\n"
    policy = dsldec.load(text)
    canvas, editable, state = inputs(1, 2, 8)
    logits = torch.randn(2, 8, MASK + 1, generator=torch.Generator().manual_seed(0))
    slow, fast = (policy.compile(backend, mask_id=MASK)(logits, canvas, editable, state) for backend in ("reference", "eager"))
    assert_same(slow, fast, text)
