"""Every word of the language, once, with its arguments, its value, its meaning and the facts about it.

The checks, the backends, the tools and the tests read these tables. Not here: the rows of the tables
(`read_words`, `computed_words`, `statement_words`), and how a word is computed (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .computed_words import COMPUTED_WORDS
from .read_words import KEPT_IDS, NO_ID, READ_WORDS, SPECIAL
from .statement_words import (
    DRAWS,
    KEYWORDS,
    NOISES,
    READ_AT_THEIR_PLACE,
    RESERVED,
    SHAPES,
    SOFT_KEYWORDS,
    STATEMENTS,
    TRANSFORMS,
    WINDOWS,
)
from .word_types import (
    CONDITIONS,
    IDS,
    NUMBERS,
    OF_THE_BATCH,
    PARAMETER_KINDS,
    STATE_KINDS,
    TABLES,
    UNITS,
    WITHOUT_DEFAULT,
    Extent,
    Kind,
    Polarity,
    Slot,
    Type,
    Word,
)

__all__ = [
    "COMPARISONS_OF_DISTRIBUTIONS",
    "CONDITIONS",
    "DRAWS",
    "ELEMENTWISE_WORDS",
    "IDS",
    "KEPT_IDS",
    "KEYWORDS",
    "NOISES",
    "NO_ID",
    "NUMBERS",
    "OBSERVATIONS",
    "OF_THE_BATCH",
    "PARAMETER_KINDS",
    "RANDOM_WORDS",
    "READ_AT_THEIR_PLACE",
    "RESERVED",
    "SHAPES",
    "SOFT_KEYWORDS",
    "SPECIAL_IDS",
    "STATEMENTS",
    "STATE_KINDS",
    "TABLES",
    "TRANSFORMS",
    "UNITS",
    "WINDOWS",
    "WITHOUT_DEFAULT",
    "WORDS",
    "Extent",
    "Kind",
    "Polarity",
    "Slot",
    "Type",
    "Word",
]

WORDS: Mapping[str, Word] = MappingProxyType({word.name: word for word in (*READ_WORDS, *COMPUTED_WORDS)})

# Tables that more than one package reads; a table with one reader stands beside it.

# The words that compare two distributions of which the earlier one is stored.
COMPARISONS_OF_DISTRIBUTIONS = frozenset(
    word.name
    for word in WORDS.values()
    if word.observation and any(slot.name == "keep" for slot in word.slots)
)

# Observations without arguments: the step reads all of them from the logits at once.
OBSERVATIONS = tuple(word.name for word in WORDS.values() if word.observation and not word.slots)
SPECIAL_IDS = tuple(word.name for word in SPECIAL)
RANDOM_WORDS = frozenset(word.name for word in WORDS.values() if word.random)
# Words that are one operation on one number at a time (two numbers for `min` and `max`).
ELEMENTWISE_WORDS: Mapping[str, str] = MappingProxyType(
    {word.name: word.operation for word in WORDS.values() if word.operation}
)
