"""What must decoding know of a model beside its logits (ids, shift, lengths), and where was each value found?

Not here: the family of a model (`families`). Values of the caller override all found values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..diagnostics import Diagnostic, UsageError
from ..options import DEFAULT_GEN_LENGTH
from ..spelling import N, option
from .families import BLOCK_NAMES, Family

if TYPE_CHECKING:
    from .loading import Opened

MASK_NAMES = ("<|mask|>", "<|mdm_mask|>", "<mask>", "[MASK]", "<|MASK|>", "<MASK>", "|<MASK>|")
# Tokens that end a turn: an answer ends there as it does at the end of text.
TURN_NAMES = ("<|eot_id|>", "<|im_end|>", "<|role_end|>", "<end_of_turn>")
# Their position embeddings begin after the padding id, so fewer tokens fit.
POSITIONS_AFTER_PADDING = frozenset(
    "roberta xlm-roberta xlm-roberta-xl camembert data2vec-text longformer luke ibert mpnet xmod".split()
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """A value and its source, in words that can follow "from"."""

    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """Values given by the caller. None where dsldec is to find the value."""

    mask_id: int | None = None
    eos_id: int | None = None
    shift_logits: bool | None = None
    block_length: int | None = None


@dataclass(frozen=True, slots=True)
class Traits:
    """The found values; None where there is none. `stop_ids`: every id that ends an answer, `eos_id`
    included. `context` in tokens.

    `block_length`: in tokens, of a block-causal model; None for a model that sees the whole canvas.
    """

    mask_id: Provenance | None
    eos_id: Provenance | None
    pad_id: Provenance | None
    stop_ids: tuple[int, ...]
    shift_logits: Provenance
    context: Provenance | None
    gen_length: Provenance
    block_length: Provenance | None = None
    bos_id: Provenance | None = None


def traits_of(source: Opened, overrides: Overrides) -> Traits:
    """Find all traits."""
    family, config, tokenizer = source.family, source.config, source.tokenizer
    vocabulary: dict[str, int] = {} if tokenizer is None else tokenizer.get_vocab()
    sources = (
        ("the tokenizer", tokenizer),
        ("config.json", source.fields),
        ("generation_config.json", source.generation),
    )
    size = getattr(config, "vocab_size", None)
    vocabulary = {name: id_ for name, id_ in vocabulary.items() if size is None or id_ < size}
    turns = [Provenance(vocabulary[name], f"the token `{name}`") for name in TURN_NAMES if name in vocabulary]
    stop_ids = [*_ids(sources, "eos_token_id", size), *turns]
    masks = [*_ids(sources, "mask_token_id", size), *_named_masks(vocabulary), *_known_mask(family, size)]
    eos_id = _first(overrides.eos_id, "--eos-id", stop_ids)
    context = _context(config, tokenizer)
    return Traits(
        mask_id=_first(overrides.mask_id, "--mask-id", masks),
        eos_id=eos_id,
        pad_id=_first(None, "", list(_ids(sources, "pad_token_id", size))),
        bos_id=_first(None, "", list(_ids(sources, "bos_token_id", size))),
        stop_ids=tuple(dict.fromkeys(one.value for one in stop_ids))
        if overrides.eos_id is None
        else (overrides.eos_id,),
        shift_logits=Provenance(family.shift_logits, f"the family, {family.name}")
        if overrides.shift_logits is None
        else _shift(overrides.shift_logits),
        context=context,
        gen_length=_gen_length(source.generation, context),
        block_length=_block_length(family, config)
        if overrides.block_length is None
        else Provenance(overrides.block_length, "--block-length"),
    )


def require_mask(traits: Traits, name: str) -> int:
    """The MASK id. Raises `UsageError` (E0405) where none was found."""
    if traits.mask_id is not None:
        return int(traits.mask_id.value)
    message = f"`{name}` has no mask token: neither its tokenizer nor its configuration has one with an id of the model"
    raise UsageError(Diagnostic("E0405", message, help=f"give its id: {option('mask_id', N)}"))


def require_block_length(traits: Traits, family: Family, name: str) -> int | None:
    """The block length of a block-causal model, None of other models. Raises `UsageError` (E0405) where no
    file gives it.
    """
    length = None if traits.block_length is None else traits.block_length.value
    if (isinstance(length, int) and length > 0) or (length is None and not family.block_causal):
        return length
    message = f"`{name}` is block-causal, and its configuration has no block length"
    message = message if length is None else f"a block has 1 token or more, not {length}"
    raise UsageError(Diagnostic("E0405", message, help=f"give it: {option('block_length', N)}"))


def _ids(sources: tuple[tuple[str, Any], ...], name: str, vocab_size: int | None) -> Iterator[Provenance]:
    """Every id under this name. An id outside the vocabulary does not count."""
    for where, source in sources:
        value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < (vocab_size or one + 1):
                yield Provenance(one, where)


def _named_masks(vocabulary: dict[str, int]) -> Iterator[Provenance]:
    return (Provenance(vocabulary[name], f"the token `{name}`") for name in MASK_NAMES if name in vocabulary)


def _known_mask(family: Family, vocab_size: int | None) -> Iterator[Provenance]:
    return (
        Provenance(mask_id, f"dsldec's table for {family.name}")
        for size, mask_id in family.masks
        if size == vocab_size
    )


def _first(given: int | None, flag: str, candidates: list[Provenance]) -> Provenance | None:
    return Provenance(given, flag) if given is not None else next(iter(candidates), None)


def _shift(given: bool) -> Provenance:
    return Provenance(given, "--shift-logits" if given else "--no-shift-logits")


def _context(config: Any, tokenizer: Any) -> Provenance | None:
    for name in ("max_position_embeddings", "max_sequence_length", "n_positions"):
        limit = getattr(config, name, None)
        # -1: positions without a table, as in DeBERTa.
        if isinstance(limit, int) and limit > 0:
            after = (
                1 + (config.pad_token_id or 0)
                if getattr(config, "model_type", "") in POSITIONS_AFTER_PADDING
                else 0
            )
            return Provenance(limit - after, f"`{name}` of config.json")
    limit = getattr(tokenizer, "model_max_length", None)
    # A tokenizer without a known limit gives 10^30.
    return Provenance(limit, "the tokenizer") if isinstance(limit, int) and limit < 10**9 else None


def _block_length(family: Family, config: Any) -> Provenance | None:
    """The block length. Configurations of other models use such names for other things, such as BigBird's key
    blocks.
    """
    if not family.block_causal:
        return None
    for name in BLOCK_NAMES:
        length = getattr(config, name, None)
        if isinstance(length, int) and not isinstance(length, bool) and length > 0:
            return Provenance(length, f"`{name}` of config.json")
    return (
        None
        if family.block_length is None
        else Provenance(family.block_length, f"dsldec's table for {family.name}")
    )


def _gen_length(generation: Any, context: Provenance | None) -> Provenance:
    length = getattr(generation, "max_new_tokens", None)
    if isinstance(length, int) and length > 0:
        return Provenance(length, "generation_config.json")
    return Provenance(
        DEFAULT_GEN_LENGTH if context is None else max(1, min(DEFAULT_GEN_LENGTH, context.value // 2)),
        "dsldec's default",
    )
