"""Why does a selection have a position, or not: its rank, the size of the selection, and what else decides.

Not here: runs and distances (`geometry_reasons`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..ir.watched import GROUPS, MASK, PASSES, RANDOM, RANK, SCORE, WIDTH, WatchedPart
from ..language import syntax
from ..language.arithmetic import float32
from .expression_reasons import YES, ExpressionReasons
from .value_texts import number_text, text_of

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
        return False
    of = call.arguments[0]
    template = f"{text_of(call)} {YES[False]}: it selects from {text_of(of)} alone"
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
    return f"rank {{}}{where} by {text_of(by)} {{}}", [rank, why.text(score)]


def top(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`top`, `lowest` and `sample`: the first k of an order."""
    if outside(why, part, call, depth):
        return
    holds, count = why.holds(part), part_of(part, call.arguments[1])
    template, arguments = ranked(why, part, call)
    which = {"top": "the best", "lowest": "the lowest", "sample": "the first drawn"}[call.function.text]
    size = "not recorded" if count is None else why.text(count)
    template = f"{text_of(call)} {YES[holds]}: {template}, and {which} {{}} count"
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
    with why.elsewhere(first):
        why.grouped(condition, depth + 1)
    if holds:
        _selected_from(why, part, call, depth + 1)


def _first_failure(
    why: ExpressionReasons, part: WatchedPart, condition: WatchedPart | None
) -> int | None:
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
    by = "" if score is None else f"{text_of(score.node)} {{}}"
    template = f"{text_of(call)} {YES[holds]}"
    if holds:
        more, arguments, below = f"picked with {by}", texts, part_of(part, keyword(call, "while"))
    else:
        more, arguments, below = _not_picked(why, part, call, by, texts)
    if not why.line(depth, f"{template}: {more}", call, holds, True, *arguments):
        return
    if score is not None:
        why.number(score, depth + 1)
    if below is not None:
        why.grouped(below, depth + 1)


def _not_picked(
    why: ExpressionReasons, part: WatchedPart, call: syntax.Call, by: str, texts: list[str]
) -> tuple[str, list[str], WatchedPart | None]:
    """Why a position of the mask is no pick, and the condition that decides."""
    values, at = why.values, why.at or 0
    scores, picks = values.wide(part.named.get(SCORE)), values.chosen(part.operation)
    width = values.value(part.named.get(WIDTH), at)
    passes = part_of(part, keyword(call, "while"))
    near = min(picks, key=lambda pick: (abs(pick - at), pick), default=None)
    weak = text_of(call.function)
    if scores and not scores[at] > 0:
        return f"{by}, and `{weak}` picks only above 0", texts, None
    if near is not None and keyword(call, "gap") is not None and width is not None and abs(near - at) < width:
        arguments = [*texts, why.position(near), number_text(scores[near]), str(abs(near - at))]
        far = number_text(width)
        return f"{by}, but position {{}} was picked before with {{}}, {{}} away, nearer than {{}}", [
            *arguments,
            far,
        ], None
    if near is not None and keyword(call, "kernel") is not None and scores and width is not None:
        left = _weakened(scores, picks, float(width))
        texts = [*texts, number_text(left[at]), why.position(near), str(abs(near - at))]
        by += " falls to {} by the picks around it (the nearest is position {}, {} away)"
        if passes is not None and why.holds(passes) is False:
            return f"{by}; also `while` fails here", texts, passes
        return by + ", and others come before it", texts, None
    if passes is not None and why.holds(passes) is False:
        return f"{by}, and `while` fails here", texts, passes
    return f"{by}, and the picks end before it; picked: {{}}", [*texts, why.positions(picks)], None


def _weakened(scores: list[bool | int | float], picks: list[int], width: float) -> list[float]:
    """The scores after all picks: each one leaves the share 1 - exp(-d² / width²) at the distance d."""
    import math

    left = [float(score) for score in scores]
    for pick in picks:
        for at in range(len(left)):
            share = 1.0 if width == 0 else -math.expm1(-(((at - pick) / width) ** 2))
            left[at] = float32(left[at] * share)
    return left


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
