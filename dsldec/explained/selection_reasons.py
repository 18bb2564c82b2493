"""Why does a selection have a position, or not: its rank, the size of the selection, and what else decides.

Not here: runs and distances (`geometry_reasons`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..ir.watched import GROUPS, MASK, RANDOM, RANK, SCORE, WIDTH, WatchedPart
from ..language import syntax
from ..language.arithmetic import float32
from .expression_reasons import ExpressionReasons
from .line_writer import YES
from .number_reasons import with_value
from .part_values import PartValues
from .value_texts import number_text, text_of

NO_RANK = 0  # the rank of a position that is not in the order
MOST_PAIRS = 2**18  # of a position and a pick; a trace file may have very many
CallLines = Callable[[ExpressionReasons, WatchedPart, syntax.Call, int], None]


def part_of(part: WatchedPart, node: syntax.Node | None) -> WatchedPart | None:
    """The part that is an argument of a call."""
    return next((one for one in part.parts if one.node is node), None)


def keyword(call: syntax.Call, name: str) -> syntax.Expression | None:
    """The argument of a call with a name."""
    return next((one.value for one in call.keywords if one.identifier.text == name), None)


def outside(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> bool:
    """Whether a position is outside of the mask that a call selects from; then its lines are written."""
    if why.values.holds(part.named.get(MASK), why.at) is not False:
        if GROUPS not in part.named or why.values.value(part.named.get(RANK), why.at) != NO_RANK:
            return False
        template = f"{text_of(call)} {YES[False]}: the position is in no group"
        why.line(depth, template, call, False, True)
        return True
    of = call.arguments[0]
    template = f"{text_of(call)} {YES[False]}: the position is not in `{text_of(of)}`"
    mask = part_of(part, of)
    if why.line(depth, template, call, False, mask is None) and mask is not None:
        why.grouped(mask, depth + 1)
    return True


def ranked(why: ExpressionReasons, part: WatchedPart, call: syntax.Call) -> tuple[str, list[str]]:
    """The rank of a position and its score, as a part of a template."""
    by, where = keyword(call, "by"), " in its group" if GROUPS in part.named else ""
    rank = str(why.values.value(part.named.get(RANK), why.at))
    score = part_of(part, by)
    if by is None or score is None:
        return f"rank {{}}{where}", [rank]
    return f"rank {{}}{where} by {with_value(by)}", [rank, why.text(score)]


def top(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`top`, `lowest` and `sample`: the first k of an order."""
    if outside(why, part, call, depth):
        return
    holds, count = why.holds(part), part_of(part, call.arguments[1])
    template, arguments = ranked(why, part, call)
    which = {"top": "the best", "lowest": "the lowest", "sample": "the first drawn"}[call.function.text]
    size = "not recorded" if count is None else why.text(count)
    template = f"{text_of(call)} {YES[holds]}: {template}, and it chooses {which} {{}}"
    if why.line(depth, template, call, holds, True, *arguments, size):
        for one in (count, part_of(part, keyword(call, "by"))):
            if one is not None:
                why.number(one, depth + 1)
        _selected_from(why, part, call, depth + 1)


def _selected_from(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """The lines of the mask of a call, unless it is a word."""
    mask = part_of(part, call.arguments[0])
    if mask is None:
        return
    bound = why.values.resolved.bindings.get(mask.node) if isinstance(mask.node, syntax.Name) else None
    if not isinstance(mask.node, syntax.Name) or bound is not None:
        why.grouped(mask, depth)


def prefix(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`prefix`: the longest beginning of an order in which a condition holds."""
    if outside(why, part, call, depth) or why.at is None:
        return
    holds, condition = why.holds(part), part_of(part, keyword(call, "while"))
    template, arguments = ranked(why, part, call)
    own = None if condition is None else why.holds(condition)
    first = why.at if holds or not own else _first_failure(why, part, condition)
    template = f"{text_of(call)} {YES[holds]}: {template}"
    if holds:
        template += ", and `while` holds from the best one to it"
    elif first == why.at:
        template += ", and `while` fails here"
    elif first is not None:
        template += ", and `while` fails before it, at position {} with rank {}"
        arguments += [why.position(first), str(why.values.value(part.named.get(RANK), first))]
    if not why.line(depth, template, call, holds, True, *arguments) or condition is None or first is None:
        return
    place(why, condition, first, depth + 1)
    if holds:
        _selected_from(why, part, call, depth + 1)


def _first_failure(why: ExpressionReasons, part: WatchedPart, condition: WatchedPart | None) -> int | None:
    """The best position at which the condition fails, in the group of the position."""
    values, ranks = why.values, why.values.wide(part.named.get(RANK))
    groups = values.wide(part.named.get(GROUPS)) or [0] * values.length
    passes = values.wide(None if condition is None else condition.operation)
    if not ranks or not passes or why.at is None:
        return None
    failed = [
        at for at in values.chosen(part.named.get(MASK)) if not passes[at] and groups[at] == groups[why.at]
    ]
    return min(failed, key=lambda at: ranks[at], default=None)


# --- thin


def thin(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`thin`: picks one position after the other; each pick removes or weakens those around it."""
    if outside(why, part, call, depth) or why.at is None:
        return
    holds, score = why.holds(part), part_of(part, keyword(call, "by"))
    texts = [] if score is None else [why.text(score)]
    by = "" if score is None else with_value(score.node)
    template = f"{text_of(call)} {YES[holds]}"
    if holds:
        more, arguments, condition = f"picked with {by}", texts, part_of(part, keyword(call, "while"))
        below = None if condition is None else (condition, why.at)
    else:
        more, arguments, below = _not_picked(why, part, call, by, texts)
    if not why.line(depth, f"{template}: {more}", call, holds, True, *arguments):
        return
    if score is not None:
        why.number(score, depth + 1)
    if below is not None:
        place(why, *below, depth + 1)


def place(why: ExpressionReasons, part: WatchedPart, at: int, depth: int) -> None:
    """The lines of a condition at a place of the window, below a line that names it if it is another one."""
    if at == why.at:
        why.grouped(part, depth)
    elif why.lines.add(depth, "at position {}:", why.position(at), span=part.node.span):
        with why.elsewhere(at):
            why.grouped(part, depth + 1)


def _not_picked(
    why: ExpressionReasons, part: WatchedPart, call: syntax.Call, by: str, texts: list[str]
) -> tuple[str, list[str], tuple[WatchedPart, int] | None]:
    """Why a position of the mask is no pick, and the condition that decides, with its place."""
    values, at = why.values, why.at or 0
    scores, picks = values.wide(part.named.get(SCORE)), values.chosen(part.operation)
    width = values.value(part.named.get(WIDTH), at)
    if not scores or width is None:
        return by, texts, None
    if not scores[at] > 0:
        return f"{by}, and it picks only scores above 0", texts, None
    if len(values.chosen(part.named.get(MASK))) * len(picks) > MOST_PAIRS:
        return by, texts, None
    left, near = _left(part, values, call), min(picks, key=lambda pick: (abs(pick - at), pick), default=at)
    if at not in left:
        # Of the picks around it, the best one was the first, and removed it.
        around = [pick for pick in picks if abs(pick - at) < width]
        near = max(around, key=lambda pick: (scores[pick], -pick), default=near)
        arguments = [
            *texts,
            why.position(near),
            number_text(scores[near]),
            str(abs(near - at)),
            number_text(width),
        ]
        return f"{by}, but position {{}} was picked with {{}}, {{}} away, nearer than {{}}", arguments, None
    if picks and keyword(call, "kernel") is not None:
        by += " falls to {} by the picks around it, the nearest at {}"
        texts = [*texts, number_text(left[at]), why.position(near)]
    passes = part_of(part, keyword(call, "while"))
    if passes is not None and why.holds(passes) is False:
        return f"{by}, and `while` fails here", texts, (passes, at)
    named = values.operation(part.operation).attribute
    most = values.record.explained.parameters.get(named) if isinstance(named, str) else named
    if isinstance(most, int) and len(picks) >= most:
        return f"{by}, and all {{}} picks are better", [*texts, str(most)], None
    best = min(left, key=lambda place: (-left[place], place))
    if passes is None or values.holds(passes.operation, best) is not False:
        return f"{by}, and better positions are picked", texts, None
    template = f"{by}, but position {{}} comes first with {{}}, and `while` fails there"
    return template, [*texts, why.position(best), number_text(left[best])], (passes, best)


def _left(part: WatchedPart, values: PartValues, call: syntax.Call) -> dict[int, float]:
    """The positions that are no picks and that no pick has removed, with their scores after all picks."""
    if part.operation in values.left:  # every position of the step asks for them
        return values.left[part.operation]
    scores, picks = values.wide(part.named.get(SCORE)), values.chosen(part.operation)
    picked, width = values.wide(part.operation), float(values.value(part.named.get(WIDTH), 0) or 0)
    left = {at: float(scores[at]) for at in values.chosen(part.named.get(MASK)) if not picked[at]}
    for pick in picks:
        if keyword(call, "gap") is not None:
            left = {at: score for at, score in left.items() if not abs(at - pick) < width}
        else:
            left = {at: float32(score * _share(at - pick, width)) for at, score in left.items()}
    values.left[part.operation] = {at: score for at, score in left.items() if score > 0}
    return values.left[part.operation]


def _share(distance: int, width: float) -> float:
    """The share of a score that a pick at a distance leaves."""
    return 1.0 if width == 0 else -math.expm1(-((distance / width) ** 2))


def chance(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`chance`: each position with a probability."""
    if outside(why, part, call, depth):
        return
    holds, share = why.holds(part), part_of(part, call.arguments[1])
    drawn = why.values.value(part.named.get(RANDOM), why.at)
    if share is None or drawn is None:
        why.line(depth, f"{text_of(call)} {YES[holds]}", call, holds, True)
        return
    template = f"{text_of(call)} {YES[holds]}: the drawn number is {{}}, and must be below {{}}"
    if why.line(depth, template, call, holds, True, number_text(drawn), why.text(share)):
        why.number(share, depth + 1)


SELECTIONS: Mapping[str, CallLines] = MappingProxyType(
    {"top": top, "lowest": top, "sample": top, "prefix": prefix, "thin": thin, "chance": chance}
)
