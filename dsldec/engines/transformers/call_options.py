"""Which options of `decode` does a call of `generate` have? Lengths, samples, ends, a seed.

Options of the custom `generate` itself come first: stop strings and stop ids of the call are added to them,
and a call cannot exceed their `gen_length`. Not here: which arguments a policy cannot answer
(`generate_arguments`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from ...diagnostics import Diagnostic, UsageError
from ...options import DECODE, DecodeOptions, is_whole, not_whole
from ...policy import Policy
from ...runtime.prompt_options import ids_of, texts_of
from .added_arguments import AddedArguments
from .generate_arguments import GenerateCall, requested_stop_ids
from .remote_code_model import no_length


def options_of(
    call: GenerateCall, added: AddedArguments, policy: Policy, given: Mapping[str, Any], input_ids: Tensor
) -> DecodeOptions:
    """The options for `input_ids [B, L]`. `given`: options of the custom `generate`. Raises `UsageError`
    (E0409). May advance the generator of torch, so call it once.
    """
    gen_length = _gen_length(call, given.get("gen_length"), input_ids.shape[1])
    of_call = {
        "gen_length": gen_length,
        "min_length": _min_length(call, given.get("min_length") or 0, gen_length, input_ids.shape[1]),
        "stop": list(dict.fromkeys(_stop(call, added, given))) or None,
        "stop_ids": list(dict.fromkeys(_stop_ids(call, given))) or None,
        "constrain": given.get("constrain") if added.constrain is None else added.constrain,
        "n": samples(call, input_ids),
        # Without a dict there is no place for them, as in transformers.
        "logprobs": bool(call.config.output_scores and call.config.return_dict_in_generate),
        "seed": added.seed_of(policy, given.get("seed")),
    }
    return DecodeOptions(**{"batch": max(1, len(input_ids))} | dict(given) | of_call)


def samples(call: GenerateCall, input_ids: Tensor) -> int:
    """The rows of each prompt in `input_ids [B, L]`, side by side: `generate` has repeated the prompts."""
    count = call.config.num_return_sequences or 1
    if count == 1 or len(input_ids) % count:
        return 1
    groups = input_ids.reshape(-1, count, input_ids.shape[1])
    return int(count) if bool((groups == groups[:, :1]).all()) else 1


def _gen_length(call: GenerateCall, most: int | None, prompt_length: int) -> int:
    config = call.config
    # `generate` sets both lengths. Another caller of this function may set only one.
    length = config.max_new_tokens if config.max_length is None else int(config.max_length) - prompt_length
    if length is None and most is None:
        raise no_length()
    return min(one for one in (length, most) if one is not None)


def _min_length(call: GenerateCall, least: int, gen_length: int, prompt_length: int) -> int:
    """`min_new_tokens`, or `min_length` without the prompt; a call replaces the option."""
    config = call.config
    for name in ("min_new_tokens", "min_length"):
        if (value := getattr(config, name)) is not None and not is_whole(value):
            raise UsageError(not_whole(name, value))
    asked = max(config.min_new_tokens or 0, (config.min_length or 0) - prompt_length)
    if asked > gen_length:
        message = f"`min_new_tokens={asked}` is more than the {gen_length} tokens to generate"
        raise UsageError(Diagnostic("E0409", message, help=f"generate more: `max_new_tokens={asked}`"))
    return asked or min(least, gen_length)


def _stop(call: GenerateCall, added: AddedArguments, given: Mapping[str, Any]) -> Iterator[str]:
    for texts in (given.get("stop"), added.stop, getattr(call.config, "stop_strings", None)):
        DECODE["stop"].require(texts)
        yield from texts_of(texts)


def _stop_ids(call: GenerateCall, given: Mapping[str, Any]) -> Iterator[int]:
    yield from ids_of(given.get("stop_ids"))
    yield from (one for one in requested_stop_ids(call) if one >= 0)  # -1 is the usual id for no end


@contextmanager
def stop_strings_apart(model: Any, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Inside, no configuration has stop strings: `stop` of the arguments has all of them.

    `generate` (transformers 5.3 to 5.24) does not pass the tokenizer on to a custom function, and then
    reports that stop strings lack one.
    """
    changed, own = dict(arguments), getattr(model, "generation_config", None)
    named, config = changed.pop("stop_strings", None), changed.get("generation_config")
    of_config, of_own = getattr(config, "stop_strings", None), getattr(own, "stop_strings", None)
    for texts in (changed.get("stop"), named, of_config, of_own):
        DECODE["stop"].require(texts)
    if stop := [*texts_of(changed.get("stop")), *texts_of(named or of_config or of_own)]:
        changed["stop"] = stop
    if of_config is not None:
        changed["generation_config"] = _without_stop_strings(config)
    if of_own is not None:
        model.generation_config = _without_stop_strings(own)
    try:
        yield changed
    finally:
        if of_own is not None:
            model.generation_config = own


def _without_stop_strings(config: Any) -> Any:
    other = copy.copy(config)
    other.stop_strings = None
    return other
