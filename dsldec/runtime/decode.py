"""From prompts to tokens: prompts in batches, each decoded until every row is done.

Knows steps and denoisers only by their shape: which backend or model is behind them does not matter here. Not here: the loop of a batch
(`lookahead`).
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import backends
from ..backends import noise
from ..backends.step import Step
from ..checks.facts import Facts
from ..checks.values import int_of
from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..models.denoiser import Denoiser, require_denoiser, require_ids
from ..policy import Policy, load
from .advance import Advance, Moment
from .cache import chosen, forwarding
from .forward import PACKINGS, DenoiserFailed
from .lookahead import Batch
from .requests import Request, continued, infilled, require_numbers, require_sensible
from .rows import Row, Rows, TraceStep
from .shapes import positions_compiled, rows_compiled
from .told import StepEvent, Told
from .windows import windows_of

log = logging.getLogger("dsldec")

Prompt = str | Sequence[int] | Tensor
DEFAULT_BATCH = 8


@dataclass(frozen=True, slots=True)
class Decoded:
    """All results of a `decode`, in the order of the prompts.

    `ids`: 1-D int64 tensors, prompt and generated; `text`: the generated texts where the denoiser has a tokenizer, else
    `None` each (of an infilling given as text, the whole of it);
    `forwards` (all drafts of a row in one), `rows` (fed for it, drafts included), `tokens`: `[prompts]` int64;
    `surplus` `[prompts]` int64: rows fed after a row's end, before the host heard of it, which `rows` does not count (0 on a CPU);
    `proposed`, `accepted`: per row how many drafts were made, and how many accepted, one step ahead of the next one, two steps, ...;
    `trace`: per row the steps in order, empty lists unless asked for; `errors`: per row why it stopped early, or `None`.
    """

    ids: list[Tensor]
    text: list[str | None]
    forwards: Tensor
    rows: Tensor
    surplus: Tensor
    proposed: list[list[int]]
    accepted: list[list[int]]
    tokens: Tensor
    trace: list[list[TraceStep]]
    errors: list[Diagnostic | None]


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
    lookahead: int | None = None,
    verify_rows: str = "batch",
    infill: bool = False,
    cache: str = "auto",
) -> Decoded:
    """Decode prompts under a policy.

    `prompts` are lists of ids of any lengths, or texts where the denoiser has a tokenizer. A batch holds at most
    `batch` rows, and a prompt that waits takes the row of one that is finished; a row's result does not depend on the others.
    `infill`: the prompts are texts with masks in them (`[MASK]`, `[MASK*8]` where they are not ids), which are decoded in place; all
    else stays, `gen_length` has no meaning, and an end-of-text token ends nothing. `lookahead` verifies so many drafts of any policy in one
    forward, and writes what the policy writes without them; `verify_rows` feeds them in one call (`batch`), or each row alone
    (`sequential`: for denoisers that give a row other logits beside others; `forwards` counts the drafts of a row once even so).
    `cache`: keys and values that forwards keep for those after them: `exact` for models that are causal between blocks, `prefix` and
    `dual`, which approximate, for those that see the whole canvas, `none`, or `auto`: `exact` where it can be had, else none.
    Under `exact`, reading a prompt's whole blocks once is a call that `forwards` does not count.
    `seed` and `request_ids` (each prompt's place in the list unless given) name the random numbers of policies that draw: two calls
    alike give the same answers. To sample several answers, write the prompt several times (`[prompt] * 8`: each has an id of its own),
    or call again with another `seed`; `request_ids` keeps what a prompt draws where the list is another.
    Raises `PolicyError`, `UsageError` for the caller's mistakes, `DecodingStopped` when the denoiser itself fails, or when a
    mistake shows after some rows are finished; a `KeyboardInterrupt` has what is finished as its `decoded`.
    """
    require_denoiser(denoiser)
    if isinstance(prompts, str | Tensor) or not isinstance(prompts, Iterable):
        given = "this is one prompt" if isinstance(prompts, str | Tensor) else f"this is `{prompts}`"
        raise UsageError(Diagnostic("E0409", f"the prompts are a list, and {given}", help="write `decode(denoiser, [prompt], policy)`"))
    prompts = list(prompts)
    encoded = [_ids(denoiser, prompt, infill) for prompt in prompts]
    policy = policy if isinstance(policy, Policy) else load(policy)
    done: list[Row | None] = [None] * len(encoded)
    rows = stream(
        denoiser, encoded, policy, gen_length=gen_length, backend=backend, seed=seed, request_ids=request_ids,
        stop_at_eos=stop_at_eos, trace=trace, batch=batch, lookahead=lookahead, verify_rows=verify_rows,
        infill=infill, cache=cache,
    )  # fmt: skip

    def collected() -> Decoded:
        decoded = _collected(denoiser, encoded, done)
        return replace(decoded, text=_filled(denoiser, prompts, decoded)) if infill else decoded

    try:
        for row in rows:
            done[row.index] = row
    except DenoiserFailed as failed:
        raise DecodingStopped(collected(), failed) from failed.__cause__
    except UsageError as mistake:
        if not any(done):
            raise
        raise DecodingStopped(collected(), mistake) from mistake
    except AssertionError as ours:
        raise DecodingStopped(collected(), ours) from ours
    except KeyboardInterrupt as stop:
        stop.decoded = collected()  # type: ignore[attr-defined]
        raise
    return collected()


def _filled(denoiser: Any, prompts: Sequence[Prompt], decoded: Decoded) -> list[str | None]:
    results = zip(prompts, decoded.ids, decoded.text, decoded.errors, strict=True)
    if not hasattr(denoiser, "filled"):
        return decoded.text
    return [denoiser.filled(p, ids.tolist()) if isinstance(p, str) and not error else text for p, ids, text, error in results]


def _ids(denoiser: Any, prompt: Prompt, infill: bool) -> list[int]:
    if isinstance(prompt, str):
        encode = getattr(denoiser, "encode_gaps" if infill else "encode", None)
        if encode is None:
            raise UsageError(
                Diagnostic("E0409", "this denoiser has no tokenizer, and a prompt is text", help="give prompts as lists of ids")
            )
        return list(encode(prompt))
    ids = prompt.tolist() if hasattr(prompt, "tolist") else list(prompt) if isinstance(prompt, Iterable) else prompt
    if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
        raise UsageError(
            Diagnostic("E0409", "a prompt is a text or a flat list of ids", help="for one prompt write `decode(denoiser, [ids], policy)`")
        )
    return ids


def _collected(denoiser: Any, prompts: list[list[int]], done: list[Row | None]) -> Decoded:
    unfinished = Diagnostic("E0410", "decoding stopped before this prompt was finished")
    rows = [row or Row(i, len(prompts[i]), torch.tensor(prompts[i]), error=unfinished) for i, row in enumerate(done)]
    reader = getattr(denoiser, "decode_text", None)
    return Decoded(
        ids=[row.ids for row in rows],
        text=[reader(row.generated.tolist()) if reader and row.error is None else None for row in rows],
        forwards=torch.tensor([row.forwards for row in rows], dtype=torch.int64),
        rows=torch.tensor([row.rows for row in rows], dtype=torch.int64),
        surplus=torch.tensor([row.surplus for row in rows], dtype=torch.int64),
        proposed=[list(row.proposed) for row in rows],
        accepted=[list(row.accepted) for row in rows],
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
    lookahead: int | None = None,
    verify_rows: str = "batch",
    infill: bool = False,
    cache: str = "auto",
    on_step: Callable[[StepEvent], None] | None = None,
) -> Iterator[Row]:
    """As `decode`, on ids: each prompt's `Row` as soon as it is finished, in whatever order that is.

    Raises `DenoiserFailed` when the denoiser does.

    `seed` and `request_ids` (each prompt's place in the list unless given) name the random numbers of a request: it gets the
    same ones alone and in any batch.
    """
    request_ids = range(len(prompts)) if request_ids is None else request_ids
    require_sensible(gen_length, batch)
    require_numbers(seed, request_ids, len(prompts))
    _require_packing(verify_rows)
    drafts = policy.drafts(lookahead)
    require_denoiser(denoiser)
    cache = chosen(cache, denoiser, policy.facts, verify_rows)
    requests = _requests(denoiser, prompts, gen_length, infill, policy.facts)
    if not requests:
        return
    longest = max(request.windows for request in requests)
    window = policy.facts.block_length(longest, policy.parameters)
    _tell_of_blocks(denoiser, policy, window)
    step = _step(denoiser, policy, backend, len(prompts), window, longest)
    keys = torch.tensor([noise.key(int(seed), int(request)) for request in request_ids])
    width, positions = min(batch, len(prompts)), window
    if step.backend in backends.COMPILED:
        width, positions = rows_compiled(width, batch), positions_compiled(window, longest)
    windows, guidance = windows_of(policy.facts, policy.parameters), policy.facts.guidance(policy.parameters)
    most = _most(policy)
    device = torch.device(getattr(denoiser, "device", "cpu"))
    for group in _groups(denoiser, requests):
        here, waiting = group[:width], group[width:]
        filled = here + here[:1] * (width - len(here))  # rows that are never decoded: the step compiles for one shape
        rows = Rows(filled, window, denoiser.mask_id, getattr(denoiser, "eos_id", None), device, positions, group)
        advance = Advance(step, rows, windows, stop_at_eos=stop_at_eos)
        first = functools.partial(_first, advance, keys, denoiser.vocab_size)
        forward = forwarding(denoiser, rows, guidance, verify_rows, drafts, cache)
        told = Told(advance, trace, on_step)
        yield from Batch(advance, forward, first, len(here), waiting, drafts, most, told).run()


def _most(policy: Policy) -> Callable[[Request], int]:
    """The proved bound on the forwards of a request."""
    known = functools.cache(lambda length, given_inside: policy.facts.forwards_bound(length, policy.parameters, given_inside))
    return lambda request: known(request.windows, request.lead > 0 or request.gaps)


def _first(advance: Advance, keys: Tensor, vocab_size: int) -> Moment:
    rows = advance.rows
    return advance.first(keys[[request.index for request in rows.requests]].to(rows.device), vocab_size)


def _requests(denoiser: Denoiser, prompts: Sequence[Sequence[int]], gen_length: int, infill: bool, facts: Facts) -> list[Request]:
    mask_id, block_length = denoiser.mask_id, getattr(denoiser, "block_length", None) if facts.window == "blocks" else None
    require_ids(denoiser, prompts, 0 if infill else gen_length)
    if infill:
        return [infilled(index, text, mask_id, block_length) for index, text in enumerate(prompts)]
    return [continued(index, prompt, gen_length, block_length) for index, prompt in enumerate(prompts)]


def _require_packing(verify_rows: str) -> None:
    if verify_rows not in PACKINGS:
        close = did_you_mean(str(verify_rows), PACKINGS)
        help_ = f"did you mean `{close}`?" if close else "`batch` feeds all rows in one call, `sequential` each alone"
        raise UsageError(Diagnostic("E0409", f"rows are not verified in the way `{verify_rows}`", help=help_))


def _tell_of_blocks(denoiser: Denoiser, policy: Policy, window: int) -> None:
    """A model that sees blocks was trained to fill in one at a time."""
    seen, facts = getattr(denoiser, "block_length", None), policy.facts
    if seen is not None and facts.window == "blocks" and window > seen:
        suits = f"`--set {facts.window_size}={seen}`" if isinstance(facts.window_size, str) else f"`window blocks({seen})`"
        log.info(
            "the model sees blocks of %d positions, and the policy's have %d: %s suits it",
            seen,
            int_of(facts.window_size, policy.parameters),
            suits,
        )


def _step(denoiser: Denoiser, policy: Policy, backend: str, count: int, window: int, gen_length: int) -> Step:
    if backend == "auto":
        forwards = policy.facts.forwards_bound(gen_length, policy.parameters)
        backend, why = backends.choose(count * forwards * window * denoiser.vocab_size)
        log.info("backend: %s", why)
    return policy.compile(backend, mask_id=denoiser.mask_id, eos_id=getattr(denoiser, "eos_id", None))


def _groups(denoiser: object, requests: Sequence[Request]) -> Iterator[list[Request]]:
    """The requests that may be decoded together: mixed lengths only where the denoiser knows padding."""
    if getattr(denoiser, "padding", False):
        yield list(requests)
        return
    by_length: dict[int, list[Request]] = {}
    for request in requests:
        by_length.setdefault(request.columns, []).append(request)
    yield from by_length.values()
