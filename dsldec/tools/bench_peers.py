"""`dsldec bench peers`: the time of a step, in times of the computations of published decoders on the
same logits.

Shapes: B rows, T window positions, V vocabulary; logits are random, every position is masked and editable,
and the window is T long. A goal of every ratio: below 1. Without `only`, some of the cells are measured. Not
here: the peers (`baselines`), timing (`rounds`), the table (`bench_goals`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from ..policy import Policy, load
from . import baselines, bench
from .bench_goals import Goal, GoalOptions, Report
from .rounds import Ratio, measured

POLICIES = ("static", "threshold", "factor", "klass", "dico")
SHAPES = (*((B, 32, V) for V in (32_000, 126_464) for B in (1, 4, 8)), (1, 256, 126_464))
DTYPES = ("float32", "bfloat16")
BELOW = 1.0

LLADA, FAST_DLLM, DINFER = "LLaDA", "Fast-dLLM", "dInfer, compiled"
PEERS = (LLADA, FAST_DLLM, DINFER)


@dataclass(frozen=True, slots=True)
class PeerCase:
    """A policy on a backend, and the shape and dtype of the logits."""

    policy: str
    backend: str
    shape: tuple[int, int, int]
    dtype: str

    def __str__(self) -> str:
        return f"{self.policy}, {self.backend}, {'x'.join(map(str, self.shape))} {self.dtype}"

    def against(self, peer: str) -> str:
        """The name of a ratio."""
        return f"{self} / {peer}"


# Without `only`: every policy, batch, vocabulary and dtype at least once, in about three minutes.
DEFAULTS = frozenset(
    {
        *(PeerCase(policy, "eager", (4, 32, 126_464), "float32") for policy in POLICIES),
        *(PeerCase("static", "eager", shape, "float32") for shape in SHAPES),
        PeerCase("static", "eager", (4, 32, 126_464), "bfloat16"),
        *(PeerCase("static", "inductor", (4, 32, 126_464), dtype) for dtype in DTYPES),
        PeerCase("threshold", "inductor", (1, 32, 32_000), "float32"),
    }
)


def goals(options: GoalOptions, report: Report) -> list[Goal]:
    """The ratios of this machine. Without a C++ compiler, those without compiled code."""
    compiles = "inductor" in bench.backends_here((), ("eager", "inductor"))
    wanted = [name for name in _names(compiles) if _is_wanted(name, options)]
    found = []
    for shape, dtype, policy in product(SHAPES, DTYPES, POLICIES):
        here = [
            (case, peer)
            for case, peer in wanted
            if (case.shape, case.dtype, case.policy) == (shape, dtype, policy)
        ]
        if here:
            found += _ratios(here, options.rounds, report)
    return found


def _names(compiles: bool) -> Iterator[tuple[PeerCase, str]]:
    for backend, policy, shape, dtype, peer in product(
        ("eager", "inductor"), POLICIES, SHAPES, DTYPES, PEERS
    ):
        if compiles or (backend == "eager" and peer != DINFER):
            yield PeerCase(policy, backend, shape, dtype), peer


def _is_wanted(name: tuple[PeerCase, str], options: GoalOptions) -> bool:
    case, peer = name
    return options.wants(case.against(peer)) if options.only else case in DEFAULTS


def _ratios(here: list[tuple[PeerCase, str]], rounds: int, report: Report) -> list[Goal]:
    """The ratios of one policy, shape and dtype."""
    first, _ = here[0]
    torch._dynamo.reset()  # all peers share one code object, which torch compiles at most eight times
    logits = _logits(first.shape, first.dtype)
    calls: dict[str, Callable[[], object]] = {}
    for backend in dict.fromkeys(case.backend for case, _ in here):
        calls[backend] = step_call(first.policy, backend, logits)
    for peer in dict.fromkeys(peer for _, peer in here):
        calls[peer] = peer_call(first.policy, peer, logits)
    with torch.no_grad():
        seconds = measured(calls, rounds, logits.device, lambda text: report(f"{first}: {text}"))
    return [
        Goal(case.against(peer), Ratio.between(seconds[case.backend], seconds[peer]), BELOW)
        for case, peer in here
    ]


def _logits(shape: tuple[int, int, int], dtype: str) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul_(3).to(getattr(torch, dtype))


def step_call(policy: str, backend: str, logits: Tensor) -> Callable[[], object]:
    """A step of a shipped policy on these logits, the second one of its window."""
    B, T, V = logits.shape
    step = _whole_window(load(policy), T).compile(backend, mask_id=V - 1, eos_id=V - 2)
    canvas, editable = torch.full((B, T), V - 1), torch.ones(B, T, dtype=torch.bool)
    with torch.no_grad():
        state = step(logits, canvas, editable, step.start(B, T, vocab_size=V)).state
    return partial(step, logits, canvas, editable, state)


def _whole_window(policy: Policy, length: int) -> Policy:
    return policy.bind(block=length) if "block" in policy.program.parameters else policy


def peer_call(policy: str, peer: str, logits: Tensor) -> Callable[[], object]:
    """A published decoder's step for the rule of a policy on these logits."""
    B, T, V = logits.shape
    by_threshold = baselines.in_budget if policy == "factor" else baselines.confident
    if peer == LLADA:
        step = baselines.peer_step(policy, baselines.float64_softmax, baselines.best_of_each_row)
    elif peer == FAST_DLLM:
        step = baselines.peer_step(policy, baselines.float64_softmax, by_threshold)
    else:
        commit = baselines.most_confident if policy == "static" else by_threshold
        step = baselines.peer_step(policy, baselines.float32_softmax, commit)
        step = torch.compile(step, fullgraph=True, dynamic=False)
    before = torch.softmax(logits.float(), -1) if policy == "klass" else logits.new_zeros(0)
    return partial(step, logits, torch.full((B, T), V - 1), before)
