"""`dsldec bench growth`: the time for each unit of the input at a large size, in multiples of a small size.

1 is linear growth, or a time that does not depend on the size. Logits are computed before, so a model costs
nothing; where batches are compared, it costs some time for each row, as on a CPU. Shapes: B rows, L columns,
T window positions, V vocabulary. Not here: the loop in multiples of a minimal one (`bench_overhead`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..policy import Policy, load
from . import bench
from .answers import all_decoded
from .bench_goals import Goal, GoalOptions, Report
from .rounds import Ratio, measured

SEED = 0
# A unit at the large size may take this much more time: the logits of the large size lie in no cache, and the
# rest is noise. A square would be 4 or more.
LINEAR, FLAT = 1.3, 1.1
PROMPTS, BATCH = 1000, 8  # of the comparison of batches


class FreeDenoiser:
    """Gives precomputed logits `[B, W, V]`, the same in every call. `work`: multiplications of a matrix and a
    vector for each row, which stand for a model.
    """

    pads = selects_columns = True

    def __init__(self, rows: int, columns: int, vocabulary: int, work: int = 0) -> None:
        self.vocab_size, self.mask_id, self.calls = vocabulary, vocabulary - 1, 0
        self.logits = _logits(rows, columns, vocabulary)
        self.matrix, self.vector, self.work = torch.rand(256, 256), torch.rand(256), work

    def __call__(self, ids: Tensor, *, lengths: Sequence[int] = (), columns: Tensor | None = None) -> Tensor:
        self.calls += 1
        for _ in range(self.work * len(ids)):
            torch.mv(self.matrix, self.vector)
        return self.logits[: len(ids), : ids.shape[1] if columns is None else columns.shape[1]]


def _logits(rows: int, columns: int, vocabulary: int) -> Tensor:
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(rows, columns, vocabulary, generator=generator).mul_(3)


@dataclass(frozen=True, slots=True)
class StepSize:
    """The sizes of a step."""

    rows: int
    positions: int
    vocabulary: int

    @property
    def logits(self) -> int:
        return self.rows * self.positions * self.vocabulary


@dataclass(frozen=True, slots=True)
class DecodeSize:
    """The sizes of a decode: prompts, ids of each prompt, and tokens to generate for each."""

    prompts: int = 1
    prompt: int = 64
    generated: int = 64


# A size and the size that it is compared with. The vocabulary is small where the window grows: the rule is
# then a large part of the step.
STEPS = {
    "rows": (StepSize(1, 32, 32_000), StepSize(8, 32, 32_000)),
    "ids": (StepSize(1, 32, 32_000), StepSize(1, 32, 256_000)),
    "positions": (StepSize(1, 256, 1_000), StepSize(1, 2_048, 1_000)),
}
DECODES = {
    "prompt length": (DecodeSize(), DecodeSize(prompt=4_096)),
    "gen_length, each forward": (DecodeSize(), DecodeSize(generated=1_024)),
    "prompts, each token": (DecodeSize(16, generated=16), DecodeSize(256, generated=16)),
}
COMPILED = "dico"  # compiling takes a while, so only the policy with most operations is compiled
VOCABULARY = 1_000  # of the decodes


def goals(options: GoalOptions, report: Report) -> list[Goal]:
    """Growth of steps, of decodes, and with batches."""
    return [*_steps(options, report), *_decodes(options, report), *_batches(options, report)]


# --- steps


def _steps(options: GoalOptions, report: Report) -> Iterator[Goal]:
    for policy, backend in _policies():
        for what, sizes in STEPS.items():
            name = f"step of {policy}, {backend}: {what}"
            if not options.wants(name) or (backend != "eager" and what != "positions"):
                continue
            calls = {size: partial(_step(policy, backend, size)) for size in sizes}
            seconds = measured(calls, options.rounds, torch.device("cpu"), report)
            small, large = sizes
            each = Ratio.between(seconds[large], seconds[small])
            yield Goal(
                f"{name} {_from_to(what, small, large)}", _divided(each, large.logits / small.logits), LINEAR
            )


def _policies() -> Iterator[tuple[str, str]]:
    for policy in ("static", COMPILED):
        yield policy, "eager"
    for backend in bench.backends_here((), ("inductor",)):
        yield COMPILED, backend


def _from_to(what: str, small: StepSize, large: StepSize) -> str:
    attribute = {"rows": "rows", "ids": "vocabulary", "positions": "positions"}[what]
    return f"{getattr(small, attribute)} to {getattr(large, attribute)}"


def _step(name: str, backend: str, size: StepSize) -> Callable[[], object]:
    policy = load(name).bind(block=size.positions)
    step = policy.compile(backend, mask_id=size.vocabulary - 1, eos_id=size.vocabulary - 2)
    shape = (size.rows, size.positions)
    canvas, editable = torch.full(shape, size.vocabulary - 1), torch.ones(shape, dtype=torch.bool)
    return torch.no_grad()(
        partial(step, _logits(*shape, size.vocabulary), canvas, editable, step.start(*shape))
    )


def _divided(ratio: Ratio, by: float) -> Ratio:
    return replace(ratio, median=ratio.median / by, low=ratio.low / by, high=ratio.high / by)


# --- decodes


def _decodes(options: GoalOptions, report: Report) -> Iterator[Goal]:
    policy = load("static").bind(tokens=1, block=32)
    for what, (small, large) in DECODES.items():
        name = f"decode, eager: {what}"
        if not options.wants(name):
            continue
        calls: dict[DecodeSize, Callable[[], Any]] = {
            size: partial(_decoded, FreeDenoiser(BATCH, 32, VOCABULARY), size, policy)
            for size in (small, large)
        }
        seconds = measured(calls, options.rounds, torch.device("cpu"), report)
        tokens = large.prompts * large.generated / (small.prompts * small.generated)
        sizes = [(a, b) for a, b in zip(_sizes(small), _sizes(large), strict=True) if a != b]
        each = _divided(Ratio.between(seconds[large], seconds[small]), tokens)
        yield Goal(f"{name}, {sizes[0][0]} to {sizes[0][1]}", each, FLAT)


def _sizes(size: DecodeSize) -> tuple[int, int, int]:
    return size.prompts, size.prompt, size.generated


def _decoded(denoiser: FreeDenoiser, size: DecodeSize, policy: Policy) -> int:
    prompts = [[i % 7 for i in range(size.prompt)]] * size.prompts
    # Equal prompts are decoded once, so each has another first id.
    prompts = [[n, *prompt[1:]] for n, prompt in enumerate(prompts)]
    decoded = all_decoded(
        denoiser, prompts, policy, gen_length=size.generated, backend="eager", batch=min(BATCH, size.prompts)
    )
    return len(decoded.ids)


# --- many prompts


def _batches(options: GoalOptions, report: Report) -> Iterator[Goal]:
    refilled, parts, alone = (
        f"{PROMPTS} prompts, batch {BATCH}: waiting prompts take free rows",
        f"{PROMPTS} prompts, batch {BATCH}: one batch after the other",
        f"{PROMPTS} prompts, batch 1",
    )
    wanted = [name for name in (refilled, parts) if options.wants(name)]
    if not wanted:
        return
    generator = random.Random(SEED)
    prompts = [[n] * generator.randrange(4, 64) for n in range(PROMPTS - 1)] + [[0, 1]]
    lengths = [generator.randrange(4, 49) for _ in prompts]
    policy, denoiser = load("static").bind(tokens=4, block=16), FreeDenoiser(BATCH, 16, 1_200, work=4)
    calls: dict[str, Callable[[], Any]] = {
        refilled: partial(_many, denoiser, prompts, lengths, policy, BATCH, PROMPTS),
        parts: partial(_many, denoiser, prompts, lengths, policy, BATCH, BATCH),
        alone: partial(_many, denoiser, prompts, lengths, policy, 1, PROMPTS),
    }
    assert len({call() for call in calls.values()}) == 1, "not every method wrote the same number of tokens"
    seconds = measured(calls, options.rounds, torch.device("cpu"), report)
    if refilled in wanted:
        yield Goal(
            f"{refilled}, over one batch after the other",
            Ratio.between(seconds[refilled], seconds[parts]),
            1.0,
        )
        yield Goal(f"{refilled}, over batch 1", Ratio.between(seconds[refilled], seconds[alone]), 1.0)
    if parts in wanted:
        yield Goal(f"{parts}, over batch 1", Ratio.between(seconds[parts], seconds[alone]))


def _many(
    denoiser: FreeDenoiser,
    prompts: Sequence[list[int]],
    lengths: Sequence[int],
    policy: Policy,
    batch: int,
    together: int,
) -> int:
    """Decodes `together` prompts a call; the result is the number of tokens."""
    tokens = 0
    for at in range(0, len(prompts), together):
        some = slice(at, at + together)
        decoded = all_decoded(
            denoiser, prompts[some], policy, gen_length=list(lengths[some]), backend="eager", batch=batch
        )
        tokens += int(decoded.tokens.sum())
    return tokens
