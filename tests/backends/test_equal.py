"""Every backend equals the reference, on random policies and random observations."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

import dsldec
from dsldec.backends import module, module_geometry, reference
from dsldec.backends.reference_vocabulary import PlainLogitsView
from dsldec.backends.step import Events, Step, StepOutput, StepState
from dsldec.backends.vocabulary import numbers_kept
from dsldec.ir.nodes import OPERATIONS
from dsldec.ir.protocol import DISTRIBUTION_PREFIX
from dsldec.language.words import DRAWS, STATEMENTS, TRANSFORMS, WINDOWS, WORDS
from dsldec.runtime.request_patterns import RowPatterns
from dsldec.runtime.requests import Request
from dsldec.runtime.rows import Rows

from ..networks import network
from .automata import random_automaton
from .policies import OBSERVED, OPERATORS, random_observations, random_policy

MASK, EOS = 30, 4
PARAMETERS = {
    "level": 0.25,
    "weight": -0.5,
    "few": 3,
    "bold": False,
    "word": 4,
    "picks": 1,
    "lore": [i % 9 / 8 for i in range(MASK)],
    "pace": [0.875, 0.5, 0.25],
    "way": "margin",
}
OTHERS = {
    "and",
    "or",
    "not",
    "<",
    "<=",
    ">",
    ">=",
    "==",
    "!=",
    "at least",
    "at most",
    "as",
    "orelse",
    "if",
    "true",
    *OPERATORS,
}


def inputs(step: Step, seed: int, rows: int, length: int) -> tuple[Tensor, Tensor, StepState]:
    """A canvas, where it may be written, and a state such as steps leave: each row at another point of its
    run.
    """
    generator = torch.Generator().manual_seed(seed + 1)

    def ints(below: int, *shape: int) -> Tensor:
        return torch.randint(0, below, shape, generator=generator)

    canvas = ints(MASK + 1, rows, length)
    canvas[torch.rand(rows, length, generator=generator) < 0.6] = MASK
    editable = torch.rand(rows, length, generator=generator) < 0.9
    state = step.start(rows, length, generation_length=32, vocab_size=MASK + 1)
    for name, value in state.items():
        if name == "generation_length" or name.startswith("distribution_before"):
            continue
        if value.dtype == torch.bool:
            state[name] = ints(2, *value.shape).bool()
        elif value.dtype == torch.int64:
            state[name] = ints(
                len(step.program.phases) if name == "phase" else MASK if "word" in name else 4, *value.shape
            )
        else:
            state[name] = ints(9, *value.shape).float() / 8
    state["window_start"] = 8 * ints(3, rows)
    if "pattern_state" in state:
        state["pattern_state"] = ints(4, rows) - 1
        state["window_end"] = state["window_start"] + ints(length + 1, rows)
    return canvas, editable, state


def pattern_params(step: Step, seed: int, rows: int) -> dict[str, Tensor]:
    """The parameters of a step with a pattern in each row, if its policy has one."""
    params, rng = dict(step.params), random.Random(seed)
    if "shape" in params:
        each = [random_automaton(rng, MASK + 1, MASK, rng.choice((EOS, None))) for _ in range(rows)]
        requests = [Request(row, (), 8, 0, 8, pattern=one) for row, one in enumerate(each)]
        layout = Rows(requests, 8, MASK, EOS, torch.device("cpu"))
        params |= RowPatterns("shape", layout, MASK + 1).inputs
        most = max(one.states for one in each)
        params["shape.ends"] = torch.tensor([[rng.random() < 0.6 for _ in range(most)] for _ in range(rows)])
    return params


def assert_same(left: StepOutput, right: StepOutput, about: str) -> None:
    """Canvas, done, every field of the state and every event are equal, no value (NaN) to no value."""
    ones, others = by_name(left), by_name(right)
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        other = others[name]
        assert value.dtype == other.dtype, f"{name}: {about}"
        same = (value == other) | (value.isnan() & other.isnan() if value.is_floating_point() else False)
        assert same.all(), f"{name}: {about}"


def by_name(output: StepOutput) -> dict[str, Tensor]:
    """All that a step gives."""
    events = {f"event {name}": value for name, value in output.events.by_name().items()}
    state = {
        name: by_id(value) if name.startswith(DISTRIBUTION_PREFIX) else value
        for name, value in output.state.items()
    }
    return {"canvas": output.canvas, "done": output.done, **state, **events}


def by_id(distribution: Tensor) -> Tensor:
    """A distribution with its kept ids in order: of equally likely ids, a machine may store any one first."""
    if distribution.shape[-1] % 2:  # of all ids of the vocabulary, which are in order
        return distribution
    logs, ids = distribution.chunk(2, -1)
    by_log = logs.argsort(dim=-1, stable=True)
    logs, ids = logs.gather(-1, by_log), ids.gather(-1, by_log)
    order = ids.argsort(dim=-1, stable=True)
    return torch.cat([logs.gather(-1, order), ids.gather(-1, order)], -1)


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Both backends see what is put in here, instead of logits; these only say (at id 0) which row is meant."""
    given: dict[str, Tensor] = {}

    def row(logits: Tensor) -> Tensor:
        return logits[:, 0, 0].long()

    def observe(
        logits: Tensor,
        mask_id: int,
        wanted: frozenset[str],
        token: Tensor | None = None,
        *read: Any,
        **how: Any,
    ) -> dict[str, Tensor]:
        seen = {name: value[row(logits)] for name, value in given.items()}
        return seen if token is None else seen | {"token": token}

    def probability(logits: Tensor, ids: Tensor, *seen: Any, **how: Any) -> Tensor:
        places = torch.arange(logits.shape[1])
        hashed = (5 * ids + 3 * places + row(logits).unsqueeze(1)) % 9 / 8
        return torch.where((ids >= 0) & (ids <= MASK), hashed, 0.0)

    def sampled(logits: Tensor, mask_id: int, way: str, *given: Tensor) -> Tensor:
        key, step, pos = given[-3:]
        return (key.unsqueeze(1) + 7 * step.unsqueeze(1) + pos) % MASK

    class Fake(PlainLogitsView):
        """The same for the reference."""

        def cooled(self, temperature: float) -> Fake:
            return self

        @property
        def row(self) -> int:
            return int(self.logits[0][0])

        def observe(self, wanted: Any, method: str, *more: Any) -> dict[str, Any]:
            seen = {name: value[self.row].tolist() for name, value in given.items()}
            if method == "given":
                seen["token"] = more[0]
            elif method != "argmax":
                key, step, pos = more[-3:]
                seen["token"] = [(key + 7 * step + place) % MASK for place in pos]
            return seen

        def probability(self, ids: list[int]) -> list[float]:
            return [
                (5 * id_ + 3 * place + self.row) % 9 / 8 if 0 <= id_ <= MASK else 0.0
                for place, id_ in enumerate(ids)
            ]

        def log_probabilities(self, keep: int) -> list[list[float]]:
            return [[0.0] * numbers_kept(MASK + 1, keep)] * len(self.logits)

        def divergence(self, before: Any, keep: int) -> list[float]:
            kept: list[float] = given["kl"][self.row].tolist()
            return kept

        def jensen_shannon(self, before: Any, keep: int) -> list[float]:
            kept: list[float] = given["js"][self.row].tolist()
            return kept

    fakes = {
        "observe": observe,
        "probability": probability,
        "sampled": sampled,
        "cooled": lambda logits, temperature: logits,
        "divergence": lambda logits, before, keep, seen=None: given["kl"][row(logits)],
        "jensen_shannon": lambda logits, before, keep, seen=None: given["js"][row(logits)],
        "log_probabilities": lambda logits, keep, seen=None: torch.zeros(
            *logits.shape[:2], numbers_kept(logits.shape[2], keep)
        ),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(module, name, fake)
    monkeypatch.setattr(reference, "PlainLogitsView", Fake)
    return given


def compare(policy_seed: int, table_seed: int, observed: dict[str, Tensor]) -> Counter[str]:
    text, used = random_policy(policy_seed, networks=True, patterns=True)
    rows, length = 1 + table_seed % 3, (1, 2, 5, 8)[table_seed % 4]
    observed.clear()
    observed.update(random_observations(table_seed, rows, length))
    brain = network(seed=table_seed)
    policy = dsldec.load(text, brain=brain).bind(**(PARAMETERS if table_seed % 2 else {}))
    ids: dict[str, Any] = {"mask_id": MASK, "eos_id": EOS if table_seed % 5 else None, "pad_id": 7}
    steps = [policy.compile(backend, **ids) for backend in ("reference", "eager")]
    canvas, editable, state = inputs(steps[0], table_seed, rows, length)
    logits = torch.zeros(rows, length, MASK + 1)
    logits[:, :, 0] = torch.arange(rows).unsqueeze(1)
    params = pattern_params(steps[0], table_seed, rows)
    slow, fast = (step(logits, canvas, editable, state, params) for step in steps)
    assert_same(slow, fast, f"policy {policy_seed}, table {table_seed}\n{text}")
    return used


def test_eager_equals_reference(observed: dict[str, Tensor]) -> None:
    used: Counter[str] = Counter()
    for seed in range(400):
        used.update(compare(seed, 7 * seed + 3, observed))
    words = {*WORDS, *STATEMENTS, *OTHERS}
    assert {word: used[word] for word in words if used[word] < 20} == {}, "the generator hardly uses these"
    assert {word for word in (*WINDOWS, *DRAWS, *TRANSFORMS) if used[word] < 10} == set()


def test_eager_equals_reference_where_windows_are_sorted(
    observed: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in windows longer than these."""
    monkeypatch.setattr(module_geometry, "LONGEST_PAIRED_EAGER", 0)
    for seed in range(100):
        compare(seed, 11 * seed + 5, observed)


@pytest.mark.slow
def test_eager_equals_reference_at_length(observed: dict[str, Tensor]) -> None:
    for seed in range(1_000, 5_000):
        for table in range(5):
            compare(seed, 5 * seed + table, observed)


def logits_of_halves(generator: torch.Generator, rows: int, length: int) -> Tensor:
    """A few likely ids a position, of probability 1, 1/2 or 1/4 each: every observation but entropy is
    dyadic.
    """
    logits = torch.full((rows, length, MASK + 1), float("-inf"))
    for row in range(rows):
        for position in range(length):
            ids = torch.randperm(MASK, generator=generator)[
                : 2 ** int(torch.randint(0, 3, (), generator=generator))
            ]
            logits[row, position, ids] = 1.0
    return logits


def compare_compiled(seed: int, tables: int) -> None:
    """Through logits this time: the observations are the same because the pass over the vocabulary is exact
    here.

    But for draws: where a sum of probabilities decides, another order of adding may choose another id.
    """
    text = re.sub(r"  draw .*\n", "", random_policy(seed, patterns=True)[0])
    policy = dsldec.load(text)
    generator = torch.Generator().manual_seed(seed)
    slow, fast = (policy.compile(backend, mask_id=MASK, eos_id=EOS) for backend in ("reference", "inductor"))
    for table in range(tables):
        logits = logits_of_halves(generator, 2, 8)
        canvas, editable, state = inputs(slow, 100 * seed + table, 2, 8)
        params = pattern_params(slow, table, 2)
        assert_same(
            slow(logits, canvas, editable, state, params),
            fast(logits, canvas, editable, state, params),
            f"seed {seed}, table {table}\n{text}",
        )


@pytest.mark.parametrize("seed", [0, 3])
def test_inductor_equals_reference(seed: int) -> None:
    """Both once found a miscompilation: one of scatters, one of memory used twice."""
    compare_compiled(seed, 10)


@pytest.mark.slow
def test_inductor_compiles_picks_and_shifts_of_constants() -> None:
    """It gathers nothing from a constant."""
    text = "policy p():\n  window blocks(8)\n  commit thin(masked, by=conf, gap=2, at_most=1) and conf > shift(0.25, 2) at least 1 by conf\n"
    generator = torch.Generator().manual_seed(0)
    slow, fast = (
        dsldec.load(text).compile(backend, mask_id=MASK, eos_id=EOS) for backend in ("reference", "inductor")
    )
    logits, (canvas, editable, state) = logits_of_halves(generator, 2, 8), inputs(slow, 3, 2, 8)
    assert_same(slow(logits, canvas, editable, state), fast(logits, canvas, editable, state), text)


@pytest.mark.slow
def test_inductor_equals_reference_at_length() -> None:
    for seed in range(150):
        torch._dynamo.reset()
        compare_compiled(seed, 50)


@hypothesis_settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_a_row_does_not_depend_on_its_neighbours(seed: int, length: int) -> None:
    step = dsldec.load(random_policy(seed)[0]).compile("eager", mask_id=MASK, eos_id=EOS)
    logits = 4 * torch.randn(3, length, MASK + 1, generator=torch.Generator().manual_seed(seed))
    canvas, editable, state = inputs(step, seed, 3, length)
    together = step(logits, canvas, editable, state)
    for row in range(3):
        one = slice(row, row + 1)
        alone = step(
            logits[one], canvas[one], editable[one], {name: value[one] for name, value in state.items()}
        )
        assert_same(
            alone,
            StepOutput(
                together.canvas[one],
                together.done[one],
                {name: value[one] for name, value in together.state.items()},
                Events(**{name: value[one] for name, value in together.events.by_name().items()}),
            ),
            f"row {row}",
        )


@hypothesis_settings(max_examples=60)
@given(st.integers(0, 10**6))
def test_a_step_writes_only_where_it_may_and_never_a_mask_by_commit(seed: int) -> None:
    text = random_policy(seed)[0]
    step = dsldec.load(text).compile("eager", mask_id=MASK, eos_id=EOS)
    canvas, editable, state = inputs(step, seed, 3, 8)
    logits = torch.randn(3, 8, MASK + 1, generator=torch.Generator().manual_seed(seed))
    logits[..., MASK] = 20.0  # nothing is likelier than MASK, and still it is never committed
    after, done, _, _ = step(logits, canvas, editable, state)
    changed = after != canvas
    assert not (changed & ~editable).any()
    if "revoke" not in text and "edit" not in text:
        assert not (changed & (canvas != MASK)).any()
    if "revoke" not in text:
        assert not (changed & (after == MASK)).any()
    full = ~((after == MASK) & editable).any(1)
    if step.program.facts.window != "until" and "stay" not in text:
        assert (done | ~full).all()


def test_parameters_are_inputs_of_the_step() -> None:
    step = dsldec.load("threshold").compile("eager", mask_id=MASK)
    logits = torch.randn(1, 8, MASK + 1, generator=torch.Generator().manual_seed(0))
    canvas, editable = torch.full((1, 8), MASK), torch.ones(1, 8, dtype=torch.bool)
    state = step.start(1, 8)
    strict = step(logits, canvas, editable, state)[0]
    loose = step(logits, canvas, editable, state, {"confidence": torch.tensor(0.0)})[0]
    assert (strict != MASK).sum() < (loose != MASK).sum() == 8


def test_every_operation_has_a_meaning_in_both() -> None:
    assert sorted(module.IMPLEMENTED) == sorted(OPERATIONS)
    assert sorted(reference.IMPLEMENTED) == sorted(OPERATIONS)


def test_every_observation_is_a_word() -> None:
    assert set(OBSERVED) <= set(WORDS)


def test_ints_are_those_of_64_bits_everywhere() -> None:
    text = "policy p(n: int = 1000000000):\n  window blocks(8)\n  commit masked and n * n * n * pos > 5 at least 1 by conf\n"
    policy = dsldec.load(text)
    steps = [policy.compile(backend, mask_id=MASK) for backend in ("reference", "eager")]
    canvas, editable, state = inputs(steps[0], 1, 2, 8)
    logits = torch.randn(2, 8, MASK + 1, generator=torch.Generator().manual_seed(0))
    slow, fast = (step(logits, canvas, editable, state) for step in steps)
    assert_same(slow, fast, text)
