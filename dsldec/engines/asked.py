"""What was asked of transformers' `generate`, and whether a policy can answer it.

Some arguments have no meaning where a policy decides: one that would change the ids is refused, one that asks for chance where the policy
takes none is told to have no effect. What only the model's own `generation_config.json` says of these is passed over, as
`from_pretrained` does. Not here: decoding (`transformers`).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin

from ..diagnostics import Diagnostic, UsageError
from ..policy import Policy

log = logging.getLogger("dsldec")

HEEDED = frozenset("max_length max_new_tokens eos_token_id pad_token_id bos_token_id return_dict_in_generate num_return_sequences".split())
# How transformers computes and what it stores; and what only counts beside an argument that is refused.
WITHOUT_EFFECT = frozenset(
    "use_cache cache_implementation cache_config max_cache_len compile_config disable_compile low_memory prefill_chunk_size "
    "continuous_batching_config transformers_version decoder_start_token_id early_stopping length_penalty diversity_penalty "
    "num_assistant_tokens num_assistant_tokens_schedule assistant_confidence_threshold assistant_lookbehind target_lookbehind "
    "assistant_early_exit assistant_ensemble_weight max_matching_ngram_size is_assistant".split()
)
SAMPLING = ("do_sample", "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff")
# What says the same as nothing, where that is not 0, false or empty.
NEUTRAL = {
    "num_beams": 1, "num_beam_groups": 1, "repetition_penalty": 1, "encoder_repetition_penalty": 1, "guidance_scale": 1,
    "temperature": 1, "top_k": 50, "top_p": 1, "typical_p": 1,
}  # fmt: skip
# What `generate` makes itself for a step from left to right.
MADE_BY_GENERATE = frozenset("attention_mask position_ids past_key_values use_cache logits_to_keep cache_position".split())
# Parameters of `generate` that are not in its configuration, and that it does not all pass on.
PARAMETERS = (
    "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "assistant_model", "negative_prompt_ids",
    "negative_prompt_attention_mask", "synced_gpus",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """One call: what holds (`config`), what the model says for itself (`own`), and what the caller wrote (`keywords`, `parameters`)."""

    config: Any
    own: Any
    model_kwargs: Mapping[str, Any]
    keywords: Mapping[str, Any]
    parameters: Mapping[str, Any]
    streamer: Any = None

    def value(self, name: str) -> Any:
        """What the caller asks for, None where that is nothing or the model says it too."""
        value, own = getattr(self.config, name, None), getattr(self.own, name, None)
        neutral = not isinstance(value, Tensor) and (not value or value == NEUTRAL.get(name))
        return None if neutral or (name not in self.keywords and value == own) else value


def asked_of_generate(model: Any, config: Any, model_kwargs: Mapping[str, Any], passed: Mapping[str, Any], streamer: Any) -> Asked:
    """The call that a custom generate function is in the middle of.

    `passed` are those of PARAMETERS that it was given. A function given as `custom_generate=` is not handed the streamer, the assistant or
    what a list of processors was before (transformers 5.23), so what `generate` was called with is read from its frame.
    """
    own = model.generation_config
    said = _locals_of_generate()
    if not said:
        return Asked(config or own, own, model_kwargs, {}, passed, streamer)
    parameters = {name: said.get(name) for name in PARAMETERS}
    return Asked(config or own, own, model_kwargs, said.get("kwargs") or {}, parameters, streamer or said.get("streamer"))


def _locals_of_generate() -> Mapping[str, Any]:
    code, frame = inspect.unwrap(GenerationMixin.generate).__code__, inspect.currentframe()
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return {} if frame is None else dict(frame.f_locals)


def require_answerable(asked: Asked, policy: Policy) -> None:
    """Raise `UsageError` (E0409) for what would change the ids and cannot."""
    if refused := [*_of_config(asked), *_of_call(asked)]:
        raise meaningless(*dict.fromkeys(refused))
    if asked.config.num_return_sequences not in (None, 1) and policy.facts.deterministic:
        message = f"`num_return_sequences` asks for several answers, and the policy `{policy.name}` has one: it draws nothing at random"
        raise UsageError(Diagnostic("E0409", message, help="leave it out, or let the policy draw: `draw gumbel(temperature=0.7)`"))


def meaningless(*names: str) -> UsageError:
    message = (
        f"{', '.join(f'`{name}`' for name in names)} of `generate` {'has' if len(names) == 1 else 'have'} no meaning where a policy decides"
    )
    help = "leave it out; which tokens may be written stands in the policy: `logits ban(ids)`, `logits bias(table)`, `commit ...`"
    return UsageError(Diagnostic("E0409", message, help=help))


def _of_config(asked: Asked) -> Iterator[str]:
    known = HEEDED | WITHOUT_EFFECT | frozenset(SAMPLING)
    return (name for name in vars(asked.config) if name not in known and not name.startswith("_") and asked.value(name) is not None)


def _of_call(asked: Asked) -> Iterator[str]:
    # Lists of processors and criteria may be empty; models and tensors have no truth of their own.
    yield from (name for name, value in asked.parameters.items() if value is not None and value is not False and not _empty(value))
    for name, value in asked.model_kwargs.items():
        # Made by `generate`, unless its caller brought it along.
        if name in MADE_BY_GENERATE:
            if name in ("past_key_values", "position_ids") and asked.keywords.get(name) is not None:
                yield name
        elif name == "token_type_ids":
            if value is not None and bool(value.any()):
                yield name
        elif value is not None and value is not False:
            yield name


def _empty(value: Any) -> bool:
    return isinstance(value, list) and not value


def told_without_effect(asked: Asked, policy: Policy) -> Diagnostic | None:
    """A warning (W0401), where chance is asked for and the policy takes none, or as much as it says itself."""
    names = [name for name in SAMPLING if asked.value(name) is not None]
    if not asked.config.do_sample:
        names = ["do_sample=False"] if asked.keywords.get("do_sample") is False and not policy.facts.deterministic else []
    elif not policy.facts.deterministic:
        names = [name for name in names if name != "do_sample"]
    if not names:
        return None
    takes = "takes the likeliest token" if policy.facts.deterministic else "draws as it says itself"
    message = f"{', '.join(f'`{name}`' for name in names)} of `generate` has no effect: the policy `{policy.name}` {takes}"
    return Diagnostic("W0401", message, help="how a token is drawn stands in the policy: `draw gumbel(temperature=0.7)`, or `draw argmax`")


def unpadded(input_ids: Tensor, attention_mask: Tensor | None) -> list[list[int]]:
    """The prompts of `input_ids [B, L]`, without what stands left of them. Raises `UsageError` (E0409) for padding elsewhere."""
    if attention_mask is None:
        return [[int(one) for one in row] for row in input_ids.tolist()]
    filled = attention_mask.bool()
    if bool((filled[:, :-1] & ~filled[:, 1:]).any()):
        message = "the attention mask hides something on the right of a prompt or within it, and answers are written right after a prompt"
        raise UsageError(Diagnostic("E0409", message, help='pad on the left: `tokenizer.padding_side = "left"`'))
    return [ids[mask].tolist() for ids, mask in zip(input_ids, filled.to(input_ids.device), strict=True)]


def ends_asked(asked: Asked) -> list[int]:
    """The ids that the caller says an answer ends at; none where the model says the same."""
    given = asked.config.eos_token_id
    if given is None or (given == asked.own.eos_token_id and "eos_token_id" not in asked.keywords):
        return []
    return [int(one) for one in torch.as_tensor(given).reshape(-1).tolist()]
