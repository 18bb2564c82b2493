"""Which kinds of values does a place of a half-written statement want, so that they are suggested first?

Not here: whether a value fits (`checks.fitting`); a place may take more kinds than it wants.
"""

from __future__ import annotations

from ..language.words import CONDITIONS, NUMBERS, Extent, Kind, Polarity, Type
from .hover import called
from .line_context import LineContext

# The kinds directly after the first word of a statement, and after a word inside of it.
AFTER_HEAD = {
    "commit": frozenset({Kind.MASK}),
    "revoke": frozenset({Kind.MASK}),
    "edit": frozenset({Kind.MASK}),
}
AFTER_WORD = {
    "when": CONDITIONS,
    "as": frozenset({Kind.TOKEN}),
    "least": frozenset({Kind.INT}),
    "most": frozenset({Kind.INT}),
    "and": CONDITIONS,
    "or": CONDITIONS,
    "orelse": frozenset({Kind.MASK}),
    "accept": CONDITIONS,
}
LAST = 4  # of a value that the place does not want


def expected_kinds(context: LineContext) -> frozenset[Kind]:
    """The kinds that the place wants; empty where any kind may follow."""
    if len(context.pieces) == 1:
        return AFTER_HEAD.get(context.head, frozenset())
    if (wanted := _of_argument(context)) is not None:
        return wanted
    wanted = AFTER_WORD.get(context.last, frozenset())
    both = wanted == CONDITIONS and context.head in AFTER_HEAD and not context.open
    return frozenset({Kind.MASK}) | NUMBERS if both else wanted


def _of_argument(context: LineContext) -> frozenset[Kind] | None:
    """The kinds of the argument that begins at the place; None elsewhere."""
    word = called(context)
    if word is None:
        return None
    begun = context.texts[context.argument_start :]
    if len(begun) == 2 and begun[1] == "=":
        slot = next((one for one in word.slots if one.name == begun[0]), None)
    elif not begun and context.argument < len(word.positional):
        slot = word.positional[context.argument]
    else:
        return None
    return slot.kinds if slot is not None else None


def ranks(context: LineContext) -> bool:
    """Whether the place wants a score."""
    return context.last == "by" or (context.last == "=" and context.texts[-2:-1] == ("by",))


def order_of(type_: Type | None, context: LineContext, *, declared: bool = False) -> int:
    """The order of a value among the suggestions, from 0: wanted kinds and scores first.

    `declared`: it is a name of the policy, which comes before words of the language.
    """
    if ranks(context):
        return _order_of_score(type_, context)
    wanted = expected_kinds(context)
    if not wanted:
        return 1 if declared else 2
    if type_ is None or type_.kind is Kind.UNKNOWN:
        return 2
    return (0 if declared else 1) if type_.kind in wanted else 3


def _order_of_score(type_: Type | None, context: LineContext) -> int:
    """Scores that rank the right way first; `revoke` takes scores that are low when sure."""
    if type_ is None or type_.kind not in NUMBERS or type_.extent is not Extent.POSITION:
        return LAST
    best = Polarity.LOW if context.head == "revoke" and context.last == "by" else Polarity.HIGH
    return 0 if type_.polarity is best else 1 if type_.polarity is Polarity.NONE else 2
