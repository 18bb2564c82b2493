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
    """What a word takes at one argument: a mask, a number at most at `place`, or a score (`score`: not low when sure).

    `named`: written `name=`; `default`: the word it stands for where it is left out.
    """

    name: str
    kinds: frozenset[Kind]
    place: Place = Place.POSITION
    named: bool = False
    score: bool = False
    default: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its slots, what it gives (`None`: the kind of its numbers), and its meaning in one line.

    `within` names the word in whose arguments alone it may stand; `elementwise` are other slots it may be called with,
    and then it gives a number wherever those have one.
    """

    name: str
    slots: tuple[Slot, ...]
    gives: Type | None
    meaning: str
    within: str | None = None
    elementwise: tuple[Slot, ...] = ()


NUMBERS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT, Kind.REAL, Kind.INT})
PARAMETER_KINDS = frozenset({*NUMBERS, Kind.BOOL})
UNITS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT})

_MASK = Slot("mask", frozenset({Kind.MASK}))
_COUNT = Slot("k", frozenset({Kind.INT}), Place.SEQUENCE)
_BY = Slot("by", NUMBERS, named=True, score=True)
_NUMBER = Slot("x", NUMBERS)
_PAIR = (Slot("a", NUMBERS), Slot("b", NUMBERS))
_OVER = Slot("over", frozenset({Kind.MASK}), named=True, default="masked")


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
    Word("window_start", (), Type(Kind.INT, Place.SEQUENCE), "the window's first position"),
    Word("window_end", (), Type(Kind.INT, Place.SEQUENCE), "the position after the window's last one"),
    Word("window_length", (), Type(Kind.INT, Place.SEQUENCE), "how many positions the window has"),
    # Reductions: one value a row, of a mask over the whole window
    Word("any", (_MASK,), Type(Kind.BOOL, Place.SEQUENCE), "whether the mask holds a position"),
    Word("count", (_MASK,), Type(Kind.INT, Place.SEQUENCE), "how many positions the mask holds"),
    Word("fraction", (_MASK,), Type(Kind.REAL, Place.SEQUENCE), "share of the window that the mask holds"),
    Word("first", (_MASK,), Type(Kind.REAL, Place.SEQUENCE), "the mask's first position; no value over nothing"),
    Word("last", (_MASK,), Type(Kind.REAL, Place.SEQUENCE), "the mask's last position; no value over nothing"),
    # Reductions of a score over a mask
    Word("sum", (_NUMBER, _OVER), None, "sum of x over the mask, 0 over nothing"),
    Word("mean", (_NUMBER, _OVER), None, "mean of x over the mask; no value over nothing"),
    Word("std", (_NUMBER, _OVER), None, "standard deviation of x over the mask (of a population); no value over nothing"),
    Word("min", (_NUMBER, _OVER), None, "smallest x over the mask; no value over nothing; min(a, b): the smaller", elementwise=_PAIR),
    Word("max", (_NUMBER, _OVER), None, "largest x over the mask; no value over nothing; max(a, b): the larger", elementwise=_PAIR),
    # Arithmetic
    Word("abs", (_NUMBER,), None, "x without its sign"),
    Word("clamp", (_NUMBER, Slot("least", NUMBERS), Slot("most", NUMBERS)), None, "x, but not below least nor above most"),
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
KEYWORDS = frozenset("policy and or not orelse if else at least most by in true false".split()) | STATEMENTS

# The rest of the language as designed. Using one of these is told apart from a misspelling.
RESERVED = frozenset(
    "state set revoke edit fill next finish phase draw logits lookahead def branch pick shadow hook per each as when "
    "token canvas p kl same before after_eos age generation_length progress steps_in_window "
    "steps_in_phase visits idle committed_before eos_closed thin sample chance "
    "dilate run run_count run_length runs_holding grow trim shift distance density even linear cosine exp log sqrt floor ceil "
    "int sliding until gaussian".split()
)
