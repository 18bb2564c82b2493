"""The properties of a word: its arguments, its value, the facts that checks use.

Not here: the words (`read_words`, `computed_words`, `statement_words`), their computation (`backends`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Kind(StrEnum):
    """The kind of a value.

    `MASK` is a bool for each window position, `TABLE` a number for each id of the vocabulary, `STEP_TABLE` a
    number for each int from 0 on, `CHOICE` one of some names, `PATTERN` the form that a text must have,
    `NETWORK` a small network that gives a number for each position. `GROUP`, `KERNEL` and `PREVIOUS` are the
    kinds of `run(mask)`, `gaussian(sigma)` and `before` without arguments; only these words have them.
    `UNKNOWN` is the kind after a reported mistake.
    """

    PROB = "prob"
    NATS = "nats"
    LOGIT = "logit"
    REAL = "real"
    INT = "int"
    TOKEN = "token"
    TABLE = "table"
    STEP_TABLE = "table by step"
    CHOICE = "choice"
    PATTERN = "pattern"
    NETWORK = "network"
    BOOL = "bool"
    MASK = "mask"
    GROUP = "group"
    KERNEL = "kernel"
    PREVIOUS = "previous step"
    UNKNOWN = "unknown"


class Extent(IntEnum):
    """The number of values: one per run, one per row, one per position. A lower extent broadcasts to a higher
    one.
    """

    RUN = 0
    ROW = 1
    POSITION = 2


class Polarity(StrEnum):
    """Whether a score is high or low where the denoiser is confident; `NONE` if this is unknown."""

    HIGH = "high when sure"
    LOW = "low when sure"
    NONE = "unknown"


@dataclass(frozen=True, slots=True)
class Type:
    """Kind, extent and polarity of a value."""

    kind: Kind
    extent: Extent
    polarity: Polarity = Polarity.NONE


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument of a word: a value with one of `kinds`, and at most this `extent`."""

    name: str
    kinds: frozenset[Kind]
    extent: Extent = Extent.POSITION
    # Written `name=`.
    named: bool = False
    # It ranks positions, so it must not be low where the denoiser is confident.
    score: bool = False
    # May be omitted; `default` is then its value, if there is one.
    optional: bool = False
    default: str = ""
    # Sizes the compiled step: a number or a parameter, at most this number.
    largest: int | None = None
    # One argument or more.
    many: bool = False
    # A mask may stand here instead of `kinds`.
    or_mask: bool = False

    @property
    def static(self) -> bool:
        """Whether the argument sizes the compiled step."""
        return self.largest is not None


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its arguments, the type of its value (`gives`; `None`: the kind of its arguments), its meaning
    in one line.

    The fields after `meaning` are facts for checks, lowering and tools. Tests evaluate every word on random
    inputs with the reference backend (`tests/meaning/test_facts_*.py`): each fact must be true for the words
    that have it, and false for all others.
    """

    name: str
    slots: tuple[Slot, ...]
    gives: Type | None
    meaning: str

    # --- its form and its type

    # The word or statement in whose arguments this word may appear, and nowhere else.
    within: str | None = None
    # Other slots, for the form that computes one number from each pair of numbers.
    elementwise: tuple[Slot, ...] = ()
    # A call has exactly one of the slots with these names.
    one_of: tuple[str, ...] = ()
    # Has the kind of `gives`, and the extent of its argument.
    spread: bool = False
    # Its names in papers and other decoders, if a search by spelling does not find the word.
    aliases: tuple[str, ...] = ()

    # --- its operation in the program, if one operation on its arguments computes it

    # The operation on single numbers.
    operation: str = ""
    # The operation on a number per position and a mask.
    reduction: str = ""

    # --- its value

    # It depends only on the logits (`kl`: also on the logits of the previous step).
    observation: bool = False
    # No statement of the step changes it. Observations are steady too.
    steady: bool = False
    # Counts the writes of this step so far, so it has no meaning before the first statement that writes.
    late: bool = False
    # It depends on the seed. For a `draw`: the token depends on the seed.
    random: bool = False
    # Never below 0. If one position of a row has no value, no position of the row has one.
    nonnegative: bool = False
    # The same, if no argument is below 0.
    keeps_nonnegative: bool = False
    # Does not fall when one of its arguments rises, so it has their polarity and their order.
    rising: bool = False
    # Does not fall along an order, from the best position to the worst.
    rises_in_order: bool = False
    # The word for 1 minus this word.
    complement: str = ""

    # --- its part in the proof that decoding ends

    # Selects only positions of its first argument.
    selects: bool = False
    # Grows by 1 in each step while the row stays in the same window and phase.
    counter: bool = False
    # The number of positions committed by one step: this step or the previous one.
    gain: bool = False
    # For `word(n)`: from step n + this number of a window on, it counts all masks left.
    schedule: int | None = None

    # --- its cost

    # Bytes per position that the word adds to the state, besides states, `before(x)` and distributions.
    carried_bytes: int = 0
    # Loops over the vocabulary that the word adds to a compiled step.
    passes: int = 0

    @property
    def positional(self) -> tuple[Slot, ...]:
        """The slots that are written without a name."""
        return tuple(slot for slot in self.slots if not slot.named)


NUMBERS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT, Kind.REAL, Kind.INT})
CONDITIONS = frozenset({Kind.BOOL, Kind.MASK})
IDS = frozenset({Kind.TOKEN, Kind.INT})
STATE_KINDS = frozenset({*NUMBERS, Kind.TOKEN, Kind.BOOL, Kind.MASK})
TABLES = frozenset({Kind.TABLE, Kind.STEP_TABLE})
PARAMETER_KINDS = frozenset(
    {*NUMBERS, Kind.TOKEN, Kind.BOOL, Kind.CHOICE, Kind.PATTERN, Kind.NETWORK, *TABLES}
)
# All requests of a batch share the values of these kinds of parameters.
OF_THE_BATCH = frozenset({*TABLES, Kind.NETWORK})
# Parameters of these kinds may have no default: then the caller must give a value.
WITHOUT_DEFAULT = frozenset({Kind.PATTERN, Kind.NETWORK})
UNITS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT})

INT = frozenset({Kind.INT})
A_MASK = Type(Kind.MASK, Extent.POSITION)
AN_INT = Type(Kind.INT, Extent.ROW)
MASK_SLOT = Slot("mask", frozenset({Kind.MASK}))
NUMBER_SLOT = Slot("x", NUMBERS)
