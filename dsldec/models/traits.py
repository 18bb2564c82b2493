"""What decoding has to know of a model beside its logits, and where each of it was found: ids, shift,
lengths.

Not here: which family a model is of (`families`). What the caller gives goes before all that is found.
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
# Ends of a turn: an answer ends there as it does at the end of text.
TURN_NAMES = ("<|eot_id|>", "<|im_end|>", "<|role_end|>", "<end_of_turn>")
# Their position embeddings begin after the one of padding, so that many fewer tokens fit.
POSITIONS_AFTER_PADDING = frozenset(
    "roberta xlm-roberta xlm-roberta-xl camembert data2vec-text longformer luke ibert mpnet xmod".split()
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """A value and where it stands, in words that can follow "from"."""

    value: Any
    where: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the caller gave; None where it is to be found."""

    mask_id: int | None = None
    eos_id: int | None = None
    shift_logits: bool | None = None
    block_length: int | None = None


@dataclass(frozen=True, slots=True)
class Traits:
    """What was found; None where there is none. `stop_ids`: every id an answer ends at, `eos_id` among them.
    `context` in tokens.

    `block_length`: in tokens, of a block-causal model; None for one that sees the whole canvas.
    """

    mask_id: Provenance | None
    eos_id: Provenance | None
    pad_id: Provenance | None
    stop_ids: tuple[int, ...]
    shift_logits: Provenance
    context: Provenance | None
    gen_length: Provenance
    block_length: Provenance | None = None


def traits_of(found: Opened, asked: Overrides) -> Traits:
    """Look everything up."""
    family, config, tokenizer = found.family, found.config, found.tokenizer
    vocabulary: dict[str, int] = {} if tokenizer is None else tokenizer.get_vocab()
    sources = (
        ("the tokenizer", tokenizer),
        ("config.json", found.said),
        ("generation_config.json", found.generation),
    )
    size = getattr(config, "vocab_size", None)
    vocabulary = {name: id_ for name, id_ in vocabulary.items() if size is None or id_ < size}
    turns = [Provenance(vocabulary[name], f"the token `{name}`") for name in TURN_NAMES if name in vocabulary]
    stop_ids = [*_ids(sources, "eos_token_id", size), *turns]
    masks = [*_ids(sources, "mask_token_id", size), *_named_masks(vocabulary), *_known_mask(family, size)]
    eos_id = _first(asked.eos_id, "--eos-id", stop_ids)
    context = _context(config, tokenizer)
    return Traits(
        mask_id=_first(asked.mask_id, "--mask-id", masks),
        eos_id=eos_id,
        pad_id=_first(None, "", list(_ids(sources, "pad_token_id", size))),
        stop_ids=tuple(dict.fromkeys(one.value for one in stop_ids))
        if asked.eos_id is None
        else (asked.eos_id,),
        shift_logits=Provenance(family.shift_logits, f"the family, {family.name}")
        if asked.shift_logits is None
        else _shift(asked.shift_logits),
        context=context,
        gen_length=_gen_length(found.generation, context),
        block_length=_block_length(family, config)
        if asked.block_length is None
        else Provenance(asked.block_length, "--block-length"),
    )


def require_mask(traits: Traits, name: str) -> int:
    """The MASK id. Raises `UsageError` (E0405) where none was found."""
    if traits.mask_id is not None:
        return int(traits.mask_id.value)
    message = f"`{name}` has no mask token: neither its tokenizer nor its configuration names one that the model has an id for"
    raise UsageError(Diagnostic("E0405", message, help=f"say which id it is: {option('mask_id', N)}"))


def require_block_length(traits: Traits, family: Family, name: str) -> int | None:
    """How long a block-causal model's blocks are, None of other models. Raises `UsageError` (E0405) where
    nothing says so.
    """
    length = None if traits.block_length is None else traits.block_length.value
    if (isinstance(length, int) and length > 0) or (length is None and not family.block_causal):
        return length
    message = f"`{name}` is block-causal, and its configuration does not say how long its blocks are"
    message = message if length is None else f"a block has 1 token or more, not {length}"
    raise UsageError(Diagnostic("E0405", message, help=f"say it: {option('block_length', N)}"))


def _ids(sources: tuple[tuple[str, Any], ...], name: str, vocab_size: int | None) -> Iterator[Provenance]:
    """Every id under this name. An id outside the vocabulary does not count."""
    for where, source in sources:
        given = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
        for one in given if isinstance(given, list | tuple) else [given]:
            if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < (vocab_size or one + 1):
                yield Provenance(one, where)


def _named_masks(vocabulary: dict[str, int]) -> Iterator[Provenance]:
    return (Provenance(vocabulary[name], f"the token `{name}`") for name in MASK_NAMES if name in vocabulary)


def _known_mask(family: Family, vocab_size: int | None) -> Iterator[Provenance]:
    return (
        Provenance(mask_id, f"what is known of {family.name}")
        for size, mask_id in family.masks
        if size == vocab_size
    )


def _first(given: int | None, flag: str, found: list[Provenance]) -> Provenance | None:
    return Provenance(given, flag) if given is not None else next(iter(found), None)


def _shift(given: bool) -> Provenance:
    return Provenance(given, "--shift-logits" if given else "--no-shift-logits")


def _context(config: Any, tokenizer: Any) -> Provenance | None:
    for name in ("max_position_embeddings", "max_sequence_length", "n_positions"):
        most = getattr(config, name, None)
        # -1: positions without a table, as DeBERTa has them.
        if isinstance(most, int) and most > 0:
            after = (
                1 + (config.pad_token_id or 0)
                if getattr(config, "model_type", "") in POSITIONS_AFTER_PADDING
                else 0
            )
            return Provenance(most - after, f"`{name}` of config.json")
    most = getattr(tokenizer, "model_max_length", None)
    # A tokenizer that does not know says 10^30.
    return Provenance(most, "the tokenizer") if isinstance(most, int) and most < 10**9 else None


def _block_length(family: Family, config: Any) -> Provenance | None:
    """Configurations of other models have such names for other things: BigBird's blocks of keys, say."""
    if not family.block_causal:
        return None
    for name in BLOCK_NAMES:
        length = getattr(config, name, None)
        if isinstance(length, int) and not isinstance(length, bool) and length > 0:
            return Provenance(length, f"`{name}` of config.json")
    return (
        None
        if family.block_length is None
        else Provenance(family.block_length, f"what is known of {family.name}")
    )


def _gen_length(generation: Any, context: Provenance | None) -> Provenance:
    wanted = getattr(generation, "max_new_tokens", None)
    if isinstance(wanted, int) and wanted > 0:
        return Provenance(wanted, "generation_config.json")
    return Provenance(
        DEFAULT_GEN_LENGTH if context is None else max(1, min(DEFAULT_GEN_LENGTH, context.value // 2)),
        "dsldec's default",
    )
