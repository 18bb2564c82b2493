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
from ..backends import noise
from ..backends.step import State, Step
from ..backends.vocabulary import OBSERVATIONS, observe
from ..diagnostics import Diagnostic, UsageError
from ..models.denoiser import Denoiser, require_denoiser, require_ids
from ..policy import Policy, load
from .rows import Row, Rows, TraceStep
from .windows import Place, placing

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

    `seed` and `request_ids` (each prompt's place in the list unless given) name the random numbers of a request: it gets the
    same ones alone and in any batch.
    """
    _require_sensible(gen_length, batch, prompts, request_ids)
    require_denoiser(denoiser)
    require_ids(denoiser, prompts, gen_length)
    window = policy.facts.block_length(gen_length, policy.parameters)
    step = _step(denoiser, policy, backend, len(prompts), window, gen_length)
    most = policy.facts.forwards_bound(gen_length, policy.parameters)
    keys = [noise.key(seed, request) for request in (request_ids if request_ids is not None else range(len(prompts)))]
    width = min(batch, max(1, len(prompts)))
    guidance = policy.facts.guidance(policy.parameters)
    how = _How(gen_length, window, width, stop_at_eos, trace, on_step, placing(policy.facts, policy.parameters), guidance, keys)
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
    return policy.compile(backend, mask_id=denoiser.mask_id, eos_id=getattr(denoiser, "eos_id", None))


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
    """How all batches of a run are decoded: G positions in windows of `window`, `width` rows a step.

    `guidance` is the scale of classifier-free guidance, `keys` what each prompt's random numbers start from.
    """

    gen_length: int
    window: int
    width: int
    stop_at_eos: bool
    trace: bool
    on_step: Callable[[StepEvent], None] | None
    place: Place
    guidance: float | None
    keys: Sequence[int]


class _Batch:
    """Some prompts decoded together. The step always sees `width` rows, so that it compiles for one shape; rows that
    are done, or were never there, have nothing to write. Only rows still decoding are forwarded."""

    def __init__(self, denoiser: Any, step: Step, prompts: Sequence[Sequence[int]], group: list[int], how: _How) -> None:
        self.denoiser, self.step, self.group, self.how = denoiser, step, group, how
        device = torch.device(getattr(denoiser, "device", "cpu"))
        eos_id = getattr(denoiser, "eos_id", None)
        padded = [prompts[i] for i in group] + [prompts[group[0]]] * (how.width - len(group))
        self.rows = Rows(padded, how.gen_length, how.window, denoiser.mask_id, eos_id, device)
        self.stop_at_eos = how.stop_at_eos and eos_id is not None
        state = step.start(how.width, how.window, device, generation_length=how.gen_length, vocab_size=denoiser.vocab_size)
        if "key" in state:
            state["key"][: len(group)] = torch.tensor([how.keys[i] for i in group], device=device)
        self.state = state
        self.window_end = torch.zeros_like(state["window_start"])
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
        """Logits `[live, L, V]` of the live rows, steered away from what they would be without the prompt where guidance is asked for."""
        ids = self.rows.canvas[self.live, : self.rows.longest]
        lengths = [int(self.rows.prompt_lengths[row]) + self.rows.gen_length for row in self.live]
        ids = ids[:, : max(lengths)]
        scale = self.how.guidance
        if scale is None:
            return self._logits(ids, lengths)
        prompt = torch.arange(ids.shape[1], device=ids.device) < self.rows.prompt_lengths[self.live].unsqueeze(1)
        without = torch.where(prompt, self.rows.mask_id, ids)
        with_prompt, without_prompt = self._logits(torch.cat([ids, without]), lengths * 2).chunk(2)
        return without_prompt + (scale + 1) * (with_prompt - without_prompt)

    def _logits(self, ids: Tensor, lengths: list[int]) -> Tensor:
        padding = getattr(self.denoiser, "padding", False)
        try:
            with torch.no_grad():
                logits = self.denoiser(ids, lengths=lengths) if padding else self.denoiser(ids)
        # A denoiser is the caller's: it may raise anything, and what was decoded before must not be lost.
        except Exception as error:
            raise DenoiserFailed(f"{type(error).__name__}: {error}") from error
        self.forwards += 1
        return _as_logits(logits, ids.shape[0], max(lengths), self.denoiser.vocab_size)

    def _one_step(self) -> Iterator[Row]:
        rows, live = self.rows, self.live
        self.state["window_start"], self.window_end = self.how.place(rows, self.state["window_start"], self.window_end)
        columns, inside = rows.window_columns(self.state["window_start"], self.window_end)
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
        if self.trace is not None or self.how.on_step is not None:
            self._tell(seen, before, after, state)
        finished = self._moved_on(state, done & is_live)
        ends = torch.stack([finished, failed], 1).tolist()  # the one place where the host waits for the step
        for row in list(live):
            if ends[row][1] or ends[row][0]:
                self.live.remove(row)
                yield self._finish(row, self._failure(row) if ends[row][1] else None)

    def _moved_on(self, state: State, done: Tensor) -> Tensor:
        """Moves the windows that are done; which rows have nothing left to do, `[B]`."""
        rows = self.rows
        length = state.get("window_length", torch.full_like(state["window_start"], rows.window))
        window_start = state["window_start"] + torch.where(done, length, 0)
        # A sliding window is placed anew before every step: it is done when everything is written.
        finished = ~rows.masks().any(1) if "inside" in state else window_start >= rows.gen_length
        if "finished" in state:
            finished = finished | (state["finished"] & done)
        if self.stop_at_eos:
            kept = state["stays"] > 0 if "stays" in state else torch.zeros_like(finished)
            finished = finished | (rows.ended() & ~kept)
        # A finished row's window goes back to the start: it must lie on the canvas as long as others decode.
        self.state = state | {"window_start": torch.where(finished, 0, window_start)}
        return finished

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
        fed = self.forwards * self.step.program.facts.rows_per_forward
        return Row(self.group[row], begin, ids, self.forwards, fed, content, seconds, trace, error)

    def _tell(self, seen: Tensor, before: Tensor, after: Tensor, state: State) -> None:
        """Note what a step wrote, and what the denoiser had said there."""
        mask_id, program = self.rows.mask_id, self.step.program
        token = None if program.facts.deterministic else torch.where(after == mask_id, before, after)
        observed = observe(seen, mask_id, OBSERVATIONS, token)
        starts = self.state["window_start"].tolist()
        phases = state["ran"].tolist() if "ran" in state else [0] * len(starts)
        was, is_, changed = (x.tolist() for x in (before == mask_id, after == mask_id, before != after))
        for row in self.live:
            places = [i for i, new in enumerate(changed[row]) if new]
            kinds: dict[tuple[bool, bool], list[int]] = {(True, False): [], (False, True): [], (False, False): []}
            for place in places:
                kinds[was[row][place], is_[row][place]].append(starts[row] + place)
            values = {
                name: dict(zip([starts[row] + i for i in places], observed[name][row, places].tolist(), strict=True))
                for name in OBSERVATIONS
            }
            written, revoked, edited = kinds.values()
            if self.trace is not None:
                self.trace[row].append(TraceStep(program.phases[phases[row]], written, revoked, edited, self.forwards - 1, values))
            if self.how.on_step is not None:
                generated = self.rows.generated(row).cpu().clone()
                self.how.on_step(
                    StepEvent(self.group[row], int(state["step"][row]), self.forwards, generated, sorted(written + edited), values["conf"])
                )


def _as_logits(logits: Any, rows: int, length: int, vocab_size: int) -> Tensor:
    if isinstance(logits, Tensor) and logits.shape == (rows, length, vocab_size):
        return logits
    given = f"a tensor {list(logits.shape)}" if isinstance(logits, Tensor) else f"a `{type(logits).__name__}`"
    message = f"the denoiser gave {given} where logits [{rows}, {length}, {vocab_size}] are needed"
    raise UsageError(Diagnostic("E0408", message, help="return logits of shape [rows, length, vocab_size]"))
