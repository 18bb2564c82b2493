"""Which families of models can denoise? How a configuration shows the family, and how each family is loaded.

Not here: loading (`loading`), ids and lengths (`traits`). The configuration is enough; no code of a model
runs for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic, UsageError

Config = Mapping[str, Any]  # the content of `config.json`
# Names of the block length in configurations: SDAR, block diffusion in general, Fast-dLLM v2.
BLOCK_NAMES = ("block_length", "block_size", "bd_size")
SDAR_MASKS = ((151936, 151669),)
MASKED_HEADS = ("ForMaskedLM", "ForPreTraining", "WithLMHeadModel")  # the last of XLM and FlauBERT


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of model that can denoise. `auto`: the Auto classes that may load it, the best one first.

    `shift_logits`: the logits at position i predict position i + 1. `masks`: MASK ids by vocabulary size, for
    models whose files give none. `block_causal`: a position sees its own block in both directions, and the
    blocks before it; `block_length` is then the length for models whose files give none. `stock`: the model
    type in transformers that computes the same. `canvases`: an encoder reads the finished text and a decoder
    one canvas after it; such a model has no MASK.
    """

    name: str
    is_one: Callable[[Config], bool]
    auto: tuple[str, ...]
    shift_logits: bool = False
    masks: tuple[tuple[int, int], ...] = ()
    block_causal: bool = False
    block_length: int | None = None
    stock: str | None = None
    canvases: bool = False


@dataclass(frozen=True, slots=True)
class Declined:
    """A kind of model that dsldec cannot decode, or would decode wrongly, with the reason."""

    is_one: Callable[[Config], bool]
    reason: str
    help: str


def _names(config: Config) -> list[str]:
    """The class that the weights were saved from. Where none is named, the class that transformers has for
    the model type.
    """
    if names := config.get("architectures"):
        return list(names)
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    tables = (MODEL_FOR_MASKED_LM_MAPPING_NAMES, MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    classes: list[str] = [
        table[config["model_type"]] for table in tables if config.get("model_type") in table
    ]
    return classes[:1]


def _named(pattern: str) -> Callable[[Config], bool]:
    """Whether the model type or a class has such a name."""
    return lambda config: any(
        re.search(pattern, word, re.IGNORECASE)
        for word in (str(config.get("model_type", "")), *_names(config))
    )


def _own_code(config: Config) -> bool:
    return any(name.startswith("AutoModel") for name in config.get("auto_map") or {})


def _has_masked_head(config: Config) -> bool:
    return not config.get("is_decoder") and any(name.endswith(MASKED_HEADS) for name in _names(config))


def _has_causal_head(config: Config) -> bool:
    names = [name for name in _names(config) if not name.endswith(MASKED_HEADS)]
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names) or bool(
        config.get("is_decoder")
    )


def _gives_its_blocks(config: Config) -> bool:
    return (
        config.get("is_causal") is False
        and _has_causal_head(config)
        and any(isinstance(config.get(name), int) for name in BLOCK_NAMES)
    )


def stock_of(config: Config) -> str | None:
    """The model type in transformers whose code replaces the authors' code."""
    return next((family.stock for family in FAMILIES if family.is_one(config)), None)


def _has_canvases(config: Config) -> bool:
    return any(name.endswith("ForBlockDiffusion") for name in _names(config)) or (
        config.get("model_type") == "diffusion_gemma"
    )


# The first match is reported.
DECLINED = (
    Declined(
        lambda config: bool(config.get("is_encoder_decoder")),
        "is sequence-to-sequence: it writes with a decoder, from left to right",
        "give a masked language model: one network that fills in masks",
    ),
    Declined(
        lambda config: (
            _has_causal_head(config)
            and not _own_code(config)
            and config.get("is_causal") is not False
            and not stock_of(config)
        ),
        "is causal: a position sees only positions to its left, and a denoiser must see both sides",
        'give a diffusion language model; one trained from this class says so in its `config.json`: `"is_causal": false`, '
        'and, where it is block-causal, for example `"block_length": 4`',
    ),
    Declined(
        lambda config: (
            not (
                _has_canvases(config)
                or stock_of(config)
                or _own_code(config)
                or _has_masked_head(config)
                or _has_causal_head(config)
            )
        ),
        "has no language-model head: it gives no logits over a vocabulary",
        "give a model saved with its head, such as `AutoModelForMaskedLM`",
    ),
)

# Matched from the top. Ids and block lengths come from the published configurations and from their authors'
# programs. SDAR (JetAstra/SDAR, training/model/*/modeling_sdar.py; TraDo is trained from it) has exactly the
# weights of Qwen3, norms of queries and keys included. SDAR-MoE equals Qwen3-MoE (its authors' engine and
# SGLang build it so). Fast-dLLM v2 (modeling.py beside its weights) is Qwen2. All three only use another
# mask. dsldec supplies that mask, so their own code does not run.
FAMILIES = (
    Family("DiffusionGemma", _has_canvases, ("AutoModelForImageTextToText",), canvases=True),
    Family(
        "SDAR-MoE", _named(r"sdar_?moe"), ("AutoModelForCausalLM",),
        masks=SDAR_MASKS, block_causal=True, block_length=4, stock="qwen3_moe",
    ),
    Family(
        "SDAR", _named(r"sdar|trado"), ("AutoModelForCausalLM",),
        masks=SDAR_MASKS, block_causal=True, block_length=4, stock="qwen3",
    ),
    Family(
        "Fast-dLLM v2", _named(r"^fast_?dllm_?qwen(?!3)"), ("AutoModelForCausalLM",), shift_logits=True,
        masks=((151936, 151665), (152064, 151665)), block_causal=True, block_length=32, stock="qwen2",
    ),
    Family(
        "LLaDA2", _named(r"^llada2"), ("AutoModelForCausalLM", "AutoModel"),
        masks=((157184, 156895),), block_causal=True, block_length=32,
    ),
    Family("Dream", _named(r"^dream"), ("AutoModel", "AutoModelForCausalLM"), shift_logits=True, masks=((152064, 151666),)),
    Family("LLaDA", _named(r"^llada"), ("AutoModel", "AutoModelForCausalLM"), masks=((126464, 126336), (157184, 156895))),
    Family("own code", _own_code, ("AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModel")),
    Family("block-causal decoder", _gives_its_blocks, ("AutoModelForCausalLM",), block_causal=True),
    Family("masked language model", _has_masked_head, ("AutoModelForMaskedLM",)),
    Family("decoder that sees both sides", _has_causal_head, ("AutoModelForCausalLM",)),
)  # fmt: skip


def family_of(config: Config, name: str) -> Family:
    """The family of the model with this configuration. Raises `UsageError` (E0405) for a model that cannot
    denoise.
    """
    for declined in DECLINED:
        if declined.is_one(config):
            is_a = next(iter(_names(config)), config.get("model_type") or "no known class")
            raise UsageError(Diagnostic("E0405", f"`{name}` ({is_a}) {declined.reason}", help=declined.help))
    return next(family for family in FAMILIES if family.is_one(config))
