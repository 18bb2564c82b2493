"""What does the language know about a word: its arguments, its value, the facts that checks rely on?

Not here: the words (`read_words`, `computed_words`, `statement_words`), and how one is computed (`backends`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Kind(StrEnum):
    """The kind of a value.

    `MASK` is a bool for each window position, `TABLE` a number for each id of the vocabulary. `GROUP`,
    `KERNEL` and `PREVIOUS` are the kinds of `run(mask)`, `gaussian(sigma)` and a bare `before`, and fit
    nowhere else. `UNKNOWN` follows a mistake that is already reported.
    """

    PROB = "prob"
    NATS = "nats"
    LOGIT = "logit"
    REAL = "real"
    INT = "int"
    TOKEN = "token"
    TABLE = "table"
    BOOL = "bool"
    MASK = "mask"
    GROUP = "group"
    KERNEL = "kernel"
    PREVIOUS = "previous step"
    UNKNOWN = "unknown"


class Extent(IntEnum):
    """Number of values: one for the run, one per row, one per position. A lower extent broadcasts to a higher
    one.
    """

    RUN = 0
    ROW = 1
    POSITION = 2


class Polarity(StrEnum):
    """Whether a score is high or low where the denoiser is sure; `NONE` where neither is known."""

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
    """An argument of a word: a value of one of `kinds`, of at most this `extent`."""

    name: str
    kinds: frozenset[Kind]
    extent: Extent = Extent.POSITION
    # Written `name=`.
    named: bool = False
    # Positions are ranked by it, so it must not be low when sure.
    score: bool = False
    # May be left out; it then stands for `default`, if there is one.
    optional: bool = False
    default: str = ""
    # Sizes the compiled step: a number or a parameter, at most this large.
    largest: int | None = None
    # One argument or more.
    many: bool = False

    @property
    def static(self) -> bool:
        """Whether the argument sizes the compiled step."""
        return self.largest is not None


@dataclass(frozen=True, slots=True)
class Word:
    """A word: its arguments, its value (`gives`, `None`: the kind of its numbers), its meaning in one line.

    The fields after `meaning` are facts that checks, lowering and tools read. Tests evaluate every word on
    random inputs with the reference backend (`tests/meaning/test_facts_*.py`):
    each fact must be true of the words that have it, and of no other word.
    """

    name: str
    slots: tuple[Slot, ...]
    gives: Type | None
    meaning: str

    # --- how it is written and typed

    # The word whose arguments alone may hold this one.
    within: str | None = None
    # Other slots: with these, the word gives a number wherever they have one.
    elementwise: tuple[Slot, ...] = ()
    # Exactly one of the slots of these names is given.
    one_of: tuple[str, ...] = ()
    # Has the kind of `gives`, and the extent of its argument.
    spread: bool = False
    # What papers and other decoders call it, where spelling does not lead there.
    aliases: tuple[str, ...] = ()

    # --- the operations of the program it becomes, where one operation on its arguments is all

    # On one number at a time.
    operation: str = ""
    # On a number per position and a mask.
    reduction: str = ""

    # --- its value

    # Follows from the logits (for `kl`: and from those of the previous step).
    observation: bool = False
    # No statement of the step changes it. Observations are steady too.
    steady: bool = False
    # Counts what this step has written so far: says nothing before the first write.
    late: bool = False
    # Depends on the seed. Of a `draw`: the token does.
    random: bool = False
    # Never below 0; where one position of a row has no value, none has.
    nonnegative: bool = False
    # The same, where no argument is below 0.
    keeps_nonnegative: bool = False
    # Does not fall when one of its arguments rises, so it keeps their polarity and their order.
    rising: bool = False
    # Does not fall along an order, from the best position to the worst.
    rises_in_order: bool = False
    # 1 less this word.
    complement: str = ""

    # --- its part in the proof that decoding ends

    # Gives positions of its first argument only.
    selects: bool = False
    # One more in each step, as long as the row stays in the same window and phase.
    counter: bool = False
    # The number of positions that one step commits: this step or the one before.
    gain: bool = False
    # Of `word(n)`: it counts all masks that are left in step number n + this of a window, and after it.
    schedule: int | None = None

    # --- what it costs

    # Bytes per position that the step carries for it, besides states, `before(x)` and distributions.
    carried_bytes: int = 0
    # Loops over the vocabulary that it adds to a compiled step.
    passes: int = 0

    @property
    def positional(self) -> tuple[Slot, ...]:
        """The slots that are written without a name."""
        return tuple(slot for slot in self.slots if not slot.named)


NUMBERS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT, Kind.REAL, Kind.INT})
CONDITIONS = frozenset({Kind.BOOL, Kind.MASK})
IDS = frozenset({Kind.TOKEN, Kind.INT})
STATE_KINDS = frozenset({*NUMBERS, Kind.TOKEN, Kind.BOOL, Kind.MASK})
PARAMETER_KINDS = frozenset({*NUMBERS, Kind.TOKEN, Kind.BOOL, Kind.TABLE})
UNITS = frozenset({Kind.PROB, Kind.NATS, Kind.LOGIT})

INT = frozenset({Kind.INT})
A_MASK = Type(Kind.MASK, Extent.POSITION)
AN_INT = Type(Kind.INT, Extent.ROW)
MASK_SLOT = Slot("mask", frozenset({Kind.MASK}))
NUMBER_SLOT = Slot("x", NUMBERS)
