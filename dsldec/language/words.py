"""Every word of the language, once: what it takes, what it gives, what it means.

The checks, the backends and the tests read this table. Not here: how a word is computed (`backends`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a value is. `MASK` is a bool for each window position. `UNKNOWN` follows a mistake already reported."""

    PROB = "prob"
    NATS = "nats"
    LOGIT = "logit"
    REAL = "real"
    INT = "int"
    BOOL = "bool"
    MASK = "mask"
    UNKNOWN = "unknown"


class Place(IntEnum):
    """How many values there are: one for the run, one a row, one a position. A lower place broadcasts to a higher one."""

    PARAMETER = 0
    SEQUENCE = 1
    POSITION = 2


class Polarity(StrEnum):
    """Whether a score is high where the denoiser is sure, or low; `NONE` where neither can be said."""

    HIGH = "high when sure"
    LOW = "low when sure"
    NONE = "unknown"


@dataclass(frozen=True, slots=True)
class Type:
    """Kind, place and polarity of a value."""

    kind: Kind
    place: Place
    polarity: Polarity = Polarity.NONE


@dataclass(frozen=True, slots=True)
class Slot:
    """What a word takes at one argument: a mask, a number at most at `place`, or a score (`polarity`)."""

    name: str
    kinds: frozenset[Kind]
    place: Place = Place.POSITION
    named: bool = False
    score: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its slots, what it gives (`None`: the type of its first argument), and its meaning in one line.

    `within` names the word in whose arguments alone it may stand.
    """

    name: str
    slots: tuple[Slot, ...]
    gives: Type | None
    meaning: str
    within: str | None = None


NUMBERS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT, Kind.REAL, Kind.INT})
PARAMETER_KINDS = frozenset({*NUMBERS, Kind.BOOL})
UNITS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT})

_MASK = Slot("mask", frozenset({Kind.MASK}))
_COUNT = Slot("k", frozenset({Kind.INT}), Place.SEQUENCE)
_BY = Slot("by", NUMBERS, named=True, score=True)
_NUMBER = Slot("x", NUMBERS)


def _per_position(name: str, kind: Kind, polarity: Polarity, meaning: str) -> Word:
    return Word(name, (), Type(kind, Place.POSITION, polarity), meaning)


_WORDS = (
    # Observations
    _per_position("conf", Kind.PROB, Polarity.HIGH, "probability of the token"),
    _per_position("doubt", Kind.PROB, Polarity.LOW, "1 - conf, without cancellation"),
    _per_position("margin", Kind.PROB, Polarity.HIGH, "probability of the best id minus that of the second"),
    _per_position("logit_margin", Kind.LOGIT, Polarity.HIGH, "logit of the best id minus that of the second"),
    _per_position("entropy", Kind.NATS, Polarity.LOW, "entropy of the distribution over the vocabulary, in nats"),
    # Canvas
    Word("masked", (), Type(Kind.MASK, Place.POSITION), "positions of the window that are not written yet"),
    Word("committed", (), Type(Kind.MASK, Place.POSITION), "positions of the window that are written"),
    _per_position("pos", Kind.INT, Polarity.NONE, "the position, 0 for the first generated one"),
    # Sequence facts
    Word("step", (), Type(Kind.INT, Place.SEQUENCE), "the row's steps before this one"),
    # Selectors
    Word("top", (_MASK, _COUNT, _BY), Type(Kind.MASK, Place.POSITION), "the k best positions of the mask"),
    Word(
        "prefix",
        (_MASK, _BY, Slot("while", frozenset({Kind.BOOL, Kind.MASK}), named=True)),
        Type(Kind.MASK, Place.POSITION),
        "the longest run of best positions of the mask in which `while` holds for every one",
    ),
    # Inside `while`
    Word("rank", (), Type(Kind.INT, Place.POSITION), "1 for the best position, 2 for the next", within="prefix"),
    Word("cumsum", (_NUMBER,), None, "sum of x over this position and all better ones", within="prefix"),
    Word("cummax", (_NUMBER,), None, "largest x of this position and all better ones", within="prefix"),
)

WORDS: Mapping[str, Word] = MappingProxyType({word.name: word for word in _WORDS})

WINDOWS = frozenset({"all", "blocks"})
STATEMENTS = frozenset({"window", "commit"})
KEYWORDS = frozenset({"policy", "and", "or", "not", "at", "least", "most", "by", "in", "true", "false"}) | STATEMENTS

# The rest of the language as designed. Using one of these is told apart from a misspelling.
RESERVED = frozenset(
    "state set revoke edit fill next finish phase draw logits lookahead def branch pick shadow hook orelse if else per each as when "
    "token canvas p kl same before after_eos age window_start window_end window_length generation_length progress steps_in_window "
    "steps_in_phase visits idle committed_before eos_closed any count fraction first last sum mean max min std thin sample chance "
    "dilate run run_count run_length runs_holding grow trim shift distance density even linear cosine abs exp log sqrt floor ceil "
    "int clamp sliding until gaussian".split()
)
