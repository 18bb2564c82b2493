"""Does a tokenizer fit its model: sizes, ids without a token, special ids?

An id without a token disappears from the text, so decoding never writes one unless the caller allows it. All
other findings change nothing in decoding: they are warnings (W0402).

Not here: the sources of ids (`traits`), hiding such ids in logits (`huggingface`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..diagnostics import Diagnostic
from ..spelling import option

if TYPE_CHECKING:
    from .loading import Opened
    from .traits import Traits

SPECIAL = ("mask_token_id", "eos_token_id", "bos_token_id", "pad_token_id")
# A vocabulary is padded at its end to a size that is fast for matrices. The padding is less than this share.
PADDING = 0.01
OWN_TOKENIZER = "check that the tokenizer belongs to this model"


@dataclass(frozen=True, slots=True)
class Fit:
    """The comparison. `without_token`: ids of the model without a token, in order. `beyond`: ids of the
    tokenizer that the model lacks.
    """

    vocab_size: int
    tokens: int
    without_token: tuple[int, ...]
    beyond: tuple[int, ...]
    differing: tuple[str, ...]

    @property
    def is_padding(self) -> bool:
        """Whether the ids without a token are only the padding of the vocabulary."""
        missing = self.without_token
        return not missing or (
            missing[0] == self.vocab_size - len(missing) and len(missing) <= self.vocab_size * PADDING
        )

    def warnings(self, all_ids: bool = False) -> Iterator[Diagnostic]:
        """Warnings (W0402) for the user. `all_ids`: decoding may write ids without a token."""
        if not self.is_padding:
            has = _count(len(self.without_token), "id has no token", "ids have no token")
            then = "they are missing from the text" if all_ids else "they are never written"
            message = (
                f"the model has {self.vocab_size:,} ids and the tokenizer {self.tokens:,}: {has}, {then}"
            )
            lifts = "" if all_ids else f"; {option('all_ids', True)} allows them"
            yield Diagnostic("W0402", message, help=f"{OWN_TOKENIZER}{lifts}")
        if self.beyond:
            has = _count(len(self.beyond), "token is", "tokens are")
            message = f"the tokenizer has an id {max(self.beyond):,} and the model {self.vocab_size:,} ids: {has} unknown to the model"
            yield Diagnostic("W0402", message, help=OWN_TOKENIZER)
        for message in self.differing:
            yield Diagnostic(
                "W0402",
                message,
                help=f"{OWN_TOKENIZER}; `dsldec model` shows the ids that are used, and where they were found",
            )


def fit_of(source: Opened, traits: Traits, vocab_size: int) -> Fit | None:
    """Compare a tokenizer with a model of `vocab_size` ids. None where there is no tokenizer, or none that
    lists its tokens.
    """
    tokenizer, names = source.tokenizer, _names(source.tokenizer)
    if names is None:
        return None
    # The mask, and ids that end an answer, have a meaning without a token.
    meaningful = {one.value for one in (traits.mask_id, traits.eos_id) if one is not None} | set(
        traits.stop_ids
    )
    with_token = set(names.values())
    missing = [id_ for id_ in range(vocab_size) if id_ not in with_token and id_ not in meaningful]
    without = tuple(id_ for id_, name in zip(missing, _named(tokenizer, missing), strict=True) if not name)
    beyond = tuple(sorted(id_ for id_ in with_token if id_ >= vocab_size))
    sources = {
        "the tokenizer": tokenizer,
        "config.json": source.fields,
        "generation_config.json": source.generation,
    }
    return Fit(vocab_size, len(with_token), without, beyond, tuple(_differing(sources, vocab_size)))


def _names(tokenizer: Any) -> dict[str, int] | None:
    try:
        names: dict[str, int] = tokenizer.get_vocab()
        # Remote code may leave the method unimplemented, or list anything.
        return names if all(isinstance(id_, int) for id_ in names.values()) and names else None
    except Exception:
        return None


def _named(tokenizer: Any, ids: list[int]) -> list[Any]:
    """The token of each id by the tokenizer's own conversion: not every tokenizer lists all of its tokens."""
    try:
        unknown = {None, "", getattr(tokenizer, "unk_token", None)}
        names = tokenizer.convert_ids_to_tokens(ids)
        return (
            [None if name in unknown else name for name in names]
            if len(names) == len(ids)
            else [None] * len(ids)
        )
    # Many raise for an id they do not have.
    except Exception:
        return [None] * len(ids)


def _differing(sources: Mapping[str, Any], vocab_size: int) -> Iterator[str]:
    """Special ids on which sources differ, and special ids that the model does not have."""
    for name in SPECIAL:
        ids = {where: found for where, source in sources.items() if (found := _ids(source, name))}
        outside = next(
            (
                (where, one)
                for where, found in ids.items()
                for one in sorted(found)
                if not 0 <= one < vocab_size
            ),
            None,
        )
        if outside is not None:
            yield f"`{name}` is {outside[1]} in {outside[0]}, and the model has {vocab_size:,} ids"
            continue
        for where, found in ids.items():
            others = {other: theirs for other, theirs in ids.items() if other != where}
            if others and not found & set().union(*others.values()):
                other = next(iter(others))
                yield f"`{name}` is {_listed(found)} in {where} and {_listed(others[other])} in {other}"
                break


def _ids(source: Any, name: str) -> set[int]:
    value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    value = value if isinstance(value, list | tuple) else [value]
    return {one for one in value if isinstance(one, int) and not isinstance(one, bool)}


def _listed(ids: Collection[int]) -> str:
    return ", ".join(str(one) for one in sorted(ids))


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
