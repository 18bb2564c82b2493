"""The names of kinds in messages, the words without a value at some places, and the types of states and
conditions.

Not here: the types of expressions (`expression_types`), whether a value fits its place (`fitting`).
"""

from __future__ import annotations

from ..language import syntax
from ..language.words import (
    CONDITIONS,
    IDS,
    NUMBERS,
    STATE_KINDS,
    WORDS,
    Extent,
    Kind,
    Type,
)
from .resolved import UNKNOWN

DESCRIBED = {
    Kind.MASK: "a mask",
    Kind.BOOL: "a bool",
    Kind.INT: "an int",
    Kind.TOKEN: "an id",
    Kind.CHOICE: "a choice",
    Kind.TABLE: "a table",
    Kind.STEP_TABLE: "a table by step",
    Kind.PATTERN: "a pattern",
    Kind.NETWORK: "a network",
    Kind.GROUP: "runs",
    Kind.KERNEL: "a kernel",
    Kind.PREVIOUS: "the step before",
}
WANTED = {NUMBERS: "a number", CONDITIONS: "a condition", IDS: "an id"}
WANTED |= {frozenset({Kind.PATTERN}): "a parameter of kind `pattern`"}
WANTED |= {NUMBERS | CONDITIONS: "a number or a condition"}
WANTED |= {frozenset({Kind.GROUP, Kind.INT}): "`run(mask)`, or an int for each position,"}
WANTED |= {frozenset({Kind.KERNEL}): "`gaussian(sigma)`", frozenset({Kind.PREVIOUS}): "`before`"}
# Words that have no value before the first write of a step.
NOT_YET = frozenset(word.name for word in WORDS.values() if word.late)
# `before(x)` stores the value of x at the start of a step. These words have no value there, or a different
# one at each place of the policy.
NOT_BEFORE = NOT_YET | frozenset(word.name for word in WORDS.values() if word.within or word.random)


def describe(kind: Kind) -> str:
    """The name of a kind in messages."""
    return DESCRIBED.get(kind, f"a number ({kind})")


def of_condition(extent: Extent) -> Type:
    """The type of a condition."""
    return Type(Kind.MASK if extent is Extent.POSITION else Kind.BOOL, extent)


def of_state(state: syntax.StateDeclaration) -> Type:
    """The type of a state: one value for the row, or one for each position."""
    if state.kind.text not in STATE_KINDS:
        return UNKNOWN
    kind = Kind(state.kind.text)
    return Type(kind, Extent.POSITION if state.each or kind is Kind.MASK else Extent.ROW)
