"""Is a decode the same whether or not the host reads the flags of each step? On a CPU it does, and then most
steps place no window and copy no logits; on a GPU it does not. And how much work is left beside a step?
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import dsldec
from dsldec.backends.step import Step
from dsldec.runtime import forward_output, step_runner
from dsldec.runtime.forward_output import ForwardOutput, WindowBuffer
from dsldec.runtime.requests import Request, block_shown, infilled
from dsldec.runtime.session import Session
from dsldec.runtime.step_runner import StepRunner
from dsldec.runtime.windows import Placement

from ..backends.policies import random_policy
from ..toy import MASK, VOCABULARY, ToyDenoiser
from .families import Padded
from .test_infill import random_text
from .test_refill import EOS, Uneven, random_prompts, told
from .test_session import ALL

OWN = {name: ALL[name] for name in ("gumbel", "nucleus", "late", "urgent")}
SLIDING = "policy slides():\n  window sliding(max_masks=3, max_length=8)\n  commit masked and conf > 0.5 at least 1 by conf"
UNTIL = "policy until():\n  window until(4, min=2, max=8)\n  commit top(masked, 1, by=conf)"
ACCEPTS = (
    "policy accepts():\n  window blocks(6)\n  lookahead 3 accept conf > 0.2\n  commit top(masked, 1, by=conf)"
)


class Selecting:
    """Another denoiser, which also selects columns."""

    selects_columns = True

    def __init__(self, denoiser: Any) -> None:
        self.denoiser = denoiser

    def __call__(self, ids: Tensor, columns: Tensor | None = None, **how: Any) -> Tensor:
        logits: Tensor = self.denoiser(ids, **how)
        return logits if columns is None else logits[torch.arange(len(ids)).unsqueeze(1), columns]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.denoiser, name)


def random_call(seed: int) -> tuple[Any, list[list[int]], dict[str, Any]]:
    """A denoiser, prompts and options."""
    rng = random.Random(seed)
    denoiser: Any = Uneven(7, 1.0)
    if rng.random() < 0.6:
        denoiser = Padded(denoiser)
    if rng.random() < 0.5:
        denoiser = Selecting(denoiser)
    count = rng.randint(1, 5)
    how: dict[str, Any] = {"seed": seed, "batch": rng.randint(1, 4), "backend": "eager"}
    how["infill"] = rng.random() < 0.3
    if how["infill"]:
        return denoiser, [random_text(rng, rng.randint(4, 14)) for _ in range(count)], how
    how |= {"gen_length": rng.randint(5, 14), "stop_at_eos": rng.random() < 0.7}
    how |= {"stop_ids": rng.choice(([], [3], [3, 11])), "min_length": rng.choice((0, 0, 4))}
    prompts = random_prompts(rng, count)
    return denoiser, [[*prompt, EOS] if rng.random() < 0.2 else prompt for prompt in prompts], how


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> Counter[bool]:
    """Counts the steps in which the host knew that nothing moved or ended, and the others."""
    counts, true = Counter[bool](), StepRunner.__call__

    def counting(self: StepRunner, *given: Any) -> Any:
        result = true(self, *given)
        counts[result.steady] += 1
        return result

    monkeypatch.setattr(StepRunner, "__call__", counting)
    return counts


def both_ways(monkeypatch: pytest.MonkeyPatch, decode: Any) -> tuple[Any, Any]:
    with monkeypatch.context() as patched:
        patched.setattr(step_runner, "reads_flags", lambda device: False)
        slow = decode()
    return decode(), slow


def assert_same(policy: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of = policy if isinstance(policy, dsldec.Policy) else dsldec.load(policy)
    denoiser, prompts, how = random_call(seed)
    if random.Random(seed).random() < 0.4 and of.facts.drafts is None and of.facts.branches is None:
        how["lookahead"] = 3
    for trace in (True, False) if seed % 4 == 0 else (False,):
        fast, slow = both_ways(
            monkeypatch, lambda t=trace: dsldec.decode(denoiser, prompts, of, trace=t, **how)
        )
        for row in range(len(prompts)):
            assert told(fast, row) == told(slow, row), (seed, how, prompts)


@pytest.mark.filterwarnings("ignore::dsldec.DecodingWarning")
def test_steps_that_read_flags_decode_as_those_that_do_not(
    steady: Counter[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(12):
        assert_same(random_policy(seed)[0], seed, monkeypatch)
    for seed, policy in enumerate(
        [*OWN.values(), SLIDING, UNTIL, ACCEPTS, *map(dsldec.load, ("static", "dico"))]
    ):
        assert_same(policy, 40 + seed, monkeypatch)
    assert min(steady[True], steady[False]) > 100


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::dsldec.DecodingWarning")
def test_many_random_policies_decode_alike(steady: Counter[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(100, 200):
        assert_same(random_policy(seed)[0], seed, monkeypatch)
    assert min(steady[True], steady[False]) > 1000


def hosted(policy: dsldec.Policy, seed: int) -> list[Any]:
    """The states of a session after each step. Slots are shown blocks or whole texts, some steps are in some
    slots only, and a request is replaced half way.
    """
    rng, denoiser = random.Random(seed), Uneven(seed, 1.0)
    session = Session.of(policy, slots=3, columns=16, mask_id=MASK, vocab_size=VOCABULARY, eos_id=EOS)
    requests: list[Request] = [
        block_shown(0, [MASK] * 16, 0, 16, MASK, 3),
        block_shown(1, [3, 4, 5, *[MASK] * 5], -3, 21, MASK, 4),
        infilled(2, [7, MASK, 8, MASK, MASK, 9, MASK], MASK, None),
    ]
    session.admit_all(dict(enumerate(requests)))
    seen: list[Any] = []
    for forward in range(14):
        if forward == 7:
            session.admit(rng.randrange(3), block_shown(3, [MASK] * 9, 0, 9, MASK, 5))
        only = rng.sample(range(3), 2) if rng.random() < 0.3 else None
        output = session.step(denoiser(session.canvas), only=only)
        open_ = ~session.ended
        seen.append([output.canvas.tolist(), output.done.tolist(), session.ended.tolist()])
        seen.append({name: value[open_].tolist() for name, value in output.state.items()})
        seen.append([bound[open_].tolist() for bound in session.windows()])
    return seen


def test_a_session_is_the_same_whether_or_not_it_reads_flags(
    steady: Counter[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed, policy in enumerate([*OWN.values(), dsldec.load("threshold", block=8)]):
        fast, slow = both_ways(monkeypatch, lambda p=policy, s=seed: hosted(p, s))
        assert fast == slow, policy.name
    assert steady[True] > 10


# --- logits that lie where a step wants them


def placement(columns: list[int], positions: int) -> Placement:
    at = torch.tensor(columns).unsqueeze(1) + torch.arange(positions)
    return Placement(at[:, 0], at[:, 0] + positions, at, torch.ones_like(at, dtype=torch.bool))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("buffered", [False, True])
def test_windows_without_a_copy_are_those_of_a_copy(
    dtype: torch.dtype, buffered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, buffer = random.Random(1), WindowBuffer() if buffered else None
    monkeypatch.setattr(forward_output, "LARGE", 40)
    for _ in range(200):
        rows, length, positions = rng.randint(1, 3), rng.randint(1, 7), rng.randint(1, 5)
        logits = torch.randn(rows, length, 8).to(dtype)
        logits = logits[:, :, :5] if rng.random() < 0.3 else logits
        same = rng.randint(-1, length)
        placed = placement(
            [same if rng.random() < 0.9 else rng.randint(0, length) for _ in range(rows)], positions
        )
        in_order = rng.random() < 0.8
        source = torch.arange(rows) if in_order else torch.tensor([rng.randrange(rows) for _ in range(rows)])
        seen = ForwardOutput(logits, source, in_order=in_order)
        found, expected = seen.on_cpu(placed, buffer), seen.at(placed.columns)
        assert torch.equal(found, expected)
        if buffered:  # for compiled code
            assert found.stride() == expected.stride()


def test_one_row_and_windows_of_the_denoiser_are_not_copied() -> None:
    row = torch.randn(1, 9, 4)
    found = ForwardOutput(row, torch.arange(1), in_order=True).on_cpu(placement([3], 4), WindowBuffer())
    assert found.data_ptr() == row[0, 3].data_ptr()
    assert found.stride() == (16, 4, 1)
    rows = torch.randn(2, 9, forward_output.LARGE // 8)
    seen, placed, buffer = (
        ForwardOutput(rows, torch.arange(2), in_order=True),
        placement([3, 3], 4),
        WindowBuffer(),
    )
    assert seen.on_cpu(placed, None).data_ptr() == rows[0, 3].data_ptr()
    assert seen.on_cpu(placed, buffer).data_ptr() == seen.on_cpu(placed, buffer).data_ptr()


# --- work beside a step


class Operations(TorchDispatchMode):
    """Counts operations, apart from views, by the place where they run."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.counts, self.largest = "beside", Counter[str](), 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if not function.is_view:
            self.counts[self.place] += 1
            if self.place == "beside" and isinstance(result, Tensor):
                self.largest = max(self.largest, result.numel())
        return result

    def at(self, place: str, function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            self.counts[f"{place}s"] += 1
            before, self.place = self.place, place
            try:
                return function(*args, **kwargs)
            finally:
                self.place = before

        return called


@pytest.mark.parametrize(
    ("name", "eos_id", "selects", "most"),
    [
        ("static", None, False, 8),
        ("static", EOS, True, 18),
        ("threshold", None, True, 9),
        ("threshold", EOS, False, 19),
    ],
)
@pytest.mark.parametrize("rows", [1, 3])
def test_little_is_computed_beside_a_step(
    name: str, eos_id: int | None, selects: bool, most: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Operations()
    denoiser: Any = ToyDenoiser(3, 1.0)
    denoiser.eos_id = eos_id
    denoiser = Selecting(denoiser) if selects else denoiser
    monkeypatch.setattr(Step, "__call__", counted.at("step", Step.__call__))
    monkeypatch.setattr(type(denoiser), "__call__", counted.at("denoiser", type(denoiser).__call__))
    policy = dsldec.load(name, block=32) if name == "static" else dsldec.load(name, block=32, confidence=0.99)
    with counted:
        decoded = dsldec.decode(
            denoiser, [[1, 2, row] for row in range(rows)], policy, gen_length=96, backend="eager",
            stop_at_eos=eos_id is not None,
        )  # fmt: skip
    assert int(decoded.forwards.max()) == counted.counts["steps"] > 20
    assert counted.counts["beside"] <= most * counted.counts["steps"]
    if selects or rows == 1:  # no copy of the logits: nothing is as large as those of one row's window
        assert counted.largest < 32 * VOCABULARY
