"""How does a Hugging Face model become a denoiser? It sees the whole canvas or its block; the embedded
models are no exception.

Not here: decoding (`runtime`), families and loading (`families`, `loading`), probing (`probe`). Remote code
runs only when the caller allows it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..calls import checks_arguments
from ..diagnostics import UsageError
from ..spelling import N, option, setting
from .blocks import probe_blocks
from .denoiser import require_denoiser
from .diffusion_gemma import denoiser_of_canvases
from .embedded_denoiser import EmbeddedDenoiser, embedded
from .embedded_names import embedded_name
from .huggingface_denoiser import HuggingFaceDenoiser as HuggingFaceDenoiser
from .huggingface_denoiser import require_template as require_template
from .loading import (
    Opened,
    already_loaded,
    device_of,
    dtype_of,
    memory_diagnosed,
    opened,
    require_kinds,
    require_name,
    with_weights,
    wrong,
)
from .probe import Probed, keys_mask, probe
from .tokenizer_fit import fit_of
from .traits import Overrides, Traits, require_block_length, require_mask, traits_of

log = logging.getLogger("dsldec")


@checks_arguments('from_pretrained("./MODEL")')
def from_pretrained(
    name_or_path: str | os.PathLike[str] | None = None,
    *,
    trust_remote_code: bool = False,
    mask_id: int | None = None,
    eos_id: int | None = None,
    shift_logits: bool | None = None,
    dtype: str | torch.dtype = "float32",
    device: str | torch.device | None = None,
    raw: bool = False,
    block_length: int | None = None,
    all_ids: bool = False,
) -> HuggingFaceDenoiser:
    """Load a denoiser from a Hugging Face folder or name, or an embedded model: `dsldec:word_problems`, the
    default, or `dsldec:equations`.

    `mask_id`, `eos_id`: found in the model's files unless given.

    `shift_logits`: the logits at position i predict position i + 1, as in Dream; found in the model's files
    unless given.

    `block_length`: the model is block-causal with blocks of this many tokens; found in the files of known
    families unless given.

    `dtype`: of the weights and logits. `device`: default a GPU if there is one. `raw`: use no chat template.
    `all_ids`: ids without a token may be written too; by default their logits are -inf.

    A tokenizer that does not fit is logged (W0402). Raises `UsageError`. E0405: the model does not see both
    sides, or has no tokenizer or no mask token, or its code is not trusted. E0408: impossible ids.
    """
    require_name(name_or_path)
    flags = {
        "trust_remote_code": trust_remote_code,
        "shift_logits": shift_logits,
        "raw": raw,
        "all_ids": all_ids,
    }
    require_kinds(flags, {"mask_id": mask_id, "eos_id": eos_id, "block_length": block_length})
    kind, place = dtype_of(dtype), device_of(device)
    overrides = Overrides(mask_id, eos_id, shift_logits, block_length)
    name = embedded_name(name_or_path)
    if name is not None and block_length is None and (own := embedded(kind, place, name)) is not None:
        source, network = own
        # The network attends to every position that is no padding, and to no other.
        probed = Probed(source.config.vocab_size, sees_both_sides=True, mask=keys_mask)
        traits = _traits(source, overrides)
        make = partial(EmbeddedDenoiser, name=name)
        return _denoiser(source, network, traits, probed, raw, all_ids, make)
    source = opened(name_or_path, trust_remote_code)
    traits = _traits(source, overrides)
    if block_length is not None and not source.family.block_causal and source.raw.get("block_length") is None:
        log.info("the model is treated as block-causal with blocks of %d tokens, because of %s; the blocks of a policy are set by %s",
                 block_length, option("block_length", block_length), setting("block", block_length))  # fmt: skip
    model = with_weights(source, kind, place)
    if source.family.canvases:
        return denoiser_of_canvases(source, model, traits, raw=raw)
    denoiser = _denoiser(source, model, traits, _probed(source, model, traits), raw, all_ids)
    if not (raw or getattr(source.tokenizer, "chat_template", None)):
        log.info(
            "the tokenizer has no chat template: prompts are used unchanged (%s hides this line)",
            option("raw", True),
        )
    return denoiser


@checks_arguments("denoiser_of(model, tokenizer)")
def denoiser_of(
    model: Any,
    tokenizer: Any = None,
    *,
    mask_id: int | None = None,
    eos_id: int | None = None,
    shift_logits: bool | None = None,
    block_length: int | None = None,
    raw: bool = False,
    all_ids: bool = False,
) -> HuggingFaceDenoiser:
    """A denoiser from a model that transformers has loaded already. The model stays on its device and
    unchanged.

    Ids and traits are found as in `from_pretrained`: in the model's configurations and the tokenizer. Without
    a tokenizer, prompts are ids. A few forwards probe the model, so it must be in `eval` mode. Raises
    `UsageError` as `from_pretrained` does.
    """
    source = already_loaded(model, tokenizer)
    flags = {"shift_logits": shift_logits, "raw": raw, "all_ids": all_ids}
    require_kinds(flags, {"mask_id": mask_id, "eos_id": eos_id, "block_length": block_length})
    traits = _traits(source, Overrides(mask_id, eos_id, shift_logits, block_length))
    if source.family.canvases:
        return denoiser_of_canvases(source, model, traits, raw=raw)
    return _denoiser(source, model, traits, _probed(source, model, traits), raw, all_ids)


def _traits(source: Opened, overrides: Overrides) -> Traits:
    """The traits of the model, with a MASK id."""
    if source.family.canvases:  # the ids belong to the configuration of its text part
        return traits_of(replace(source, config=source.config.get_text_config()), overrides)
    traits = traits_of(source, overrides)
    require_mask(traits, source.name)
    return traits


def _denoiser(
    source: Opened,
    model: Any,
    traits: Traits,
    probed: Probed,
    raw: bool,
    all_ids: bool,
    make: Callable[..., HuggingFaceDenoiser] = HuggingFaceDenoiser,
) -> HuggingFaceDenoiser:
    compared = fit_of(source, traits, probed.vocab_size)
    for warning in compared.warnings(all_ids) if compared is not None else ():
        log.warning("%s", warning)
    denoiser = make(
        model,
        source.tokenizer,
        require_mask(traits, source.name),
        None if traits.eos_id is None else traits.eos_id.value,
        traits.gen_length.value,
        shift_logits=traits.shift_logits.value,
        vocab_size=probed.vocab_size,
        max_length=None if traits.context is None else traits.context.value,
        stop_ids=traits.stop_ids,
        mask=probed.mask,
        raw=raw,
        block_length=None if traits.block_length is None else traits.block_length.value,
        never=() if compared is None or all_ids else compared.without_token,
    )
    denoiser.bos_id, denoiser.pad_id = (
        None if one is None else one.value for one in (traits.bos_id, traits.pad_id)
    )
    require_denoiser(denoiser, with_mask=True)  # an id one too large is a mistake here
    return denoiser


def _probed(source: Opened, model: Any, traits: Traits) -> Probed:
    require_block_length(traits, source.family, source.name)
    device = next(model.parameters()).device
    avoid = {one.value for one in (traits.mask_id, traits.eos_id, traits.pad_id) if one is not None} | set(
        traits.stop_ids
    )
    context = None if traits.context is None else traits.context.value
    blocks, arguments = traits.block_length, (source.config.vocab_size, sorted(avoid), context, device)
    try:
        with memory_diagnosed(source.name, next(model.parameters()).dtype, device):
            probed = (
                probe(model, *arguments) if blocks is None else probe_blocks(model, *arguments, blocks.value)
            )
    except UsageError:
        raise
    # A model's own code may raise any error. A diagnostic now is better than a failure during a run.
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        help = "a denoiser is called `model(input_ids=ids, attention_mask=mask)` and returns something with `.logits`"
        raise wrong(
            f"`{source.name}` ({type(model).__name__}) cannot be called as a denoiser: {type(error).__name__}: {why}",
            help,
        ) from error
    if probed.sees_both_sides:
        return probed
    is_a = f"`{source.name}` ({type(model).__name__})"
    if blocks is None:
        help = "a model that sees the whole canvas is needed (LLaDA, Dream, any masked one); for a block-causal one write "
        help += option("block_length", N)
        raise wrong(f"{is_a} is causal or block-causal: its last position does not affect the first", help)
    help = "use a model whose code takes a mask for each pair of positions: SDAR, LLaDA2, transformers' own decoders"
    raise wrong(f"{is_a} ignores masks that show its own block of {blocks.value} and hide later blocks", help)
