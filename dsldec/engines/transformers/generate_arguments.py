"""Which arguments of transformers' `generate` can a policy answer?

An argument that would change the ids is an error where the policy decides. An argument that requests sampling
gives a warning where the policy draws no random token. Values that only the model's own
`generation_config.json` sets are ignored, as in `from_pretrained`. An unknown name is an error in the call
itself, which only the caller writes. In a configuration, which libraries also fill, it gives a warning.
Values that `generate` made for itself pass. Not here: where arguments are read (`call_site`), decoding
(`transformers`).
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from ...diagnostics import Diagnostic, UsageError
from ...policy import Policy
from .call_site import PARAMETERS, CallerArguments, not_of_transformers, written

log = logging.getLogger("dsldec")

# Fields of a generation configuration that dsldec uses.
HEEDED = frozenset(
    "max_length max_new_tokens eos_token_id pad_token_id bos_token_id return_dict_in_generate num_return_sequences "
    "policy parameters stop_strings min_length min_new_tokens output_scores".split()
)
# Fields that change how transformers computes or stores, or that only count beside an unsupported argument.
WITHOUT_EFFECT = frozenset(
    "use_cache cache_implementation cache_config max_cache_len compile_config disable_compile low_memory prefill_chunk_size "
    "continuous_batching_config transformers_version decoder_start_token_id early_stopping length_penalty diversity_penalty "
    "num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold assistant_lookbehind target_lookbehind "
    "assistant_early_exit assistant_ensemble_weight max_matching_ngram_size is_assistant".split()
)
SAMPLING = (
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "top_h",
    "typical_p",
    "epsilon_cutoff",
    "eta_cutoff",
)
MEANINGLESS = frozenset(
    "bad_words_ids begin_suppress_tokens constraints dola_layers encoder_no_repeat_ngram_size encoder_repetition_penalty "
    "exponential_decay_length_penalty force_words_ids forced_bos_token_id forced_eos_token_id guidance_scale max_time "
    "no_repeat_ngram_size num_beam_groups num_beams output_attentions output_hidden_states output_logits "
    "penalty_alpha prompt_lookup_num_tokens remove_invalid_values renormalize_logits repetition_penalty sequence_bias "
    "speculation_type suppress_tokens token_healing use_mtp watermarking_config".split()
)
KNOWN = HEEDED | WITHOUT_EFFECT | MEANINGLESS | frozenset(SAMPLING)
# Keywords outside the configuration: the first set is used by dsldec, the second changes how transformers
# computes.
HEEDED_KEYWORDS = frozenset(
    "input_ids attention_mask tokenizer assistant_tokenizer trust_remote_code seed generator policy parameters stop".split()
)
COMPUTING = frozenset("logits_to_keep cache_position".split())
# Values that `generate` makes for a step from left to right. Used only where the caller's arguments are
# unknown.
MADE_BY_GENERATE = (
    HEEDED_KEYWORDS | COMPUTING | frozenset("use_cache cache past_key_values position_ids".split())
)


@dataclass(frozen=True, slots=True, repr=False)
class GenerateCall:
    """One call: the effective configuration (`config`), the model's own one (`own`), and the caller's
    arguments (`keywords`, `parameters`).

    `guessed`: keywords that either the caller or `generate` made.
    """

    config: Any
    own: Any
    model_kwargs: Mapping[str, Any]
    keywords: Mapping[str, Any]
    parameters: Mapping[str, Any]
    streamer: Any = None
    guessed: Mapping[str, Any] | None = None

    def value(self, name: str) -> Any:
        """The value that the caller requests. None where it requests nothing, or where the model's own
        configuration has the same value.
        """
        value = getattr(self.config, name, None)
        if _is_nothing(value, name) or (name not in self.keywords and self._is_own(name, value)):
            return None
        return value

    def _is_own(self, name: str, value: Any) -> bool:
        # `generate` copies the model's configuration through a dict, which turns nested objects into dicts.
        return _same(value, getattr(self.own, name, None)) or (
            isinstance(value, dict) and _same(value, self.own.to_dict().get(name))
        )


def call_of_generate(
    model: Any, config: Any, model_kwargs: Mapping[str, Any], passed: Mapping[str, Any], streamer: Any
) -> GenerateCall:
    """The call that runs this custom generate function. `passed`: the parameters in PARAMETERS that the
    function got.
    """
    own, arguments = getattr(model, "generation_config", None) or GenerationConfig(), written(model)
    if arguments is None:
        # The caller's arguments are unknown: arguments of the caller and values made by `generate` are in one
        # list.
        parameters = {name: not_of_transformers(value) for name, value in passed.items()}
        return GenerateCall(config or own, own, model_kwargs, {}, parameters, streamer, model_kwargs)
    return call_from(arguments, config or own, own, model_kwargs, streamer)


def call_from(
    arguments: CallerArguments, config: Any, own: Any, model_kwargs: Mapping[str, Any], streamer: Any = None
) -> GenerateCall:
    """The call with these arguments of the caller."""
    parameters = {name: arguments.parameters.get(name) for name in PARAMETERS}
    return GenerateCall(
        config,
        own,
        model_kwargs,
        arguments.keywords,
        parameters,
        streamer or arguments.parameters.get("streamer"),
    )


def require_answerable(call: GenerateCall, policy: Policy) -> None:
    """Raise `UsageError` (E0409) for an argument that would change the ids and is unsupported."""
    if refused := [*_of_config(call), *_of_call(call)]:
        raise unsupported_argument(*dict.fromkeys(refused))
    if call.config.num_return_sequences not in (None, 1) and policy.facts.deterministic:
        message = f"`num_return_sequences` requests several answers, and the policy `{policy.name}` has one: it draws nothing at random"
        raise UsageError(
            Diagnostic(
                "E0409", message, help="leave it out, or let the policy draw: `draw gumbel(temperature=0.7)`"
            )
        )


def require_generate(named: Mapping[str, Any], own: Any) -> None:
    """Raise `UsageError` (E0409) for arguments with which transformers would not call the function given as
    `custom_generate`, or would report another mistake before. `named`: the arguments of a call of `generate`;
    `own`: the model's generation configuration.
    """
    config = named.get("generation_config")
    refused = [] if config is None else [*_of_config(GenerateCall(config, own, {}, {}, {}))]
    # Continuous batching, from left to right.
    refused += ["cache_implementation"] if named.get("cache_implementation") == "paged" else []
    if refused:
        raise unsupported_argument(*dict.fromkeys(refused))


def unsupported_argument(*names: str) -> UsageError:
    message = f"{', '.join(f'`{name}`' for name in names)} of `generate` {'has' if len(names) == 1 else 'have'} no meaning where a policy decides"
    help = "leave it out; the policy decides which tokens may be written: `logits ban(ids)`, `logits bias(table)`, `commit ...`"
    return UsageError(Diagnostic("E0409", message, help=help))


def _of_config(call: GenerateCall) -> Iterator[str]:
    refused = MEANINGLESS | {name for name in call.keywords if name not in KNOWN}
    return (name for name in vars(call.config) if name in refused and call.value(name) is not None)


def _of_call(call: GenerateCall) -> Iterator[str]:
    # Lists of processors and criteria may be empty. Models and tensors have no truth value.
    yield from (name for name, value in call.parameters.items() if not _is_nothing(value))
    for name, value in call.keywords.items():
        passes = name in HEEDED_KEYWORDS | COMPUTING or name in KNOWN or name in vars(call.config)
        if not passes and not _is_nothing(value) and not _of_one_text(name, value):
            yield name
    for name, value in (call.guessed or {}).items():
        if (
            name in ("inputs_embeds", "token_type_ids")
            and value is not None
            and not _of_one_text(name, value)
        ):
            yield name


def _of_one_text(name: str, value: Any) -> bool:
    """Whether these token types belong to one text. Tokenizers always return token types; they carry
    information only for two texts.
    """
    return name == "token_type_ids" and not bool(torch.as_tensor(value).any())


def ignored_argument_warnings(call: GenerateCall, policy: Policy) -> Iterator[Diagnostic]:
    """Warnings (W0401): sampling options without an effect under the policy, and unknown names."""
    names = [name for name in SAMPLING if call.value(name) is not None]
    draws = not policy.facts.deterministic
    if draws:
        # A caller can also request greedy decoding, with `do_sample=False` or with a temperature of 0.
        greedy = {
            "do_sample=False": call.keywords.get("do_sample"),
            "temperature=0": _number(call, "temperature"),
        }
        names = [name for name in names if name != "do_sample"] if call.config.do_sample else []
        names += [name for name, value in greedy.items() if value is not None and not value]
    elif not call.config.do_sample:
        names = []
    if names:
        rule = "draws by its own `draw` statement" if draws else "takes the likeliest token"
        message = f"{_quoted(names)} of `generate` has no effect: the policy `{policy.name}` {rule}"
        yield Diagnostic(
            "W0401",
            message,
            help="the policy decides how a token is drawn: `draw gumbel(temperature=0.7)`, or `draw argmax`",
        )
    if unknown := [*_unknown(call)]:
        message = f"{_quoted(unknown)} of `generate` has no effect: a policy decides, and dsldec does not know this argument"
        yield Diagnostic("W0401", message, help="leave it out; the policy decides how the model decodes")


def _number(call: GenerateCall, name: str) -> float | None:
    """The number that the caller gave for a field."""
    value = getattr(call.config, name, None)
    own = name not in call.keywords and _same(value, getattr(call.own, name, None))
    return None if own or not isinstance(value, int | float) else float(value)


def _unknown(call: GenerateCall) -> Iterator[str]:
    for name in vars(call.config):
        if name not in KNOWN and not name.startswith("_") and call.value(name) is not None:
            yield name
    for name, value in (call.guessed or {}).items():
        if name not in MADE_BY_GENERATE and not _is_nothing(value) and not _of_one_text(name, value):
            yield name


def _quoted(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


@functools.cache
def _defaults() -> Mapping[str, Any]:
    """The default values of the installed transformers. Since 5.0, a new configuration holds None instead."""
    default: Any = GenerationConfig()
    # A scale of 1 means no guidance. Only the documentation of transformers gives this default.
    stated = {name: value for name, value in vars(default).items() if value is not None}
    return {"guidance_scale": 1} | getattr(default, "_get_default_generation_params", dict)() | stated


def _is_nothing(value: Any, name: str = "") -> bool:
    """Whether a value equals the default. In known fields, 0 does too."""
    if value is None or value is False or (isinstance(value, list | tuple | dict | set | str) and not value):
        return True
    if name in KNOWN and isinstance(value, int | float) and value == 0:
        return True
    return name in _defaults() and _same(value, _defaults()[name])


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal. Configurations may hold any value: tensors, arrays, values that cannot be
    compared.
    """
    if one is other:
        return True
    try:
        return (
            torch.equal(one, other)
            if isinstance(one, Tensor) and isinstance(other, Tensor)
            else bool(one == other)
        )
    except Exception:
        return False


def unpadded(input_ids: Tensor, attention_mask: Tensor | None) -> list[list[int]]:
    """The prompts of `input_ids [B, L]`, without their left padding. Raises `UsageError` (E0409) for padding
    elsewhere.
    """
    if attention_mask is None:
        return [[int(one) for one in row] for row in input_ids.tolist()]
    filled = attention_mask.bool()
    if bool((filled[:, :-1] & ~filled[:, 1:]).any()):
        message = "the attention mask hides tokens at the end of a prompt or within it, and answers are written right after a prompt"
        raise UsageError(
            Diagnostic("E0409", message, help='pad on the left: `tokenizer.padding_side = "left"`')
        )
    return [ids[mask].tolist() for ids, mask in zip(input_ids, filled.to(input_ids.device), strict=True)]


def requested_stop_ids(call: GenerateCall) -> list[int]:
    """The ids at which an answer ends, as the caller requests. Empty where the model's own configuration has
    the same ids.
    """
    ids = call.config.eos_token_id
    if ids is None or (_same(ids, call.own.eos_token_id) and "eos_token_id" not in call.keywords):
        return []
    return [int(one) for one in torch.as_tensor(ids).reshape(-1).tolist()]
