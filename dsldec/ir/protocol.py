"""The protocol of a step: every field of the state that a host passes from step to step, and every event that
a step reports to its host.

Shapes: B rows, T window positions. A field per row is `[B]`, a field per position `[B, T]`, a distribution
`[B, T, N]`. A step has only the fields that its policy needs. Not here: tensors (`backends.step`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from ..language.words import Extent, Kind


class Writer(StrEnum):
    """The writer of a field's next value: the step returns it, or the host sets it before a step."""

    STEP = "step"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its kind and extent (`None` if the policy decides them), its writer and its meaning."""

    kind: Kind | None
    extent: Extent | None
    writer: Writer
    meaning: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its kind, its extent and its meaning."""

    kind: Kind
    extent: Extent
    meaning: str


# Set by the host.
WINDOW_START = "window_start"
GENERATION_LENGTH = "generation_length"
KEY = "key"
DRAFT = "draft"
WINDOW_END = "window_end"
PATTERN_STATE = "pattern_state"
PATTERN_AT = "pattern_at"
PATH = "path_ids"
# Set by the step.
STEP = "step"
STEPS_IN_WINDOW = "steps_in_window"
FIRST_MASKS = "first_masks"
COMMITTED_BEFORE = "committed_before"
PHASE = "phase"
STEPS_IN_PHASE = "steps_in_phase"
STAYS = "stays"
WINDOW_LENGTH = "window_length"
PLACED_AT = "placed_at"
INSIDE = "inside"
AGE = "age"
EOS_BEFORE = "eos_before"
# Events; `phase` is one too.
NOT_FINITE = "not_finite"
FINISHED = "finished"
ACCEPTED = "accepted"
UNMATCHED = "unmatched"

NO_PATTERN = -1  # the state of the pattern in a row without one
NO_PATH = -2  # in place of an id: no text of the window can become a match

FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        WINDOW_START: Field(
            Kind.INT, Extent.ROW, Writer.HOST, "the window's first position; the first generated one is 0"
        ),
        GENERATION_LENGTH: Field(
            Kind.INT, Extent.ROW, Writer.HOST, "positions from the first generated one to the last"
        ),
        KEY: Field(Kind.INT, Extent.ROW, Writer.HOST, "seed of the row's random numbers, any 64-bit int"),
        DRAFT: Field(
            Kind.TOKEN,
            Extent.POSITION,
            Writer.HOST,
            "ids of the draft that `accept` compares the canvas with",
        ),
        WINDOW_END: Field(
            Kind.INT, Extent.ROW, Writer.HOST, "the position after the window's last, for `constrain`"
        ),
        PATTERN_STATE: Field(
            Kind.INT,
            Extent.ROW,
            Writer.HOST,
            "state of the pattern before the window's first position; -1 in a row without a pattern",
        ),
        PATTERN_AT: Field(
            Kind.INT, Extent.ROW, Writer.HOST, "the position before which the pattern is in this state"
        ),
        PATH: Field(
            Kind.TOKEN,
            Extent.POSITION,
            Writer.HOST,
            "ids of the likeliest path of the pattern, for compiled code alone",
        ),
        STEP: Field(Kind.INT, Extent.ROW, Writer.STEP, "steps of the row so far"),
        STEPS_IN_WINDOW: Field(Kind.INT, Extent.ROW, Writer.STEP, "steps since the window began"),
        FIRST_MASKS: Field(Kind.INT, Extent.ROW, Writer.STEP, "masks at the window's first step"),
        COMMITTED_BEFORE: Field(
            Kind.INT, Extent.ROW, Writer.STEP, "positions that the previous step committed"
        ),
        PHASE: Field(
            Kind.INT, Extent.ROW, Writer.STEP, "index of the phase that the next step enters or continues"
        ),
        STEPS_IN_PHASE: Field(Kind.INT, Extent.ROW, Writer.STEP, "steps since the phase was entered"),
        STAYS: Field(Kind.INT, Extent.ROW, Writer.STEP, "times that the full window stayed"),
        WINDOW_LENGTH: Field(
            Kind.INT, Extent.ROW, Writer.STEP, "length of a window `until`, from its first step on"
        ),
        PLACED_AT: Field(
            Kind.INT, Extent.ROW, Writer.STEP, "`window_start` of a sliding window in the previous step"
        ),
        INSIDE: Field(
            Kind.MASK, Extent.POSITION, Writer.STEP, "positions of the sliding window in the previous step"
        ),
        AGE: Field(
            Kind.INT, Extent.POSITION, Writer.STEP, "steps since the position was written, 0 for a mask"
        ),
        EOS_BEFORE: Field(
            Kind.BOOL, Extent.ROW, Writer.STEP, "the end-of-text token is before the window's first position"
        ),
    }
)

# Fields with a name from the policy: a prefix, and then the name.
STATE_PREFIX = "state_"
VISITS_PREFIX = "visits_"
BEFORE_PREFIX = "before_"
DISTRIBUTION_PREFIX = "distribution_before_"

PREFIXES: Mapping[str, Field] = MappingProxyType(
    {
        STATE_PREFIX: Field(None, None, Writer.STEP, "value of the policy's state with this name"),
        VISITS_PREFIX: Field(
            Kind.INT,
            Extent.ROW,
            Writer.STEP,
            "times that the phase with this name was entered in this window",
        ),
        BEFORE_PREFIX: Field(
            None,
            None,
            Writer.STEP,
            "value of the expression with this number in `before(...)`, in the previous step",
        ),
        DISTRIBUTION_PREFIX: Field(
            Kind.REAL,
            Extent.POSITION,
            Writer.STEP,
            "log probabilities of this number of likeliest ids in the previous step, for `kl(before)`",
        ),
    }
)

# A step reports events to the host; the next step does not read them.
EVENTS: Mapping[str, Event] = MappingProxyType(
    {
        NOT_FINITE: Event(
            Kind.MASK,
            Extent.POSITION,
            "masked positions with logits that are not finite; do not use what the step wrote in such a row",
        ),
        PHASE: Event(Kind.INT, Extent.ROW, "index of the phase that this step ran"),
        FINISHED: Event(Kind.BOOL, Extent.ROW, "a `finish` statement ended the row"),
        ACCEPTED: Event(
            Kind.BOOL,
            Extent.ROW,
            "the condition of `accept` holds wherever the draft writes in this window",
        ),
        UNMATCHED: Event(
            Kind.BOOL,
            Extent.ROW,
            "no text with the written ids matches the pattern; do not use what the step wrote in such a row",
        ),
    }
)


def state_field(state: str) -> str:
    """The field of a policy's state."""
    return f"{STATE_PREFIX}{state}"


def visits_field(phase: str) -> str:
    """The field that counts the visits of a phase."""
    return f"{VISITS_PREFIX}{phase}"


def before_field(index: int) -> str:
    """The field of one expression in `before(...)`."""
    return f"{BEFORE_PREFIX}{index}"


def distribution_field(keep: int | str) -> str:
    """The field of the log probabilities of `keep` ids, a number or the name of a parameter."""
    return f"{DISTRIBUTION_PREFIX}{keep}"


def field_of(name: str) -> Field:
    """The entry of a field of the state. Raises `KeyError` where the table has none."""
    if name in FIELDS:
        return FIELDS[name]
    for prefix, field in PREFIXES.items():
        if name.startswith(prefix) and len(name) > len(prefix):
            return field
    raise KeyError(name)
