"""How does a policy decode in transformers' `generate`? `model.generate(...,
custom_generate=custom_generate("dico"))`.

Not here: the meaning of `generate`'s arguments (`generate_arguments`), streaming (`streaming`). Shapes: B
rows, L prompt length with padding, G tokens to generate.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import GenerationMixin
from transformers.generation import GenerateDecoderOnlyOutput

from ..calls import checks_arguments
from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..models.denoiser import too_long
from ..models.huggingface import HuggingFaceDenoiser, denoiser_of
from ..models.loading import require_kinds, tokenizer_of
from ..options import DECODE_OF_GENERATE, LOAD_OF_GENERATE, DecodeOptions, LoadOptions
from ..policy import Policy, in_use, load
from ..runtime.decode import stream_rows
from ..runtime.forward import DenoiserFailed
from .call_site import by_name, calling
from .generate_arguments import (
    GenerateCall,
    call_of_generate,
    ignored_argument_warnings,
    requested_stop_ids,
    require_answerable,
    unpadded,
    unsupported_argument,
)
from .remote_code_model import no_length, prepared
from .streaming import Columns, ended

log = logging.getLogger("dsldec")


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """The arguments of `custom_generate` that are no parameters of the policy.

    `decode`: the given options of `DecodeOptions`. The other options are chosen in each call.
    """

    load: LoadOptions
    decode: Mapping[str, Any]
    tokenizer: Any = None


@checks_arguments('custom_generate("threshold", confidence=0.8)', in_use)
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
    all_ids: bool | None = None,
    **parameters: Value,
) -> CustomGenerate:
    """A function for `model.generate(..., custom_generate=function)`.

    Args:
        policy: A policy as `dsldec.load` takes it, or one from `dsldec.load`.
        mask_id, eos_id, shift_logits, block_length: As `dsldec.from_pretrained` takes them. Default: found in
            the model's configuration.
        tokenizer: The model's tokenizer. Default: the one beside the model's files.
        backend, lookahead, cache: As `dsldec.decode` takes them.
        seed: Seed of a policy that draws. Default: the `seed=` of `generate`; else each call draws one from
            torch's generator (`generator=` of `generate`), so that two calls give two texts, and
            `torch.manual_seed(7)` before a call repeats it.
        batch: Rows decoded at the same time. Default: all rows of a call.
        gen_length: Upper limit of the tokens to generate, also where `generate` requests more. Default: no
            limit.
        all_ids: Allow ids without a token. Default: False.
        parameters: Values of the policy's parameters.

    Raises `PolicyError` and `UsageError`.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    loaded = policy if isinstance(policy, Policy) else load(policy)
    names = frozenset({*DECODE_OF_GENERATE, *LOAD_OF_GENERATE, "tokenizer"})
    if twice := [name for name in given if name in names and name in loaded.parameters]:
        message = f"`{twice[0]}` is an option of `custom_generate`, and a parameter of the policy `{loaded.name}` too"
        help = f"bind the parameter before: `custom_generate(dsldec.load(policy, {twice[0]}=...))`"
        raise UsageError(Diagnostic("E0409", message, help=help))
    require_kinds(
        {"shift_logits": shift_logits},
        {"mask_id": mask_id, "eos_id": eos_id, "block_length": block_length, "seed": seed},
    )
    of_decode = {name: given[name] for name in DECODE_OF_GENERATE if name in given}
    options = GenerateOptions(LoadOptions.of(given), of_decode, tokenizer)
    return CustomGenerate(loaded.bound(parameters, names), options)


class CustomGenerate:
    """Decodes the prepared inputs of `generate`.

    The results of a model's probes are cached as long as the model lives; compiled steps as long as the
    policy.
    """

    def __init__(self, policy: Policy, options: GenerateOptions) -> None:
        policy.drafts(options.decode.get("lookahead"))
        DecodeOptions(**options.decode)
        self.policy, self.options = policy, options
        self._denoisers: WeakKeyDictionary[Any, HuggingFaceDenoiser] = WeakKeyDictionary()
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return f"custom_generate({self.policy!r})"

    def generate(self, *inputs: Any, model: Any, **arguments: Any) -> Tensor | GenerateDecoderOnlyOutput:
        """`model.generate(...)` under the policy, for `custom_generate/generate.py` of a model folder."""
        other = arguments.pop("custom_generate", None)
        named = by_name(inputs, arguments)
        try:
            # Raised before `generate` runs: it would report a missing tokenizer although it got one
            # (transformers 5.3 to 5.24).
            if named.get("stop_strings") or getattr(named.get("generation_config"), "stop_strings", None):
                raise unsupported_argument("stop_strings")
            if isinstance(model, GenerationMixin):
                theirs: Any = GenerationMixin.generate
                with calling(named):
                    return theirs(model, *inputs, custom_generate=other or self, **arguments)  # type: ignore[no-any-return]
            seed, generator = named.pop("seed", None), named.pop("generator", None)
            return self._decoded(model, *prepared(model, named), seed, generator)
        except UsageError as mistake:
            if named.get("streamer") is not None:
                # `transformers serve` (5.23, 5.24) puts the message unescaped between quotes, on one line.
                mistake.args = (" ".join(str(mistake).split()).replace('"', "'"),)
            raise

    # `generate` passes on the arguments that are named here. Values made from other arguments are in
    # `model_kwargs`.
    def __call__(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        generation_config: Any = None,
        streamer: Any = None,
        seed: int | None = None,
        generator: torch.Generator | None = None,
        **model_kwargs: Any,
    ) -> Tensor | GenerateDecoderOnlyOutput:
        """Ids `[B, L + G]` for `input_ids [B, L]` padded on the left. G is the length of the longest answer.

        `generator`: the source of the seed for a policy that draws, unless a seed is given; default torch's
        own. Raises `UsageError` for arguments without a meaning under a policy, and as `dsldec.decode` does.
        """
        passed = {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria}
        call = call_of_generate(model, generation_config, model_kwargs, passed, streamer)
        return self._decoded(model, input_ids, call, seed, generator)

    def _decoded(
        self,
        model: Any,
        input_ids: Tensor,
        call: GenerateCall,
        seed: int | None,
        generator: torch.Generator | None,
    ) -> Tensor | GenerateDecoderOnlyOutput:
        require_answerable(call, self.policy)
        for warning in ignored_argument_warnings(call, self.policy):
            self._warn_once(warning)
        prompts = unpadded(input_ids, call.model_kwargs.get("attention_mask"))
        gen_length = self._gen_length(call, input_ids.shape[1])
        with _as_denoiser(model):
            denoiser = self._denoiser(model, requested_stop_ids(call))
            answers = self._answers(
                denoiser, prompts, gen_length, call, functools.partial(self._seed, seed, generator)
            )
        sequences: Any = torch.cat([input_ids, _padded(answers, _pad_id(call, denoiser), input_ids)], dim=1)
        return (
            GenerateDecoderOnlyOutput(sequences=sequences)
            if call.config.return_dict_in_generate
            else sequences
        )

    def _warn_once(self, warning: Diagnostic) -> None:
        """Log each message once."""
        if warning.message not in self._warned:
            self._warned.add(warning.message)
            log.warning("%s", warning)

    def _denoiser(self, model: Any, stop_ids: list[int]) -> HuggingFaceDenoiser:
        """The model as a denoiser. `stop_ids`: ids that end an answer in this call, instead of those found
        for the model.
        """
        if model not in self._denoisers:
            given, load = self.options.tokenizer, self.options.load
            tokenizer = given if given is not None else _tokenizer_of(model)
            known = denoiser_of(model, tokenizer, **{name: getattr(load, name) for name in LOAD_OF_GENERATE})
            self._denoisers[model] = known.without_model()  # a stored model would keep its own weak key alive
        denoiser = self._denoisers[model].with_model(model)
        if stop_ids:
            denoiser.eos_id = denoiser.eos_id if denoiser.eos_id in stop_ids else stop_ids[0]
            denoiser.stop_ids = frozenset(stop_ids)
        return denoiser

    def _gen_length(self, call: GenerateCall, prompt_length: int) -> int:
        config, most = call.config, self.options.decode.get("gen_length")
        # `generate` sets both lengths. Another caller of this function may set only one.
        length = (
            config.max_new_tokens if config.max_length is None else int(config.max_length) - prompt_length
        )
        if length is None and most is None:
            raise no_length()
        return min(one for one in (length, most) if one is not None)

    def _seed(self, seed: int | None, generator: torch.Generator | None) -> int:
        """The seed of a call. A policy that draws takes it from torch's generator, like every sampler. Other
        policies do not advance the generator.
        """
        given = seed if seed is not None else self.options.decode.get("seed")
        if given is not None or self.policy.facts.deterministic:
            return given or 0
        if generator is not None and not isinstance(generator, torch.Generator):
            message = f"`generator` takes a `torch.Generator`, not `{type(generator).__name__}`"
            raise UsageError(
                Diagnostic("E0409", message, help="`generator=torch.Generator().manual_seed(7)`, or `seed=7`")
            )
        device = "cpu" if generator is None else generator.device
        return int(torch.randint(-(2**63), 2**63 - 1, (), generator=generator, device=device))

    def _answers(
        self,
        denoiser: HuggingFaceDenoiser,
        prompts: list[list[int]],
        gen_length: int,
        call: GenerateCall,
        seed: Callable[[], int],
    ) -> list[list[int]]:
        """The generated ids of each prompt up to its stop id. The streamer gets them as soon as they are
        final.
        """
        for prompt in prompts:
            if problem := too_long(denoiser, len(prompt), gen_length):
                fits = (denoiser.max_length or 0) - len(prompt)
                help = (
                    f"generate less: `max_new_tokens={fits}` (for a server: `max_tokens`)"
                    if fits > 0
                    else problem.help
                )
                raise UsageError(Diagnostic(problem.code, problem.message, help=help))
        columns = None
        if call.streamer is not None:
            columns = Columns(
                call.streamer, len(prompts), denoiser.stop_ids, _pad_id(call, denoiser), denoiser.mask_id
            )
        chosen = (
            {"batch": max(1, len(prompts))}
            | dict(self.options.decode)
            | {"gen_length": gen_length, "seed": seed()}
        )
        watch = columns.watch if columns is not None and not self.policy.facts.revises else None
        rows = stream_rows(denoiser, prompts, self.policy, DecodeOptions(**chosen), watch)
        answers: list[list[int]] = [[] for _ in prompts]
        try:
            for row in rows:
                if row.error is not None:
                    raise UsageError(row.error)
                answers[row.index] = ended(row.generated.tolist(), denoiser.stop_ids)
                if columns is not None:
                    columns.finish(row.index, answers[row.index])
        except DenoiserFailed as failed:
            raise failed.__cause__ or failed from None  # callers of `generate` expect the model's own error
        if call.streamer is not None:
            call.streamer.end()
        return answers


@contextmanager
def _as_denoiser(model: Any) -> Iterator[None]:
    """Inside, the model runs without dropout and without transformers' KV cache. Both are restored
    afterwards.
    """
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
        return (
            tokenizer_of(model.name_or_path, model.config, local_files_only=True)[0]
            if model.name_or_path
            else None
        )
    except UsageError:  # the folder has no tokenizer, or one that needs remote code
        return None


def _pad_id(call: GenerateCall, denoiser: HuggingFaceDenoiser) -> int:
    given = call.config.pad_token_id
    return next((int(one) for one in (given, denoiser.eos_id) if one is not None), 0)


def _padded(answers: list[list[int]], pad_id: int, like: Tensor) -> Tensor:
    """`[B, G]` with the dtype and device of `like`."""
    longest = max(map(len, answers), default=0)
    rows = [answer + [pad_id] * (longest - len(answer)) for answer in answers]
    return torch.tensor(rows, dtype=like.dtype, device=like.device).reshape(len(rows), longest)
