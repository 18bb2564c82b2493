"""The lines of calls: which word has which lines, and the words that give one value for the row.

Not here: selections (`selection_reasons`), runs and distances (`geometry_reasons`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..ir.watched import GROUPS, LEFT, MASK, RIGHT, WatchedPart
from ..language import syntax
from ..language.words import Kind
from .expression_reasons import ExpressionReasons
from .geometry_reasons import GEOMETRY, run_around
from .line_writer import YES
from .selection_reasons import SELECTIONS, CallLines
from .value_texts import text_of


class CallReasons(ExpressionReasons):
    """Writes lines about the expressions of a step, calls included."""

    def condition_of_call(self, part: WatchedPart, call: syntax.Call, depth: int) -> None:
        CONDITIONS_OF_CALLS.get(call.function.text, _plain)(self, part, call, depth)

    def number_of_call(self, part: WatchedPart, call: syntax.Call, depth: int) -> None:
        if call.function.text in NUMBERS_OF_CALLS:
            NUMBERS_OF_CALLS[call.function.text](self, part, call, depth)
        else:
            _with_arguments(self, part, call, depth)


# --- conditions


def _plain(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    holds = why.holds(part)
    why.line(depth, f"{text_of(call)} {YES[holds]}", call, holds, True)


def _any(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`any`: the positions of the mask."""
    holds, places = why.holds(part), _members(why, part)
    text = f"{text_of(call)} {YES[holds]}"
    if places:
        why.line(depth, f"{text}: positions {{}}", call, holds, True, why.positions(places))
    else:
        why.line(depth, text, call, holds, True)


def _same(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`same(before)`: both tokens."""
    holds, text = why.holds(part), f"{text_of(call)} {YES[why.holds(part)]}"
    sides = [part.named.get(side) for side in (LEFT, RIGHT)]
    # An operation may have its sides in any order.
    sides.sort(key=lambda side: side is None or why.values.operation(side).attribute != "token")
    tokens = [why.values.value(side, why.at) for side in sides]
    if None in tokens:
        why.line(depth, text, call, holds, True)
    else:
        now, before = (why.id(token) for token in tokens)
        why.line(depth, f"{text}: the token is {{}}, in the step before {{}}", call, holds, True, now, before)


def _before(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`before(x)`: the value of x in the step before."""
    holds = why.holds(part)
    template = f"{text_of(call)} {YES[holds]}: as the step before began"
    why.line(depth, template, call, holds, True)


# --- numbers


def _members(why: ExpressionReasons, part: WatchedPart) -> list[int]:
    """The places of the mask that a call reduces: of the group of the position, if there are groups."""
    places = why.values.chosen(part.named.get(MASK))
    groups = why.values.wide(part.named.get(GROUPS))
    if groups and why.at is not None:
        own = groups[why.at]  # below 0 in no group
        return [at for at in places if own >= 0 and groups[at] == own]
    return places


def _reduction(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """A reduction: the number of positions, and which."""
    if MASK not in part.named:
        return _with_arguments(why, part, call, depth)
    places = _members(why, part)
    if not places:
        why.line(depth, f"{text_of(call)}: over no position", call, None, False)
        return
    arguments = why.positions(places), str(len(places))
    template = f"{text_of(call)}: over the positions {{}}, in all {{}}"
    why.line(depth, template, call, None, False, *arguments)


def _run_length(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`run_length`: the run."""
    mask = why.values.wide(part.named.get(MASK))
    if mask and why.at is not None and mask[why.at]:
        first, last = run_around(mask, why.at)
        template = f"{text_of(call)}: the run of positions {{}} to {{}}"
        why.line(depth, template, call, None, False, why.position(first), why.position(last))


def _distance(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`distance` and `density`: the positions of the mask."""
    places = why.values.chosen(part.named.get(MASK))
    if places and why.at is not None:
        at = why.at
        nearest = min(places, key=lambda place: (abs(place - at), place))
        template = f"{text_of(call)}: the nearest position is {{}}"
        why.line(depth, template, call, None, False, why.position(nearest))


def _with_arguments(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """The values of the arguments that have values."""
    known = [
        one
        for one in part.parts
        if why.value(one) is not None
        and why.kind(one) is not Kind.GROUP
        and not isinstance(one.node, syntax.Number | syntax.Boolean)
    ]
    if not known:
        return
    words = ", ".join(f"{text_of(one.node)} {{}}" for one in known)
    texts = [why.text(one) for one in known]
    if why.line(depth, f"{text_of(call)}: of {words}", call, None, False, *texts):
        for one in known:
            why.number(one, depth + 1)


def _nothing(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """The value says it all."""


CONDITIONS_OF_CALLS: Mapping[str, CallLines] = MappingProxyType(
    {**SELECTIONS, **GEOMETRY, "any": _any, "same": _same, "before": _before}
)
NUMBERS_OF_CALLS: Mapping[str, CallLines] = MappingProxyType(
    {
        **dict.fromkeys(
            ("sum", "mean", "quantile", "std", "min", "max", "count", "fraction", "run_count"), _reduction
        ),
        "run_length": _run_length,
        "distance": _distance,
        "density": _distance,
        **dict.fromkeys(("first", "last", "kl", "js", "random", "before", "run"), _nothing),
    }
)
