"""From prompts to tokens: forward, step, next window, until every row is done.

Shapes: B rows, L canvas length, T window positions, V vocabulary. Knows steps and denoisers only by their shape: which
backend or model is behind them does not matter here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import backends
from ..backends.step import Step
from ..backends.vocabulary import OBSERVATIONS, observe
from ..diagnostics import Diagnostic, UsageError
from ..models.denoiser import Denoiser, require_denoiser, require_ids
from ..policy import Policy, load
from .rows import Row, Rows, TraceStep

log = logging.getLogger("dsldec")

Prompt = str | Sequence[int] | Tensor
DEFAULT_BATCH = 8


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What one step did in one row, for those who watch.

    `index` is the prompt's, `step` and `forwards` the row's counts so far, `generated` [G] the generation region now,
    `written` the positions this step wrote and `confidence` how sure the denoiser was of each.
    """

    index: int
    step: int
    forwards: int
    generated: Tensor
    written: list[int]
    confidence: dict[int, float]


@dataclass(frozen=True, slots=True)
class Decoded:
    """All results of a `decode`, in the order of the prompts.

    `ids`: 1-D int64 tensors, prompt and generated; `text`: the generated texts where the denoiser has a tokenizer, else
    `None` each; `forwards`, `rows`, `tokens`: `[prompts]` int64; `trace`: per row the steps in order, empty lists unless
    asked for; `errors`: per row why it stopped early, or `None`.
    """

    ids: list[Tensor]
    text: list[str | None]
    forwards: Tensor
    rows: Tensor
    tokens: Tensor
    trace: list[list[TraceStep]]
    errors: list[Diagnostic | None]


class DenoiserFailed(RuntimeError):
    """The denoiser raised something; `__cause__` is what."""


class DecodingStopped(RuntimeError):
    """Decoding failed half-way. `decoded` holds what was finished; rows without a result have an error instead."""

    def __init__(self, decoded: Decoded, cause: BaseException) -> None:
        finished = sum(error is None for error in decoded.errors)
        super().__init__(f"decoding stopped after {finished} of {len(decoded.errors)} prompts: {cause}")
        self.decoded = decoded


def decode(
    denoiser: Denoiser,
    prompts: Sequence[Prompt],
    policy: Policy | str | os.PathLike[str],
    *,
    gen_length: int = 256,
    backend: str = "auto",
    seed: int = 0,
    request_ids: Sequence[int] | None = None,
    stop_at_eos: bool = True,
    trace: bool = False,
    batch: int = DEFAULT_BATCH,
) -> Decoded:
    """Decode prompts under a policy.

    `prompts` are lists of ids of any lengths, or texts where the denoiser has a tokenizer. A batch holds at most
    `batch` rows; a row's result does not depend on the others. Raises `PolicyError`, `UsageError` for the caller's
    mistakes, `DecodingStopped` when the denoiser itself fails.
    """
    require_denoiser(denoiser)
    if isinstance(prompts, str | Tensor):
        raise UsageError(
            Diagnostic("E0409", "the prompts are a list, and this is one prompt", help="write `decode(denoiser, [prompt], policy)`")
        )
    encoded = [_ids(denoiser, prompt) for prompt in prompts]
    policy = policy if isinstance(policy, Policy) else load(policy)
    done: list[Row | None] = [None] * len(encoded)
    rows = stream(
        denoiser, encoded, policy, gen_length=gen_length, backend=backend, seed=seed, request_ids=request_ids,
        stop_at_eos=stop_at_eos, trace=trace, batch=batch,
    )  # fmt: skip
    try:
        for row in rows:
            done[row.index] = row
    except DenoiserFailed as failed:
        raise DecodingStopped(_collected(denoiser, encoded, done), failed) from failed.__cause__
    except AssertionError as ours:
        raise DecodingStopped(_collected(denoiser, encoded, done), ours) from ours
    return _collected(denoiser, encoded, done)


def _ids(denoiser: Any, prompt: Prompt) -> list[int]:
    if isinstance(prompt, str):
        if not hasattr(denoiser, "encode"):
            raise UsageError(
                Diagnostic("E0409", "this denoiser has no tokenizer, and a prompt is text", help="give prompts as lists of ids")
            )
        return list(denoiser.encode(prompt))
    ids = prompt.tolist() if hasattr(prompt, "tolist") else list(prompt) if isinstance(prompt, Iterable) else prompt
    if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
        raise UsageError(
            Diagnostic("E0409", "a prompt is a text or a flat list of ids", help="for one prompt write `decode(denoiser, [ids], policy)`")
        )
    return ids


def _collected(denoiser: Any, prompts: list[list[int]], done: list[Row | None]) -> Decoded:
    unfinished = Diagnostic("E0410", "the denoiser failed before this prompt was finished")
    rows = [row or Row(i, len(prompts[i]), torch.tensor(prompts[i]), error=unfinished) for i, row in enumerate(done)]
    reader = getattr(denoiser, "decode_text", None)
    return Decoded(
        ids=[row.ids for row in rows],
        text=[reader(row.generated.tolist()) if reader and row.error is None else None for row in rows],
        forwards=torch.tensor([row.forwards for row in rows], dtype=torch.int64),
        rows=torch.tensor([row.rows for row in rows], dtype=torch.int64),
        tokens=torch.tensor([row.tokens for row in rows], dtype=torch.int64),
        trace=[row.trace or [] for row in rows],
        errors=[row.error for row in rows],
    )


def stream(
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    policy: Policy,
    *,
    gen_length: int = 256,
    backend: str = "auto",
    seed: int = 0,
    request_ids: Sequence[int] | None = None,
    stop_at_eos: bool = True,
    trace: bool = False,
    batch: int = DEFAULT_BATCH,
    on_step: Callable[[StepEvent], None] | None = None,
) -> Iterator[Row]:
    """As `decode`, on ids: each prompt's `Row` as soon as it is finished, in whatever order that is.

    Raises `DenoiserFailed` when the denoiser does.

    `seed` and `request_ids` name the random numbers of a request; the policies of this version draw none.
    """
    _require_sensible(gen_length, batch, prompts, request_ids)
    require_denoiser(denoiser)
    require_ids(denoiser, prompts, gen_length)
    window = policy.facts.block_length(gen_length, policy.parameters)
    step = _step(denoiser, policy, backend, len(prompts), window, gen_length)
    most = policy.facts.forwards_bound(gen_length, policy.parameters)
    how = _How(gen_length, window, min(batch, max(1, len(prompts))), stop_at_eos, trace, on_step)
    for group in _groups(denoiser, prompts, batch):
        yield from _Batch(denoiser, step, prompts, group, how).run(most)


def _require_sensible(gen_length: int, batch: int, prompts: Sequence[object], request_ids: Sequence[int] | None) -> None:
    for name, value in (("gen_length", gen_length), ("batch", batch)):
        if not hasattr(value, "__index__") or isinstance(value, bool) or value < 1:
            raise UsageError(Diagnostic("E0409", f"`{name}` is a whole number from 1 on, not `{value}`", help=f"for example `{name}=8`"))
    if request_ids is not None and len(request_ids) != len(prompts):
        message = f"there are {len(prompts)} prompts and {len(request_ids)} request ids"
        raise UsageError(Diagnostic("E0409", message, help="give one id a prompt, or none"))


def _step(denoiser: Denoiser, policy: Policy, backend: str, count: int, window: int, gen_length: int) -> Step:
    if backend == "auto":
        forwards = policy.facts.forwards_bound(gen_length, policy.parameters)
        backend, why = backends.choose(count * forwards * window * denoiser.vocab_size)
        log.info("backend: %s", why)
    return policy.compile(backend, mask_id=denoiser.mask_id)


def _groups(denoiser: object, prompts: Sequence[Sequence[int]], batch: int) -> Iterator[list[int]]:
    """Indices of the prompts that are decoded together: mixed lengths only where the denoiser knows padding."""
    if getattr(denoiser, "padding", False):
        by_length = {0: list(range(len(prompts)))}
    else:
        by_length = {}
        for index, prompt in enumerate(prompts):
            by_length.setdefault(len(prompt), []).append(index)
    for indices in by_length.values():
        for begin in range(0, len(indices), batch):
            yield indices[begin : begin + batch]


@dataclass(frozen=True, slots=True)
class _How:
    """How all batches of a run are decoded: G positions in windows of `window`, `width` rows a step."""

    gen_length: int
    window: int
    width: int
    stop_at_eos: bool
    trace: bool
    on_step: Callable[[StepEvent], None] | None


class _Batch:
    """Some prompts decoded together. The step always sees `width` rows, so that it compiles for one shape; rows that
    are done, or were never there, have nothing to write. Only rows still decoding are forwarded."""

    def __init__(self, denoiser: Any, step: Step, prompts: Sequence[Sequence[int]], group: list[int], how: _How) -> None:
        self.denoiser, self.step, self.group, self.on_step = denoiser, step, group, how.on_step
        device = torch.device(getattr(denoiser, "device", "cpu"))
        eos_id = getattr(denoiser, "eos_id", None)
        padded = [prompts[i] for i in group] + [prompts[group[0]]] * (how.width - len(group))
        self.rows = Rows(padded, how.gen_length, how.window, denoiser.mask_id, eos_id, device)
        self.stop_at_eos = how.stop_at_eos and eos_id is not None
        self.state = step.start(how.width, how.window, device)
        self.params = {name: value.to(device) for name, value in step.params.items()}
        self.live = list(range(len(group)))
        self.forwards = 0  # every live row took part in all of them
        self.trace: list[list[TraceStep]] | None = [[] for _ in group] if how.trace else None

    def run(self, most: int) -> Iterator[Row]:
        """Step until no row is live; `most` is the proved bound on forwards."""
        while self.live:
            # The checker proved this bound: passing it is a mistake of ours, and must not become an endless loop.
            if self.forwards >= most:
                raise AssertionError(f"more than the proved {most} forwards: please report this policy")
            yield from self._one_step()

    def _forward(self) -> Tensor:
        ids = self.rows.canvas[self.live, : self.rows.longest]
        lengths = [int(self.rows.prompt_lengths[row]) + self.rows.gen_length for row in self.live]
        padding = getattr(self.denoiser, "padding", False)
        try:
            with torch.no_grad():
                logits = self.denoiser(ids[:, : max(lengths)], lengths=lengths) if padding else self.denoiser(ids)
        # A denoiser is the caller's: it may raise anything, and what was decoded before must not be lost.
        except Exception as error:
            raise DenoiserFailed(f"{type(error).__name__}: {error}") from error
        self.forwards += 1
        return _as_logits(logits, ids.shape[0], max(lengths), self.denoiser.vocab_size)

    def _one_step(self) -> Iterator[Row]:
        rows, live = self.rows, self.live
        columns, inside = rows.window_columns(self.state["window_start"])
        is_live = torch.zeros(len(columns), dtype=torch.bool, device=columns.device)
        is_live[live] = True
        editable = inside & is_live.unsqueeze(1)
        logits = self._forward().detach()
        seen = logits.new_zeros(*columns.shape, logits.shape[-1])
        within = columns[live].clamp(max=logits.shape[1] - 1)
        seen[live] = logits[torch.arange(len(live), device=logits.device).unsqueeze(1), within].to(seen.device)
        before = rows.canvas.gather(1, columns)
        after, done, state = self.step(seen, before, editable, self.state, self.params)
        failed = state["not_finite"].any(1)
        done = done & ~failed  # what a failed row wrote does not count
        after = torch.where(failed.unsqueeze(1), before, after)
        rows.canvas.scatter_(1, columns, torch.where(editable, after, before))
        if self.trace is not None or self.on_step is not None:
            self._tell(seen, before, after, state)
        window_start = state["window_start"] + torch.where(done & is_live, rows.window, 0)
        finished = window_start >= rows.gen_length
        if self.stop_at_eos:
            finished = finished | rows.ended()
        # A finished row's window goes back to the start: it must lie on the canvas as long as others decode.
        self.state = state | {"window_start": torch.where(finished, 0, window_start)}
        ends = torch.stack([finished, failed], 1).tolist()  # the one place where the host waits for the step
        for row in list(live):
            if ends[row][1] or ends[row][0]:
                self.live.remove(row)
                yield self._finish(row, self._failure(row) if ends[row][1] else None)

    def _failure(self, row: int) -> Diagnostic:
        bad = int(self.state["not_finite"][row].nonzero()[0])
        position = int(self.state["window_start"][row]) + bad
        message = f"the denoiser gave logits that are not finite in step {self.forwards} at generated position {position}"
        return Diagnostic("E0406", message, help="try the model in float32; what was written before this step is kept")

    def _finish(self, row: int, error: Diagnostic | None) -> Row:
        ids, content = self.rows.finish(row)
        trace = self.trace[row] if self.trace is not None else None
        begin = int(self.rows.prompt_lengths[row])
        if error is not None:
            content = int((ids[begin:] != self.rows.mask_id).sum())
        seconds = self.rows.clock()
        return Row(self.group[row], begin, ids, self.forwards, self.forwards, content, seconds, trace, error)

    def _tell(self, seen: Tensor, before: Tensor, after: Tensor, state: dict[str, Tensor]) -> None:
        """Note what a step wrote, and what the denoiser had said there."""
        observed = observe(seen, self.rows.mask_id)
        changed = (before != after).tolist()
        starts = state["window_start"].tolist()
        for row in self.live:
            places = [i for i, new in enumerate(changed[row]) if new]
            written = [starts[row] + i for i in places]
            values = {name: dict(zip(written, observed[name][row, places].tolist(), strict=True)) for name in OBSERVATIONS}
            if self.trace is not None:
                self.trace[row].append(TraceStep("", written, [], [], self.forwards - 1, values))
            if self.on_step is not None:
                steps = int(state["step"][row])
                self.on_step(
                    StepEvent(self.group[row], steps, self.forwards, self.rows.generated(row).cpu().clone(), written, values["conf"])
                )


def _as_logits(logits: Any, rows: int, length: int, vocab_size: int) -> Tensor:
    if isinstance(logits, Tensor) and logits.shape == (rows, length, vocab_size):
        return logits
    given = f"a tensor {list(logits.shape)}" if isinstance(logits, Tensor) else f"a `{type(logits).__name__}`"
    message = f"the denoiser gave {given} where logits [{rows}, {length}, {vocab_size}] are needed"
    raise UsageError(Diagnostic("E0408", message, help="return logits of shape [rows, length, vocab_size]"))
