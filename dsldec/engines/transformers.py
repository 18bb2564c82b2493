"""A policy as the decoding of transformers' `generate`: `model.generate(..., custom_generate=custom_generate("dico"))`.

Not here: which arguments of `generate` have a meaning here (`asked`), when text goes to a streamer (`streaming`).
Shapes: B rows, L prompt length with padding, G tokens to generate.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import AutoTokenizer, GenerationMixin
from transformers.generation import GenerateDecoderOnlyOutput

from .. import backends
from ..calls import arguments_told
from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..models.denoiser import too_long
from ..models.huggingface import HuggingFaceDenoiser, denoiser_of
from ..models.loading import require_kinds
from ..policy import Policy, in_use, load
from ..runtime.cache import require_known
from ..runtime.decode import stream
from ..runtime.forward import DenoiserFailed
from ..runtime.requests import require_sensible
from .asked import Asked, asked_of_generate, ends_asked, meaningless, require_answerable, told_without_effect, unpadded
from .own_code import prepared
from .streaming import Columns, ended

log = logging.getLogger("dsldec")


@dataclass(frozen=True, slots=True)
class Options:
    """What is not a parameter of the policy; None where nothing was said."""

    mask_id: int | None = None
    eos_id: int | None = None
    shift_logits: bool | None = None
    block_length: int | None = None
    tokenizer: Any = None
    backend: str | None = None
    seed: int | None = None
    lookahead: int | None = None
    batch: int | None = None
    gen_length: int | None = None
    cache: str | None = None


@arguments_told('custom_generate("threshold", confidence=0.8)', in_use)
def custom_generate(
    policy: Policy | str | os.PathLike[str],
    /,
    *,
    mask_id: int | None = None,
    eos_id: int | None = None,
    shift_logits: bool | None = None,
    block_length: int | None = None,
    tokenizer: Any = None,
    backend: str | None = None,
    seed: int | None = None,
    lookahead: int | None = None,
    batch: int | None = None,
    gen_length: int | None = None,
    cache: str | None = None,
    **parameters: Value,
) -> CustomGenerate:
    """A function for `model.generate(..., custom_generate=function)`, of a policy as `dsldec.load` takes it, or one loaded.

    `parameters` are the policy's. Of the model, `mask_id`, `eos_id`, `shift_logits` and `block_length` are found in its configurations
    and the tokenizer (the one beside the model's files unless given), unless said here. `batch`: rows decoded side by side (all of a
    call); `gen_length`: the most tokens to generate, whatever `generate` is told; `seed`: of policies that draw, the one torch was seeded
    with last unless given here or to `generate`. `backend`, `lookahead`, `cache` as `dsldec.decode` takes them. Raises `PolicyError` and
    `UsageError`.
    """
    loaded = policy if isinstance(policy, Policy) else load(policy)
    options = Options(mask_id, eos_id, shift_logits, block_length, tokenizer, backend, seed, lookahead, batch, gen_length, cache)
    for field in fields(options):
        if field.name in loaded.parameters and getattr(options, field.name) is not None:
            message = f"`{field.name}` is an option of `custom_generate`, and a parameter of the policy `{loaded.name}` too"
            help = f"bind the parameter before: `custom_generate(dsldec.load(policy, {field.name}=...))`"
            raise UsageError(Diagnostic("E0409", message, help=help))
    require_kinds({"shift_logits": shift_logits}, {"mask_id": mask_id, "eos_id": eos_id, "block_length": block_length, "seed": seed})
    if backend is not None:
        backends.known(backend)
    return CustomGenerate(loaded.bound(parameters, frozenset(field.name for field in fields(options))), options)


class CustomGenerate:
    """Decodes what `generate` has prepared.

    What was found out of a model is kept as long as the model is, and compiled steps as long as the policy.
    """

    def __init__(self, policy: Policy, options: Options) -> None:
        policy.drafts(options.lookahead)
        require_sensible(1 if options.gen_length is None else options.gen_length, 1 if options.batch is None else options.batch)
        if options.cache is not None:
            require_known(options.cache)
        self.policy, self.options = policy, options
        self._known: WeakKeyDictionary[Any, HuggingFaceDenoiser] = WeakKeyDictionary()
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"custom_generate({self.policy!r})"

    def generate(self, *inputs: Any, model: Any, **arguments: Any) -> Tensor | GenerateDecoderOnlyOutput:
        """`model.generate(...)` under the policy: what a model folder's `custom_generate/generate.py` gives."""
        other = arguments.pop("custom_generate", None)
        try:
            # Here already: `generate` would ask for the tokenizer that it has just taken, and never say why (transformers 5.23).
            if arguments.get("stop_strings") or getattr(arguments.get("generation_config"), "stop_strings", None):
                raise meaningless("stop_strings")
            if isinstance(model, GenerationMixin):
                theirs: Any = GenerationMixin.generate
                return theirs(model, *inputs, custom_generate=other or self, **arguments)  # type: ignore[no-any-return]
            seed = arguments.pop("seed", None)
            return self._decoded(model, *prepared(model, inputs, arguments), seed)
        except UsageError as mistake:
            if arguments.get("streamer") is not None:
                # `transformers serve` (5.23) puts it between quotes, on one line, as it is.
                mistake.args = (" ".join(str(mistake).split()).replace('"', "'"),)
            raise

    # `generate` hands on, of what it is called with, the parameters named here; what it makes of the others is in `model_kwargs`.
    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        generation_config: Any = None,
        streamer: Any = None,
        seed: int | None = None,
        **model_kwargs: Any,
    ) -> Tensor | GenerateDecoderOnlyOutput:
        """Ids `[B, L + G]`, G as many as the longest answer has, for `input_ids [B, L]` padded on the left.

        Raises `UsageError` for arguments that have no meaning under a policy, and as `dsldec.decode` does.
        """
        passed = {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria}
        return self._decoded(model, input_ids, asked_of_generate(model, generation_config, model_kwargs, passed, streamer), seed)

    def _decoded(self, model: Any, input_ids: Tensor, asked: Asked, seed: int | None) -> Tensor | GenerateDecoderOnlyOutput:
        require_answerable(asked, self.policy)
        self._tell(told_without_effect(asked, self.policy))
        prompts = unpadded(input_ids, asked.model_kwargs.get("attention_mask"))
        with _as_denoiser(model):
            denoiser = self._denoiser(model, ends_asked(asked))
            answers = self._answers(denoiser, prompts, self._gen_length(asked, input_ids.shape[1]), asked, seed)
        sequences: Any = torch.cat([input_ids, _padded(answers, _pad_id(asked, denoiser), input_ids)], dim=1)
        return GenerateDecoderOnlyOutput(sequences=sequences) if asked.config.return_dict_in_generate else sequences

    def _tell(self, warning: Diagnostic | None) -> None:
        """Once."""
        if warning is not None and warning.message not in self._told:
            self._told.add(warning.message)
            log.warning("%s", warning)

    def _denoiser(self, model: Any, ends: list[int]) -> HuggingFaceDenoiser:
        """The model as a denoiser; `ends`: what ends an answer in this call, if not what was found."""
        options = self.options
        if model not in self._known:
            tokenizer = options.tokenizer if options.tokenizer is not None else _tokenizer_of(model)
            known = denoiser_of(
                model, tokenizer,
                mask_id=options.mask_id, eos_id=options.eos_id, shift_logits=options.shift_logits, block_length=options.block_length,
            )  # fmt: skip
            self._known[model] = known.found_out()  # with its model it would keep its own key
        denoiser = self._known[model].around(model)
        if ends:
            denoiser.eos_id = denoiser.eos_id if denoiser.eos_id in ends else ends[0]
            denoiser.ends = frozenset(ends)
        return denoiser

    def _gen_length(self, asked: Asked, prompt_length: int) -> int:
        length = int(asked.config.max_length) - prompt_length
        return length if self.options.gen_length is None else min(length, self.options.gen_length)

    def _answers(
        self, denoiser: HuggingFaceDenoiser, prompts: list[list[int]], gen_length: int, asked: Asked, seed: int | None
    ) -> list[list[int]]:
        """The generated ids of each prompt up to the first that ends it; to the streamer as soon as they are final."""
        for prompt in prompts:
            if problem := too_long(denoiser, len(prompt), gen_length):
                fits = (denoiser.max_length or 0) - len(prompt)
                help = f"generate less: `max_new_tokens={fits}` (of a server: `max_tokens`)" if fits > 0 else problem.help
                raise UsageError(Diagnostic(problem.code, problem.message, help=help))
        options, columns = self.options, None
        if asked.streamer is not None:
            columns = Columns(asked.streamer, len(prompts), denoiser.ends, _pad_id(asked, denoiser), denoiser.mask_id)
        rows = stream(
            denoiser, prompts, self.policy, gen_length=gen_length, backend=options.backend or "auto", seed=_seed(seed, options.seed),
            batch=options.batch or max(1, len(prompts)), lookahead=options.lookahead, cache=options.cache or "auto",
            on_step=columns.watch if columns is not None and not self.policy.facts.revises else None,
        )  # fmt: skip
        answers: list[list[int]] = [[] for _ in prompts]
        try:
            for row in rows:
                if row.error is not None:
                    raise UsageError(row.error)
                answers[row.index] = ended(row.generated.tolist(), denoiser.ends)
                if columns is not None:
                    columns.finish(row.index, answers[row.index])
        except DenoiserFailed as failed:
            raise failed.__cause__ or failed from None  # those who call `generate` expect what a model raises
        if asked.streamer is not None:
            asked.streamer.end()
        return answers


@contextmanager
def _as_denoiser(model: Any) -> Iterator[None]:
    """Inside, the model computes without dropout and stores no keys and values; afterwards it is as it was."""
    training = [module for module in model.modules() if module.training]
    cached = getattr(model.config, "use_cache", None)
    model.eval()
    if cached:
        model.config.use_cache = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
        if cached:
            model.config.use_cache = cached


def _tokenizer_of(model: Any) -> Any:
    """The tokenizer beside the model's files, if it is on this machine."""
    try:
        name, safely = model.name_or_path, {"local_files_only": True, "trust_remote_code": False}
        return AutoTokenizer.from_pretrained(name, **safely) if name else None
    # A folder without one, one that needs code of its own: transformers raises nearly anything.
    except Exception:
        return None


def _seed(given: int | None, option: int | None) -> int:
    return next((one for one in (given, option) if one is not None), torch.initial_seed())


def _pad_id(asked: Asked, denoiser: HuggingFaceDenoiser) -> int:
    given = asked.config.pad_token_id
    return next((int(one) for one in (given, denoiser.eos_id) if one is not None), 0)


def _padded(answers: list[list[int]], pad_id: int, like: Tensor) -> Tensor:
    """`[B, G]`, where `like` is."""
    longest = max(map(len, answers), default=0)
    rows = [answer + [pad_id] * (longest - len(answer)) for answer in answers]
    return torch.tensor(rows, dtype=like.dtype, device=like.device).reshape(len(rows), longest)
