"""Decodes prompts in batches under a policy, each until every row is done.

Only the interfaces of steps and denoisers are used, so every backend and every model is the same here. Not
here: the loop of a batch (`decode_loop`), the options and their checks (`options`).
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from .. import backends
from ..backends import noise
from ..backends.step import Step
from ..calls import checks_arguments
from ..diagnostics import Diagnostic, UsageError
from ..models.denoiser import (
    Denoiser,
    capability,
    other_ids,
    require_denoiser,
    require_ids,
    require_shown_mask,
)
from ..models.diffusion_gemma import require_canvases
from ..options import DEFAULT_BATCH, DEFAULT_GEN_LENGTH, DecodeOptions
from ..plan import Plan
from ..policy import Policy, in_use, load, samples_warning, seed_warning
from ..spelling import option, setting, shown
from .branch_loop import BranchLoop
from .cached_forward import resolve_cache
from .canvas_forward import CanvasForward
from .captured_loop import CapturedLoop, recorder_for
from .constraints import patterns_of, with_patterns
from .decode_loop import DecodeLoop
from .decoded import Decoded, DecodingStopped, DecodingWarning, Results, warn_of_failures
from .exact_forward import forwarding
from .forward import Forward
from .prompt_options import PromptOptions, options_of_prompts, require_of_infill, with_ends
from .prompts import Prompts, ids_of, listed
from .request_parameters import require_values
from .request_patterns import require_patterns
from .requests import NO_REQUEST, Request, continued, infilled, require_request_ids
from .rows import Row, Rows
from .samples import once, with_copies
from .session import Session
from .shape_buckets import positions_compiled, rows_compiled
from .stops import StopStrings
from .trace import StepEvent, StepObserver, observer_of

__all__ = [
    "DEFAULT_BATCH",
    "Decoded",
    "DecodingStopped",
    "DecodingWarning",
    "decode",
    "stream",
    "stream_rows",
]

log = logging.getLogger("dsldec")


@checks_arguments("dsldec.decode(denoiser, prompts, policy)", in_use)
def decode(
    denoiser: Denoiser,
    prompts: Prompts,
    policy: Policy | str | os.PathLike[str],
    *,
    gen_length: int | Sequence[int] | None = None,
    min_length: int = 0,
    stop: str | Sequence[str] | None = None,
    stop_ids: int | Sequence[int] | None = None,
    constrain: Any = None,
    n: int = 1,
    system: str | None = None,
    backend: str = "auto",
    seed: int = 0,
    request_ids: Sequence[int] | None = None,
    stop_at_eos: bool = True,
    trace: bool | str = False,
    logprobs: bool = False,
    batch: int = DEFAULT_BATCH,
    lookahead: int | None = None,
    verify_rows: str = "batch",
    infill: bool = False,
    cache: str = "auto",
) -> Decoded:
    """Decode prompts under a policy.

    The answer to a prompt does not depend on the other prompts. When a row is finished, a waiting prompt
    takes its place in the batch. Results come prompt by prompt, the samples of a prompt side by side.

    Args:
        denoiser: The model: from `dsldec.from_pretrained`, or a callable, ids `[B, L]` to logits `[B, L, V]`,
            with a `mask_id` and a `vocab_size`.
        prompts: A list of texts (if the denoiser has a tokenizer), of lists of ids, or of chats: lists of
            messages `{"role": ..., "content": ...}`, which are put into the model's chat template. Of any
            lengths. Also one of these alone, a tensor `[prompts, ids]`, or the encoding of a tokenizer, whose
            padding is removed. A prompt may be empty.
        policy: The name of a shipped policy, a policy file, the text of a policy, or a policy from
            `dsldec.load`.
        gen_length: Tokens to generate for each prompt, at most. A list gives a number for each prompt.
            Default: 256. Not used with `infill`.
        min_length: No end of text is written at the first `min_length` tokens: neither the end-of-text id,
            nor a stop id. Stop strings still end an answer. Default: 0.
        stop: A text, or several. An answer ends before the first of them. The row ends as soon as the text of
            its final ids has one: ids that no later step can change. Default: none.
        stop_ids: An id, or several. A row ends at a stop id as at the end-of-text id: when it is committed
            and no mask is left before it. The text ends before it. In a policy, `after_eos` and `eos_closed`
            are about the end-of-text id alone. Default: none.
        constrain: What the whole answer matches: a regular expression, a JSON schema as a dict or as text, or
            a `dsldec.Pattern`. A list gives one for each prompt, or None. The text that `Decoded.text` has
            matches, without spaces at its ends. Default: any text.
        n: Samples of each prompt, each with its own random numbers. Sample 0 is the answer without `n`.
            Without random numbers all are equal, and the prompt is decoded once. Default: 1.
        system: A system turn in front of each prompt, which is a text or messages. Default: none.
        backend: How a step of the policy runs: `auto`, `reference`, `eager`, `inductor` or `tensorrt`. `auto`
            is `eager` until a compiled step is in the cache or repays its compilation, which runs in the
            background. Default: auto.
        seed: Seed of the random numbers of a policy that draws. The same seed and request id give the same
            answer. Default: 0.
        request_ids: An integer for each prompt, which names its random numbers. Give the same id to draw the
            same numbers for a prompt in another list; two prompts with one id draw the same. Default: the
            place in the list.
        stop_at_eos: End a row when its end-of-text token is committed and no mask is left before it. Default:
            True.
        trace: Record every step in `Decoded.trace`, and as `Decoded.trajectories`. With `"values"`, each step
            also has the values of every expression of the policy, in `TraceStep.record`, and explains its
            writes: `step.why(position)`. Default: False.
        logprobs: Give the confidence of each generated token in `Decoded.logprobs`: the denoiser's
            probability of the token in the step that wrote it. Default: False.
        batch: Rows in a batch at most: prompts decoded at the same time. Default: 8.
        lookahead: Drafts to verify in one forward. The answers are those without drafts, in fewer forwards of
            more rows. Only for a policy without a `lookahead` statement. Default: no drafts.
        verify_rows: How drafts are forwarded: `batch`, all rows in one call of the denoiser, or `sequential`,
            one call for each row, for a denoiser whose logits of a row depend on the other rows. Default:
            batch.
        infill: The prompts contain masks (`[MASK]`, or `[MASK*8]` for 8 tokens; in ids, the mask id), which
            are replaced in place. All other ids stay, and an end-of-text token does not end the row. Default:
            False.
        cache: KV cache, which reuses keys and values between forwards. `exact`: for models that are causal
            between blocks; changes no answer, and reads the whole blocks of a prompt in one call that
            `forwards` does not count. `prefix`, `dual`: approximations for bidirectional models. `none`: no
            cache. `auto`: `exact` if the model allows it, else `none`. Default: auto.

    Returns:
        The answers. A prompt that fails alone (logits that are not finite, ids that `decode_text` cannot
        read) has its reason in `errors`, and a `DecodingWarning` is issued; its `ids` then hold the mask id
        where nothing was committed.

    Raises:
        PolicyError: The policy has a mistake.
        UsageError: The call has a mistake.
        DecodingStopped: Another failure stopped the run (the denoiser, memory, a mistake found after some
            rows are finished). Its `decoded` has the finished rows. A `KeyboardInterrupt` or `SystemExit`
            passes unchanged, with that `decoded` as an attribute.
    """
    require_denoiser(denoiser)
    policy = policy if isinstance(policy, Policy) else load(policy)
    options = DecodeOptions.of(locals())
    require_of_infill(options)
    prompts = listed(denoiser, prompts)
    encoded = [ids_of(denoiser, prompt, options.infill, options.system) for prompt in prompts]
    for warning in (seed_warning(policy, options.seed), samples_warning(policy, options.n)):
        if warning is not None:
            log.warning("%s", warning)
    prompts, each_encoded = ([one for one in of for _ in range(options.n)] for of in (prompts, encoded))
    results = Results(denoiser, prompts, each_encoded, options.infill)
    rows = stream_rows(denoiser, encoded, policy, replace(options, system=None))
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
    gen_length: int | Sequence[int] | None = None,
    min_length: int = 0,
    stop: str | Sequence[str] | None = None,
    stop_ids: int | Sequence[int] | None = None,
    constrain: Any = None,
    n: int = 1,
    system: str | None = None,
    backend: str = "auto",
    seed: int = 0,
    request_ids: Sequence[int] | None = None,
    stop_at_eos: bool = True,
    trace: bool | str = False,
    logprobs: bool = False,
    batch: int = DEFAULT_BATCH,
    lookahead: int | None = None,
    verify_rows: str = "batch",
    infill: bool = False,
    cache: str = "auto",
    on_step: Callable[[StepEvent], None] | None = None,
) -> Iterator[Row]:
    """Decode prompts, and give each prompt's `Row` as soon as it is finished, in any order.

    The arguments are those of `decode`; `on_step` is called after each step. A row whose `error` is set has
    no answer: read `error` before `ids`. Raises `UsageError` and `PolicyError` at once, and `DenoiserFailed`
    when the denoiser fails. Every other exception passes unchanged, also one of `on_step`. Before an
    exception, the rows that are finished by then are given.
    """
    return stream_rows(denoiser, prompts, policy, DecodeOptions.of(locals()), on_step)


def stream_rows(
    denoiser: Denoiser,
    prompts: Prompts,
    policy: Policy | str | os.PathLike[str],
    options: DecodeOptions,
    on_step: Callable[[StepEvent], None] | None = None,
    each: Sequence[PromptOptions] | None = None,
) -> Iterator[Row]:
    """Like `stream`, with the options as one value. `each`: the options of each prompt, in place of those of
    `options` with the same names.
    """
    require_denoiser(denoiser)
    policy = policy if isinstance(policy, Policy) else load(policy)
    _require_callable(on_step)
    require_of_infill(options)
    prompts = [
        ids_of(denoiser, prompt, options.infill, options.system) for prompt in listed(denoiser, prompts)
    ]
    alone = each is not None
    each = options_of_prompts(options, len(prompts)) if each is None else each
    policy, patterns = patterns_of(policy, each)
    requests = _requests(denoiser, prompts, options, each, policy)
    requests, refused = with_patterns(policy, requests, patterns, each, denoiser, alone=alone)
    requests, copies = once(requests, policy)
    plan = policy.plan(max((request.windows for request in requests), default=1), lookahead=options.lookahead)
    _require_fit(denoiser, policy.name, plan, prompts, options)
    cache = resolve_cache(options.cache, denoiser, plan, options.verify_rows)
    if not requests:
        return iter(refused)
    require_patterns(policy, requests, denoiser.vocab_size, denoiser.mask_id)
    window = plan.block_length
    _hint_at_blocks(denoiser, plan)
    step = _step(denoiser, policy, options.backend, len(requests), plan)
    device = torch.device(getattr(denoiser, "device", "cpu"))
    width, positions = _shape(step, plan, options.batch, len(requests), device)

    def decoded() -> Iterator[Row]:
        for group in _groups(denoiser, requests, width):
            here, waiting = group[:width], group[width:]
            # Empty rows fill the batch: the step compiles for one shape.
            filled = here + [NO_REQUEST] * (width - len(here))
            eos_id, spare = (getattr(denoiser, name, None) for name in ("eos_id", "canvas_length"))
            rows = Rows(filled, window, denoiser.mask_id, eos_id, device, positions, group, spare or 0)
            size, at_eos = denoiser.vocab_size, options.stop_at_eos
            session = Session(policy, step, rows, vocab_size=size, stop_at_eos=at_eos)
            forward = _forward(denoiser, session, plan, options.verify_rows, cache)
            observer = observer_of(denoiser, session, options, on_step)
            has_stops = any(request.stop for request in group)
            stops = StopStrings(rows, denoiser, revises=plan.revises) if has_stops else None
            loop = _loop(denoiser, forward, plan, observer, stops)
            yield from loop(session, forward, waiting, plan.drafts, _cap(policy), observer, stops=stops).run()

    return itertools.chain(refused, with_copies(decoded(), copies))


def _require_fit(
    denoiser: Denoiser, policy: str, plan: Plan, prompts: Sequence[Sequence[int]], options: DecodeOptions
) -> None:
    """Raise `UsageError` (E0500, E0501, E0502) for a model that cannot decode so."""
    if denoiser.mask_id >= denoiser.vocab_size:
        declared = None if hasattr(denoiser, "canvas_length") else denoiser.vocab_size
        guided = plan.guidance is not None
        require_shown_mask(policy, noise=plan.noise, guided=guided, vocab_size=declared)
    if hasattr(denoiser, "canvas_length"):
        unfit = option("infill", True) if options.infill else "drafts" if plan.drafts > 1 else ""
        require_canvases(denoiser, prompts, plan.window, plan.block_length, plan.gen_length, unfit)


def _forward(denoiser: Denoiser, session: Session, plan: Plan, verify_rows: str, cache: str) -> Forward:
    """The forward for the rows of a session. `cache`: as `resolve_cache` gives it."""
    if hasattr(denoiser, "canvas_length"):
        return CanvasForward(denoiser, session.rows, session)
    return forwarding(denoiser, session.rows, plan.guidance, verify_rows, plan.drafts, cache)


def _loop(
    denoiser: Denoiser, forward: Forward, plan: Plan, observer: StepObserver, stops: StopStrings | None
) -> Callable[..., DecodeLoop]:
    """The loop of a batch: with one CUDA graph for each round where that is possible."""
    if plan.branches > 1:
        return functools.partial(BranchLoop, branches=plan.branches)
    if (recorder := recorder_for(denoiser, forward, plan.drafts, observer, stops)) is None:
        return DecodeLoop
    return functools.partial(CapturedLoop, recorder=recorder)


def _require_callable(on_step: object) -> None:
    """Raise `UsageError` (E0409) if `on_step` is not callable."""
    if on_step is not None and not callable(on_step):
        message = f"`on_step` is a function that is called after each step, not {shown(on_step)}"
        raise UsageError(Diagnostic("E0409", message, help="for example `on_step=print`"))


def _cap(policy: Policy) -> Callable[[Request], int]:
    """The proved bound on the forwards of a request."""
    bound, known = policy.facts.forwards_bound, functools.cache(policy.plan(1).max_forwards_of)

    def most(request: Request) -> int:
        given_inside = request.lead > 0 or request.gaps
        if request.parameters:
            return bound(request.windows, policy.parameters | dict(request.parameters), given_inside)
        return known(request.windows, given_inside)

    return most


def _requests(
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    options: DecodeOptions,
    each: Sequence[PromptOptions],
    policy: Policy,
) -> list[Request]:
    """A request for each sample of each prompt. Raises `UsageError` for ids that the denoiser does not take,
    and as `require_values`.
    """
    require_values(policy, each)
    require_ids(denoiser, prompts, [0 if options.infill else one.gen_length for one in each])
    request_ids = range(len(prompts)) if options.request_ids is None else options.request_ids
    require_request_ids(request_ids, len(prompts))
    block_length = getattr(denoiser, "block_length", None) if policy.facts.window == "blocks" else None
    if options.infill and options.gen_length is not None:
        _warn_of_gen_length(each[0].gen_length if each else DEFAULT_GEN_LENGTH)
    requests: list[Request] = []
    for index, (prompt, own, id_) in enumerate(zip(prompts, each, request_ids, strict=True)):
        if options.infill:
            request = infilled(index, prompt, denoiser.mask_id, block_length)
        else:
            request = with_ends(continued(index, prompt, own.gen_length, block_length), denoiser, own)
        for sample in own.samples:
            key = noise.key(own.seed, int(id_), sample)
            values = own.parameters or None
            requests.append(replace(request, index=len(requests), key=key, sample=sample, parameters=values))
    return requests


def _warn_of_gen_length(gen_length: int) -> None:
    given, infill = option("gen_length", gen_length), option("infill", True)
    message = f"{given} has no effect beside {infill}: the gaps give the number of tokens"
    help = "leave it out, or put more masks into the text, for example `[MASK*8]`"
    log.warning("%s", Diagnostic("W0404", message, help=help))


def _hint_at_blocks(denoiser: Denoiser, plan: Plan) -> None:
    """Log a hint if a window covers several blocks of a block-causal model. Such a model was trained to fill
    in one block at a time.
    """
    size = getattr(denoiser, "block_length", None)
    if size is not None and plan.window == "blocks" and plan.block_length > size:
        parameter = plan.window_parameter
        suits = f"`window blocks({size})`" if parameter is None else setting(parameter, size)
        log.info(
            "the model's blocks have %d positions, and the policy's blocks have %d: %s fits the model",
            size,
            plan.window_size,
            suits,
        )


def _step(denoiser: Denoiser, policy: Policy, backend: str, count: int, plan: Plan) -> Step:
    if backend == "auto":
        logits = count * plan.max_forwards * plan.block_length * denoiser.vocab_size
        backend, why = backends.choose(logits, getattr(denoiser, "device", "cpu"))
        log.info("backend: %s", why)
    eos_id = getattr(denoiser, "eos_id", None)
    step = policy.stepped(backend, mask_id=denoiser.mask_id, eos_id=eos_id, special=other_ids(denoiser))
    return backends.of_run(step)


def _shape(step: Step, plan: Plan, batch: int, count: int, device: torch.device) -> tuple[int, int]:
    """The rows of a batch, and the positions of a window, as the step takes them."""
    width, positions = min(batch, count), plan.block_length
    if step.backend == backends.AUTO or step.backend in backends.COMPILED:
        positions = positions_compiled(positions, plan.gen_length)
        if not backends.takes_any_rows(step, device):
            width = rows_compiled(width, batch)
    return width, positions


def _groups(denoiser: object, requests: Sequence[Request], width: int) -> Iterator[list[Request]]:
    """The requests in groups that share batches of `width` rows. Lengths differ in a group only if the
    denoiser supports padding.
    """
    if capability(denoiser, "pads"):
        # The denoiser pads every row to the longest one, so rows of similar lengths decode together. The
        # longest come first: memory runs out at once or not at all.
        sort = 1 < width < len(requests)
        yield sorted(requests, key=lambda request: -request.columns) if sort else list(requests)
        return
    by_length: dict[int, list[Request]] = {}
    for request in requests:
        by_length.setdefault(request.columns, []).append(request)
    yield from by_length.values()
