"""Why do masks of runs and distances have a position, or not: the run, the gap, the nearest position.

Not here: selections by a score (`selection_reasons`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ..ir.watched import DISTANCE, LEFT, MASK, OFFSET, RIGHT, TRIM, WatchedPart
from ..language import syntax
from .expression_reasons import ExpressionReasons
from .line_writer import YES
from .selection_reasons import CallLines, keyword, outside, part_of, place
from .value_texts import number_text, text_of


def run_around(mask: Sequence[object], at: int) -> tuple[int, int]:
    """The first and the last place of the run that has a place."""
    first = last = at
    while first > 0 and mask[first - 1]:
        first -= 1
    while last + 1 < len(mask) and mask[last + 1]:
        last += 1
    return first, last


def dilate(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`dilate`: the distance to the nearest position."""
    holds, most = why.holds(part), part_of(part, call.arguments[1])
    distance = why.values.value(part.named.get(DISTANCE), why.at)
    if distance is None or most is None:
        why.line(depth, f"{text_of(call)} {YES[holds]}", call, holds, True)
    elif distance != distance:
        template = f"{text_of(call)} {YES[holds]}: {text_of(call.arguments[0])} has no position"
        why.line(depth, template, call, holds, True)
    else:
        template = f"{text_of(call)} {YES[holds]}: the nearest position is {{}} away, and {{}} is the most"
        if why.line(depth, template, call, holds, True, number_text(distance), why.text(most)):
            why.number(most, depth + 1)


def runs_holding(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`runs_holding`: the runs with a position of another mask."""
    if outside(why, part, call, depth) or why.at is None:
        return
    holds = why.holds(part)
    mask, seeds = why.values.wide(part.named.get(MASK)), why.values.chosen(part.named.get(LEFT))
    first, last = run_around(mask, why.at) if mask else (why.at, why.at)
    held = [seed for seed in seeds if first <= seed <= last]
    arguments = [why.position(first), why.position(last)]
    template = f"{text_of(call)} {YES[holds]}: its run, positions {{}} to {{}}, "
    seed = text_of(call.arguments[1])
    if held:
        template += f"has positions of {seed}: {{}}"
        arguments.append(why.positions(held))
    else:
        template += f"has no position of {seed}"
    why.line(depth, template, call, holds, True, *arguments)


def trim(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`trim`: runs whose ends are cut back."""
    if outside(why, part, call, depth) or why.at is None:
        return
    holds, to = why.holds(part), part_of(part, keyword(call, "to"))
    mask, kept = why.values.wide(part.named.get(MASK)), why.values.chosen(part.named.get(TRIM))
    first, last = run_around(mask, why.at) if mask else (why.at, why.at)
    ends = [at for at in kept if first <= at <= last]
    template = f"{text_of(call)} {YES[holds]}: its run, positions {{}} to {{}}, "
    arguments = [why.position(first), why.position(last)]
    if ends:
        template += "is cut back to positions {} to {}"
        arguments += [why.position(ends[0]), why.position(ends[-1])]
    else:
        template += f"has no position of {text_of(to.node) if to else 'the other mask'}"
    if why.line(depth, template, call, holds, True, *arguments) and holds is False and to is not None:
        why.grouped(to, depth + 1)


def shift(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`shift`: the value of another position."""
    holds, of, by = why.holds(part), part_of(part, call.arguments[0]), part_of(part, call.arguments[1])
    moved = None if by is None else why.value(by)
    source = None if moved is None or why.at is None else why.at - int(moved)
    if source is None or of is None:
        why.line(depth, f"{text_of(call)} {YES[holds]}", call, holds, True)
    elif not 0 <= source < why.values.length:
        template = f"{text_of(call)} {YES[holds]}: position {{}} is outside of the window"
        why.line(depth, template, call, holds, True, why.position(source))
    else:
        template = f"{text_of(call)} {YES[holds]}: the value of position {{}}"
        if why.line(depth, template, call, holds, False, why.position(source)):
            with why.elsewhere(source):
                why.grouped(of, depth + 1)


# --- grow


def grow(why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int) -> None:
    """`grow`: every run walks to both sides over other masks, across gaps."""
    holds, at = why.holds(part), why.at
    seeds = why.values.wide(part.named.get(MASK))
    of = part_of(part, call.arguments[0])
    text = f"{text_of(call)} {YES[holds]}"
    if at is None or not seeds:
        why.line(depth, text, call, holds, True)
    elif holds and seeds[at]:
        grown = text_of(call.arguments[0])
        if why.line(depth, f"{text}: it is in {grown} already", call, holds, False) and of is not None:
            why.grouped(of, depth + 1)
    elif holds:
        first, last = run_around(why.values.wide(part.operation), at)
        arguments = (
            why.position(first),
            why.position(last),
            why.positions([i for i in range(first, last + 1) if seeds[i]]),
        )
        template = f"{text}: the run that grew is now positions {{}} to {{}}, from {{}}"
        if why.line(depth, template, call, holds, True, *arguments):
            _walked_over(why, part, call, depth + 1, at)
    else:
        _not_reached(why, part, call, depth, seeds)


def _not_reached(
    why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int, seeds: list[bool | int | float]
) -> None:
    at, text = why.at or 0, f"{text_of(call)} {YES[False]}"
    runs = [place for place, held in enumerate(seeds) if held]
    if not runs:
        why.line(
            depth, f"{text}: {text_of(call.arguments[0])} has no position to grow from", call, False, True
        )
        return
    nearest = min(runs, key=lambda place: (abs(place - at), place))
    first, last = run_around(seeds, nearest)
    step = 1 if at > nearest else -1
    over = why.values.wide(part.named.get(RIGHT if step > 0 else LEFT))
    gap = int(why.values.value(part.named.get(OFFSET), at) or 0)
    ends, missed = _walk(over, nearest, at, step, gap)
    run = [why.position(first), why.position(last)]
    if missed is None:
        template = f"{text}: the run of positions {{}} to {{}} is cut back, or another run is in its way"
        why.line(depth, template, call, False, True, *run)
        return
    template = f"{text}: the run of positions {{}} to {{}} grows to position {{}}, and crosses at most {{}} misses in a row"
    if why.line(depth, template, call, False, True, *run, why.position(ends), str(gap)):
        _walked_over(why, part, call, depth + 1, missed, left=step < 0)


def _walk(over: Sequence[object], begin: int, to: int, step: int, gap: int) -> tuple[int, int | None]:
    """The place at which a walk ends, and the place that decides: `to` if the walk misses it, else the first
    place behind the end; `None` if the walk arrives.
    """
    ends, missed = begin, 0
    for at in range(begin + step, to + step, step):
        passes = bool(over and over[at])
        ends, missed = (at, 0) if passes else (ends, missed + 1)
        if missed > gap:
            return ends, ends + step if over and over[to] else to
    return ends, None if ends == to else to


def _walked_over(
    why: ExpressionReasons, part: WatchedPart, call: syntax.Call, depth: int, at: int, left: bool = False
) -> None:
    """The mask that a run walks over, at a place."""
    right = keyword(call, "right")
    over = part_of(part, keyword(call, "over") if left or right is None else right)
    if over is None or why.values.holds(over.operation, at) is None:
        return
    place(why, over, at, depth)


GEOMETRY: Mapping[str, CallLines] = MappingProxyType(
    {"dilate": dilate, "runs_holding": runs_holding, "trim": trim, "shift": shift, "grow": grow}
)
