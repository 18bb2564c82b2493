"""From prompts to tokens: prompts in batches, each decoded until every row is done.

Knows steps and denoisers only by their shape: which backend or model is behind them does not matter here. Not
here: the loop of a batch (`decode_loop`).
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from .. import backends
from ..backends import noise
from ..backends.step import Step
from ..calls import checks_arguments
from ..checks.facts import Facts
from ..checks.values import int_of
from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..models.denoiser import Denoiser, capability, require_denoiser, require_ids
from ..models.traits import DEFAULT_GEN_LENGTH
from ..policy import Policy, in_use, load
from ..spelling import option, setting
from .cached_forward import forwarding, resolve_cache
from .decode_loop import DecodeLoop
from .decoded import Decoded, DecodingStopped, DecodingWarning, Results, warn_of_failures
from .forward import PACKINGS
from .prompts import Prompts, ids_of, listed
from .requests import (
    NO_REQUEST,
    Request,
    continued,
    infilled,
    require_flags,
    require_numbers,
    require_sensible,
    require_watcher,
)
from .rows import Row, Rows
from .session import Session
from .shape_buckets import positions_compiled, rows_compiled
from .trace import StepEvent, StepObserver

__all__ = ["DEFAULT_BATCH", "Decoded", "DecodingStopped", "DecodingWarning", "decode", "stream"]

log = logging.getLogger("dsldec")

DEFAULT_BATCH = 8


@checks_arguments("dsldec.decode(denoiser, prompts, policy)", in_use)
def decode(
    denoiser: Denoiser,
    prompts: Prompts,
    policy: Policy | str | os.PathLike[str],
    *,
    gen_length: int | None = None,
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

    `prompts` are lists of ids of any lengths, or texts where the denoiser has a tokenizer; one of these alone
    is a list of one, a tensor `[prompts, ids]` has a prompt in each row, and of what a tokenizer gives
    (`input_ids`, `attention_mask`) padding is left out. A prompt may be empty. `gen_length`: tokens to
    generate, 256 unless given. A batch holds at most `batch` rows, and a prompt that waits takes the row of
    one that is finished; a row's result does not depend on the others. `infill`: the prompts are texts with
    masks in them (`[MASK]`, `[MASK*8]` where they are not ids), which are decoded in place; all else stays,
    no `gen_length` is given, and an end-of-text token ends nothing. `lookahead` verifies so many drafts of
    any policy in one forward, and writes what the policy writes without them; `verify_rows` feeds them in one
    call (`batch`), or each row alone (`sequential`: for denoisers that give a row other logits beside others;
    `forwards` counts the drafts of a row once even so). `cache`: keys and values that forwards keep for those
    after them: `exact` for models that are causal between blocks, `prefix` and `dual`, which approximate, for
    those that see the whole canvas, `none`, or `auto`: `exact` where it can be had, else none. Under `exact`,
    reading a prompt's whole blocks once is a call that `forwards` does not count. `seed` and `request_ids`
    (each prompt's place in the list unless given) name the random numbers of policies that draw: two calls
    alike give the same answers. To sample several answers, write the prompt several times (`[prompt] * 8`:
    each has an id of its own), or call again with another `seed`; `request_ids` keeps what a prompt draws
    where the list is another (two prompts with one id draw the same). A prompt that fails alone (logits that
    are not finite, ids that `decode_text` cannot read) has its reason in `errors`, and a `DecodingWarning`
    tells of it; `ids` then hold MASK where nothing was written. Raises `PolicyError`, `UsageError` for the
    caller's mistakes, and `DecodingStopped` for whatever else stops it (the denoiser, memory, a mistake that
    shows after some rows are finished): its `decoded` holds what is finished. A `KeyboardInterrupt`, a
    `SystemExit` and their like pass as they are, with that `decoded` as an attribute.
    """
    require_denoiser(denoiser)
    policy = policy if isinstance(policy, Policy) else load(policy)
    require_flags(infill=infill)
    prompts = listed(denoiser, prompts)
    encoded = [ids_of(denoiser, prompt, infill) for prompt in prompts]
    _tell_of_seed(seed, policy)
    results = Results(denoiser, prompts, encoded, infill)
    rows = stream(
        denoiser, encoded, policy, gen_length=gen_length, backend=backend, seed=seed, request_ids=request_ids,
        stop_at_eos=stop_at_eos, trace=trace, batch=batch, lookahead=lookahead, verify_rows=verify_rows,
        infill=infill, cache=cache,
    )  # fmt: skip
    with results.survive():
        for row in rows:
            results.add(row)
        decoded = results.decoded()
    warn_of_failures(decoded)
    return decoded


@checks_arguments("stream(denoiser, prompts, policy)", in_use)
def stream(
    denoiser: Denoiser,
    prompts: Prompts,
    policy: Policy | str | os.PathLike[str],
    *,
    gen_length: int | None = None,
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
    """As `decode`: each prompt's `Row` as soon as it is finished, in whatever order that is.

    `on_step` is called after each step. A row whose `error` is set has no answer: look at it before `ids`.
    Raises `DenoiserFailed` when the denoiser does, mistakes of the caller's at once, and passes what else is
    raised, by `on_step` too; rows that are finished by then are given first.

    `seed` and `request_ids` (each prompt's place in the list unless given) name the random numbers of a
    request: it gets the same ones alone and in any batch.
    """
    require_denoiser(denoiser)
    policy = policy if isinstance(policy, Policy) else load(policy)
    require_flags(stop_at_eos=stop_at_eos, trace=trace, infill=infill)
    require_watcher(on_step)
    if infill and gen_length is not None:
        message = f"{option('gen_length', gen_length)} has no effect beside {option('infill', True)}: as much is written as the gaps have"
        log.warning(
            "%s",
            Diagnostic(
                "W0404", message, help="leave it out, or put more masks into the text, `[MASK*8]` say"
            ),
        )
    gen_length = DEFAULT_GEN_LENGTH if gen_length is None else gen_length
    prompts = [ids_of(denoiser, prompt, infill) for prompt in listed(denoiser, prompts)]
    request_ids = range(len(prompts)) if request_ids is None else request_ids
    require_sensible(gen_length, batch)
    require_numbers(seed, request_ids, len(prompts))
    _require_packing(verify_rows)
    drafts = policy.drafts(lookahead)
    cache, backend = resolve_cache(cache, denoiser, policy.facts, verify_rows), backends.known(backend)
    requests = [
        replace(request, key=noise.key(int(seed), int(id_)))
        for request, id_ in zip(
            _requests(denoiser, prompts, gen_length, infill, policy.facts), request_ids, strict=True
        )
    ]
    if not requests:
        return iter(())
    longest = max(request.windows for request in requests)
    window = policy.facts.block_length(longest, policy.parameters)
    _tell_of_blocks(denoiser, policy, window)
    step = _step(denoiser, policy, backend, len(prompts), window, longest)
    width, positions = min(batch, len(prompts)), window
    if step.backend in backends.COMPILED:
        width, positions = rows_compiled(width, batch), positions_compiled(window, longest)
    guidance = policy.facts.guidance(policy.parameters)
    most = _most(policy)
    device = torch.device(getattr(denoiser, "device", "cpu"))

    def decoded() -> Iterator[Row]:
        for group in _groups(denoiser, requests):
            here, waiting = group[:width], group[width:]
            # Empty rows too: the step compiles for one shape.
            filled = here + [NO_REQUEST] * (width - len(here))
            eos_id = getattr(denoiser, "eos_id", None)
            rows = Rows(filled, window, denoiser.mask_id, eos_id, device, positions, group)
            session = Session(policy, step, rows, vocab_size=denoiser.vocab_size, stop_at_eos=stop_at_eos)
            forward = forwarding(denoiser, rows, guidance, verify_rows, drafts, cache)
            observer = StepObserver(session.runner, trace, on_step)
            yield from DecodeLoop(session, forward, waiting, drafts, most, observer).run()

    return decoded()


def _tell_of_seed(seed: int, policy: Policy) -> None:
    if seed and policy.facts.deterministic:
        message = f"`seed` has no effect: the policy `{policy.name}` draws nothing at random"
        log.warning(
            "%s",
            Diagnostic(
                "W0401", message, help="leave it out, or let the policy draw: `draw gumbel(temperature=0.7)`"
            ),
        )


def _most(policy: Policy) -> Callable[[Request], int]:
    """The proved bound on the forwards of a request."""
    known = functools.cache(
        lambda length, given_inside: policy.facts.forwards_bound(length, policy.parameters, given_inside)
    )
    return lambda request: known(request.windows, request.lead > 0 or request.gaps)


def _requests(
    denoiser: Denoiser, prompts: Sequence[Sequence[int]], gen_length: int, infill: bool, facts: Facts
) -> list[Request]:
    mask_id, block_length = (
        denoiser.mask_id,
        getattr(denoiser, "block_length", None) if facts.window == "blocks" else None,
    )
    require_ids(denoiser, prompts, 0 if infill else gen_length)
    if infill:
        return [infilled(index, text, mask_id, block_length) for index, text in enumerate(prompts)]
    return [continued(index, prompt, gen_length, block_length) for index, prompt in enumerate(prompts)]


def _require_packing(verify_rows: str) -> None:
    if verify_rows not in PACKINGS:
        close = did_you_mean(str(verify_rows), PACKINGS)
        help_ = (
            f"did you mean `{close}`?"
            if close
            else "`batch` feeds all rows in one call, `sequential` each alone"
        )
        raise UsageError(Diagnostic("E0409", f"rows are not verified in the way `{verify_rows}`", help=help_))


def _tell_of_blocks(denoiser: Denoiser, policy: Policy, window: int) -> None:
    """A model that sees blocks was trained to fill in one at a time."""
    seen, facts = getattr(denoiser, "block_length", None), policy.facts
    if seen is not None and facts.window == "blocks" and window > seen:
        suits = (
            setting(facts.window_size, seen)
            if isinstance(facts.window_size, str)
            else f"`window blocks({seen})`"
        )
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
    if capability(denoiser, "pads"):
        yield list(requests)
        return
    by_length: dict[int, list[Request]] = {}
    for request in requests:
        by_length.setdefault(request.columns, []).append(request)
    yield from by_length.values()
