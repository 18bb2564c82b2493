"""`dsldec bench overhead`: the time of decoding beside the model, as a multiple of a minimal loop.

The logits are computed before, so the model costs nothing. The minimal loop has the same arithmetic (max,
logsumexp, top-k) and no more: one window for all rows, no checks, no states, no ends. So the ratio is the
cost of everything that makes a loop general: the compiled policy, windows, batches, counts, diagnostics.
Shapes: B rows, L columns, T window positions, V vocabulary. Not here: a model's share (`bench_loop`), the
step alone (`bench_step`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..policy import Policy, load
from ..runtime.requests import block_shown
from ..runtime.session import Session
from . import bench
from .answers import all_decoded
from .bench_goals import Goal, GoalOptions, Report
from .rounds import Ratio, measured

SMALL, LARGE = 818, 126_464  # the vocabularies of the embedded model and of LLaDA
PROMPT, BLOCK = 16, 32  # ids before the first window, positions of a window
NEVER = -1e4  # the logit of the mask id
SEED = 0
BACKENDS = ("eager", "inductor")
GOALS = {
    ("eager", SMALL): 4.0,
    ("eager", LARGE): 1.5,
    ("inductor", SMALL): 2.5,
    ("inductor", LARGE): 0.5,
}  # of `static`, batch 1


@dataclass(frozen=True, slots=True)
class OverheadCase:
    """Rows of one length. `session`: by `Session.step` with the logits of the windows, as a serving engine
    has them; else by `decode`. `different`: the number of precomputed logits, which are given in turn.
    """

    policy: str
    vocabulary: int
    batch: int
    windows: int
    different: int
    session: bool = False

    @property
    def generated(self) -> int:
        return self.windows * BLOCK

    def named(self, backend: str) -> str:
        name = f"{self.policy}, {backend}, V={self.vocabulary}, batch {self.batch}"
        return f"{name}, session" if self.session else name

    def goal(self, backend: str) -> float | None:
        plain = self.policy == "static" and self.batch == 1 and not self.session
        return GOALS.get((backend, self.vocabulary)) if plain else None


# With the large vocabulary, the vocabulary pass takes most of the time from batch 2 on: see `bench peers`.
CASES = (
    OverheadCase("static", SMALL, 1, windows=4, different=8),
    OverheadCase("static", LARGE, 1, windows=1, different=2),
    OverheadCase("static", SMALL, 4, windows=2, different=8),
    OverheadCase("static", SMALL, 8, windows=2, different=8),
    OverheadCase("static", SMALL, 1, windows=2, different=8, session=True),
    OverheadCase("static", SMALL, 8, windows=2, different=8, session=True),
    OverheadCase("threshold", SMALL, 1, windows=4, different=8),
)


class Precomputed:
    """A denoiser that costs an index: it gives the precomputed logits `[N, B, L, V]` in turn."""

    def __init__(self, case: OverheadCase) -> None:
        self.vocab_size, self.calls = case.vocabulary, 0
        self.mask_id = case.vocabulary - 1
        shape = (case.different, case.batch, PROMPT + case.generated, case.vocabulary)
        self.logits = _logits(shape, self.mask_id)
        # Of each window `[N, B, T, V]`, for an engine that computes no others.
        windows = self.logits[:, :, PROMPT:].split(BLOCK, 2) if case.session else ()
        self.blocks = [window.contiguous() for window in windows]

    def __call__(self, ids: Tensor) -> Tensor:
        self.calls += 1
        return self.logits[self.calls % len(self.logits)]


def _logits(shape: Sequence[int], mask_id: int) -> Tensor:
    """Random logits whose confidences lie between .03 and .97; one in five is above .9."""
    random = torch.Generator().manual_seed(SEED)
    logits = torch.randn(*shape, generator=random)
    surest = torch.randint(mask_id, (*shape[:-1], 1), generator=random)
    above = math.log(shape[-1]) + 7 * torch.rand(surest.shape, generator=random) - 3
    logits.scatter_(-1, surest, above)
    logits[..., mask_id] = NEVER
    return logits


# --- the minimal loops


def minimal_static(denoiser: Precomputed, canvas: Tensor) -> Tensor:
    """Writes the most confident position of the first window that is not full, in each row. `canvas [B, L]`
    is changed and returned.
    """
    mask_id = denoiser.mask_id
    for begin in range(PROMPT, canvas.shape[1], BLOCK):
        window = canvas[:, begin : begin + BLOCK]
        for _ in range(BLOCK):
            logits = denoiser(canvas)[:, begin : begin + BLOCK]
            best, token = logits.max(-1)
            conf = torch.where(window == mask_id, best - logits.logsumexp(-1), float("-inf"))
            chosen = conf.topk(1).indices
            window.scatter_(1, chosen, token.gather(1, chosen))
    return canvas


def minimal_threshold(denoiser: Precomputed, canvas: Tensor) -> Tensor:
    """Writes every position with a confidence of .9, and the most confident one. `canvas [1, L]` is changed
    and returned.
    """
    mask_id = denoiser.mask_id
    for begin in range(PROMPT, canvas.shape[1], BLOCK):
        window = canvas[:, begin : begin + BLOCK]
        while (masked := window == mask_id).any():
            logits = denoiser(canvas)[:, begin : begin + BLOCK]
            best, token = logits.max(-1)
            conf = torch.where(masked, best - logits.logsumexp(-1), float("-inf"))
            chosen = (conf >= math.log(0.9)).scatter(1, conf.topk(1).indices, True)
            window.copy_(torch.where(chosen, token, window))
    return canvas


MINIMAL = {"static": minimal_static, "threshold": minimal_threshold}

# --- the measurement


def goals(options: GoalOptions, report: Report) -> list[Goal]:
    """The ratio of each case and backend. Every loop must write the same ids."""
    backends, found = bench.backends_here((), BACKENDS), list[Goal]()
    loaded = {name: load(name) for name in MINIMAL}
    for case in CASES:
        here = [backend for backend in backends if options.wants(case.named(backend))]
        if here:
            found += _measured(case, here, loaded[case.policy], options.rounds, report)
    return found


def _measured(
    case: OverheadCase, backends: Sequence[str], policy: Policy, rounds: int, report: Report
) -> Iterator[Goal]:
    denoiser = Precomputed(case)
    prompts = torch.arange(case.batch * PROMPT).view(case.batch, PROMPT) % denoiser.mask_id
    minimal = f"{MINIMAL[case.policy].__name__}, V={case.vocabulary}, batch {case.batch}"
    calls: dict[str, Callable[[], Tensor]] = {minimal: partial(_minimal, case, denoiser, prompts)}
    for backend in backends:
        run = _session if case.session else _decode
        calls[case.named(backend)] = partial(run, case, denoiser, prompts, policy, backend)
    expected = calls[minimal]()
    for name, call in calls.items():
        report(f"first decode, not timed: {name}")
        assert torch.equal(call(), expected), f"`{name}` wrote other ids than the minimal loop"
    seconds = measured(calls, rounds, torch.device("cpu"), report, often=minimal)
    for backend in backends:
        name = case.named(backend)
        yield Goal(name, Ratio.between(seconds[name], seconds[minimal]), case.goal(backend))


def _canvas(case: OverheadCase, prompts: Tensor, mask_id: int) -> Tensor:
    return torch.nn.functional.pad(prompts, (0, case.generated), value=mask_id)


def _minimal(case: OverheadCase, denoiser: Precomputed, prompts: Tensor) -> Tensor:
    denoiser.calls = 0
    with torch.no_grad():
        return MINIMAL[case.policy](denoiser, _canvas(case, prompts, denoiser.mask_id))


def _decode(
    case: OverheadCase, denoiser: Precomputed, prompts: Tensor, policy: Policy, backend: str
) -> Tensor:
    denoiser.calls = 0
    decoded = all_decoded(
        denoiser, prompts.tolist(), policy, gen_length=case.generated, backend=backend, batch=case.batch
    )
    return torch.stack(decoded.ids)


def _session(
    case: OverheadCase, denoiser: Precomputed, prompts: Tensor, policy: Policy, backend: str
) -> Tensor:
    """A serving engine: it shows one block of each request at a time, and has the logits of these blocks."""
    mask_id, rows = denoiser.mask_id, range(case.batch)
    session = Session.of(
        policy, slots=case.batch, columns=BLOCK, mask_id=mask_id, vocab_size=denoiser.vocab_size,
        backend=backend, gen_length=case.generated,
    )  # fmt: skip
    masks, written = [mask_id] * BLOCK, []
    session.admit_all({row: block_shown(row, masks, 0, case.generated, mask_id) for row in rows})
    calls = 0
    for window, blocks in enumerate(denoiser.blocks):
        session.show_all(dict.fromkeys(rows, (masks, window * BLOCK)))
        for _ in range(BLOCK):
            calls += 1
            session.step(blocks[calls % len(blocks)], of_windows=True)
        written.append(session.canvas)
    return torch.cat([prompts, *written], 1)
