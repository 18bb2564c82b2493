"""How does a policy decode in transformers' `generate`? `model.generate(...,
custom_generate=custom_generate("dico"))`.

Not here: the meaning of `generate`'s arguments (`generate_arguments`), streaming (`streaming`). Shapes: B
rows, L prompt length with padding, G tokens to generate.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin

from ...calls import checks_arguments
from ...checks.values import Value
from ...diagnostics import Diagnostic, PolicyError, UsageError
from ...models.huggingface import HuggingFaceDenoiser
from ...models.loading import require_kinds
from ...options import DECODE_OF_GENERATE, LOAD_OF_GENERATE, DecodeOptions, LoadOptions
from ...policy import Policy, in_use, load
from .added_arguments import AddedArguments
from .call_answers import answers_of, require_room
from .call_denoiser import CallDenoisers, as_denoiser
from .call_options import options_of, stop_strings_apart
from .call_policy import CallPolicies
from .call_site import by_name, calling
from .generate_arguments import (
    GenerateCall,
    call_of_generate,
    ignored_argument_warnings,
    requested_stop_ids,
    require_answerable,
    require_generate,
    unpadded,
)
from .generate_output import PolicyOutput, output_of
from .remote_code_model import prepared
from .server import as_refusal, as_response, is_serving, limit, on_one_line, require_one_answer

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
    min_length: int | None = None,
    stop: str | Sequence[str] | None = None,
    stop_ids: int | Sequence[int] | None = None,
    constrain: Any = None,
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
        min_length: No end of text before this number of tokens, unless `generate` requests another one.
            Default: 0.
        stop, stop_ids: Stop strings and stop ids, as `dsldec.decode` takes them, in addition to those of a
            call. Stop strings need a tokenizer. Default: none.
        constrain: What the whole answer matches, as `dsldec.decode` takes it: one pattern for all rows. Needs
            a tokenizer. Default: any text.
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
        self._policies = CallPolicies(policy)
        self._denoisers = CallDenoisers(options.load, options.tokenizer)
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return f"custom_generate({self.policy!r})"

    def generate(self, *inputs: Any, model: Any, **arguments: Any) -> Tensor | PolicyOutput:
        """`model.generate(...)` under the policy, for `custom_generate/generate.py` of a model folder."""
        other = arguments.pop("custom_generate", None)
        named, serving = by_name(inputs, arguments), is_serving()
        config = named.get("generation_config")
        try:
            if serving:
                require_one_answer(config)
                limit(config, self.options.decode.get("gen_length"))
            require_generate(named, getattr(model, "generation_config", None))
            if isinstance(model, GenerationMixin):
                theirs: Any = GenerationMixin.generate
                with stop_strings_apart(model, named) as apart, calling(apart):
                    return theirs(model, custom_generate=other or self, **apart)  # type: ignore[no-any-return]
            added = AddedArguments.taken(named)
            return self._decoded(model, *prepared(model, named), added)
        except (UsageError, PolicyError) as mistake:
            if not serving:
                raise
            if named.get("streamer") is None:
                raise as_response(mistake) from mistake
            mistake.args = (on_one_line(mistake),)
            raise
        except ValueError as mistake:
            plain = serving and named.get("streamer") is None
            if not plain or (refusal := as_refusal(mistake)) is None:
                raise
            raise refusal from mistake

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
        policy: Any = None,
        parameters: Any = None,
        stop: str | Sequence[str] | None = None,
        constrain: Any = None,
        **model_kwargs: Any,
    ) -> Tensor | PolicyOutput:
        """Ids `[B, L + G]` for `input_ids [B, L]` padded on the left. G is the length of the longest answer.

        `generator`: the source of the seed for a policy that draws, unless a seed is given; default torch's
        own. `policy`, `parameters`: another policy for this call, and values of its parameters by name.
        `stop`: stop strings. transformers passes `stop_strings` only to the function of a model's folder.
        With `return_dict_in_generate`, a `PolicyOutput`. Raises `UsageError` for arguments without a meaning
        under a policy, and as `dsldec.decode` does.
        """
        passed = {"logits_processor": logits_processor, "stopping_criteria": stopping_criteria}
        call = call_of_generate(model, generation_config, model_kwargs, passed, streamer)
        added = AddedArguments(seed, generator, policy, parameters, stop, constrain)
        return self._decoded(model, input_ids, call, added)

    def _decoded(
        self, model: Any, input_ids: Tensor, call: GenerateCall, added: AddedArguments
    ) -> Tensor | PolicyOutput:
        policy = self._policies.of(call, added)
        require_answerable(call, policy)
        for warning in ignored_argument_warnings(call, policy):
            self._warn_once(warning)
        prompts = unpadded(input_ids, call.model_kwargs.get("attention_mask"))
        stop_ids, tokenizer = requested_stop_ids(call), call.keywords.get("tokenizer")
        with as_denoiser(model):
            denoiser = self._denoisers.of(model, stop_ids, tokenizer)
            options = options_of(call, added, policy, self.options.decode, input_ids)
            prompts = prompts[:: options.n]
            require_room(denoiser, prompts, options.gen_length)
            pad_id = _pad_id(call, denoiser)
            answers = answers_of(denoiser, prompts, policy, options, call.streamer, pad_id)
        output = output_of(input_ids, answers, pad_id, logprobs=options.logprobs)
        return output if call.config.return_dict_in_generate else output.sequences

    def _warn_once(self, warning: Diagnostic) -> None:
        """Log each message once."""
        if warning.message not in self._warned:
            self._warned.add(warning.message)
            log.warning("%s", warning)


def _pad_id(call: GenerateCall, denoiser: HuggingFaceDenoiser) -> int:
    given = call.config.pad_token_id
    return next((int(one) for one in (given, denoiser.eos_id) if one is not None), 0)
