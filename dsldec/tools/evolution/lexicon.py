"""Which words and names may stand at a place, and how often is each chosen?

Not here: expressions made of them (`generator`), how often people use a word (`usage`).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeVar

from ...language.syntax import Expression
from ...language.words import OBSERVATIONS, SPECIAL_IDS, STATE_KINDS, WORDS, Extent, Kind, Type, Word
from .places import NameScope
from .trees import name
from .usage import weight

# Kinds that an argument may have. A word that needs another kind, such as a table, is left out.
WRITABLE = STATE_KINDS | {Kind.GROUP, Kind.KERNEL, Kind.PREVIOUS}
NAME_WEIGHT = 1.5
Chosen = TypeVar("Chosen")


class CannotWrite(Exception):
    """No rule of the grammar makes this kind of value at this place."""


class Leaf(NamedTuple):
    """A name, or a word without arguments, with its weight."""

    weight: float
    expression: Expression
    type: Type


@cache
def usable_words() -> tuple[Word, ...]:
    """The words that the search writes: no random ones, and none that need a file or another statement."""
    return tuple(
        word
        for word in WORDS.values()
        if not word.random
        and all(slot.optional or slot.or_mask or slot.kinds & WRITABLE for slot in word.slots)
        and word.within in (None, "prefix")
    )


class Lexicon:
    """The words and names of one place. `scope`: the names that may be read there."""

    def __init__(self, rng: random.Random, scope: NameScope) -> None:
        self.rng, self.scope = rng, scope

    def leaves_of(self, kinds: frozenset[Kind], extent: Extent) -> list[Leaf]:
        """The names and the words without arguments that have one of these kinds, and at most this extent."""
        found = [
            Leaf(NAME_WEIGHT, name(text), type_)
            for text, type_ in self.scope.names.items()
            if type_.kind in kinds and type_.extent <= extent
        ]
        if self.scope.fixed:
            return found
        for word in usable_words():
            gives = word.gives
            if word.slots or gives is None or not self.may_read(word):
                continue
            if gives.kind in kinds and gives.extent <= extent:
                found.append(Leaf(weight(word.name), name(word.name), gives))
        return found

    def varying(self, kinds: frozenset[Kind]) -> list[Leaf]:
        """The leaves that have a value for each position."""
        return [one for one in self.leaves_of(kinds, Extent.POSITION) if one.type.extent is Extent.POSITION]

    def may_read(self, word: Word) -> bool:
        """Whether the word has a meaning at this place."""
        return (word.within is None or self.scope.ordered) and (not word.late or self.scope.late)

    def leaf(self, leaves: Sequence[Leaf]) -> Leaf:
        """A random leaf. Raises `CannotWrite` where there is none."""
        return self.one_of([(one.weight, one) for one in leaves])

    def one_of(self, options: Sequence[tuple[float, Chosen]]) -> Chosen:
        """One of some options with their weights. Raises `CannotWrite` where there is none."""
        if not options:
            raise CannotWrite
        return self.rng.choices([one for _, one in options], [share for share, _ in options])[0]

    def id_(self, extent: Extent) -> Expression:
        """An id of the vocabulary: the end of the text, or an observed one of each position."""
        if extent is not Extent.POSITION:
            return name(SPECIAL_IDS[0])
        observed = [one for one in OBSERVATIONS if (gives := WORDS[one].gives) and gives.kind is Kind.TOKEN]
        return name(self.rng.choice(observed))
