"""Does every step commit something, so that decoding ends?

A step is only run while its window holds a mask, so it is enough that one commit surely selects one of the masks left.
Not here: how many forwards that makes (`facts`).
"""

from __future__ import annotations

from dataclasses import replace

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import WORDS, Kind
from .found import Found

Floor = int | syntax.Parameter
SELECTORS = ("top", "prefix")  # what they select lies in their first argument
TOP_ARGUMENTS = sum(not slot.named for slot in WORDS["top"].slots)
ALL = 10**9  # more than any window holds: everything that is left


def check(found: Found) -> tuple[Found, list[Diagnostic]]:
    """Fills `floor`; reports a policy of which a step can commit nothing."""
    commits = [s for s in found.policy.statements if isinstance(s, syntax.Commit)]
    if not commits:
        help_ = "add a line: `commit top(masked, 1, by=conf)`"
        return found, [Diagnostic("E0301", "this policy commits nothing, so decoding never ends", found.policy.identifier.span, help=help_)]
    floors = [_floor_of_commit(found, commit) for commit in commits]
    surest = max(floors, key=_smallest)
    if _smallest(surest) >= 1:
        return replace(found, floor=surest), []
    if any(commit.mask not in found.types or found.types[commit.mask].kind is not Kind.MASK for commit in commits):
        return found, []  # reported already as something that is no mask
    return found, [_may_hang(found, commits[-1])]


def _smallest(floor: Floor) -> int:
    """The least number a floor stands for, whatever value its parameter has."""
    if isinstance(floor, int):
        return floor
    if floor.range is None or floor.kind.text != "int":
        return 0
    return int(floor.range.first.value)


def _count(found: Found, expression: syntax.Expression) -> Floor:
    if isinstance(expression, syntax.Number) and isinstance(expression.value, int):
        return expression.value
    meaning = found.meanings.get(expression) if isinstance(expression, syntax.Name) else None
    if isinstance(meaning, syntax.Let):
        return _count(found, meaning.value)
    return meaning if isinstance(meaning, syntax.Parameter) else 0


def _lower(left: Floor, right: Floor) -> Floor:
    return left if _smallest(left) <= _smallest(right) else right


def _floor_of_commit(found: Found, commit: syntax.Commit) -> Floor:
    floor = _floor(found, commit.mask)
    if commit.at_least is not None:
        floor = max(floor, _count(found, commit.at_least.count), key=_smallest)
    if commit.at_most is not None:
        floor = _lower(floor, _count(found, commit.at_most.count))
    return floor


def _floor(found: Found, mask: syntax.Expression) -> Floor:
    """How many masks a selection surely holds while at least that many are left; 0 where nothing is sure."""
    match mask:
        case syntax.Name():
            meaning = found.meanings.get(mask)
            if isinstance(meaning, syntax.Let):
                return _floor(found, meaning.value)
            return ALL if mask.identifier == "masked" and meaning is None else 0
        case syntax.Disjunction():
            return max(_floor(found, mask.left), _floor(found, mask.right), key=_smallest)
        case syntax.Alternative():
            # Where the first selects something, that something must be masks to count.
            first = 1 if _only_masks(found, mask.left) else 0
            return max(_floor(found, mask.left), _lower(first, _floor(found, mask.right)), key=_smallest)
        case syntax.Conditional():
            return _lower(_floor(found, mask.then), _floor(found, mask.otherwise))
        case syntax.Call() if mask.function.text == "top" and len(mask.arguments) == TOP_ARGUMENTS:
            # A choice from a set that also holds written positions may pick only those.
            chosen_from = mask.arguments[0]
            sure = _floor(found, chosen_from) if _only_masks(found, chosen_from) else 0
            return _lower(sure, _count(found, mask.arguments[1]))
        case _:
            return 0


def _only_masks(found: Found, mask: syntax.Expression) -> bool:
    """Whether a selection surely holds no written position."""
    match mask:
        case syntax.Name():
            meaning = found.meanings.get(mask)
            # A name's value may have been taken before a commit of this step, which then made progress itself.
            return _only_masks(found, meaning.value) if isinstance(meaning, syntax.Let) else mask.identifier == "masked"
        case syntax.Conjunction():
            return _only_masks(found, mask.left) or _only_masks(found, mask.right)
        case syntax.Disjunction() | syntax.Alternative():
            return _only_masks(found, mask.left) and _only_masks(found, mask.right)
        case syntax.Conditional():
            return _only_masks(found, mask.then) and _only_masks(found, mask.otherwise)
        case syntax.Call() if mask.function.text in SELECTORS:
            return bool(mask.arguments) and _only_masks(found, mask.arguments[0])
        case _:
            return False


def _may_hang(found: Found, commit: syntax.Commit) -> Diagnostic:
    message = "a step of this policy can commit nothing, so decoding may never end"
    unsure = commit.mask
    while isinstance(unsure, syntax.Conjunction):
        unsure = unsure.left if _floor(found, unsure.left) == 0 else unsure.right
    label = f"no position is sure to pass `{unsure.span.text}`"
    help_ = "add `at least 1 by conf`: the best position is then always committed"
    loose = _parameter_without_range(found, commit)
    if loose is not None:
        name = loose.identifier.text
        label = f"`{name}` may be 0"
        help_ = f"give the parameter a range: `{name}: int = {max(1, int(loose.default.value))} in 1..65536`"
    elif commit.at_least is not None or commit.at_most is not None:
        help_ = "write `at least 1 by conf`, and let `at most` be 1 or more"
    return Diagnostic("E0301", message, commit.span, label, help_)


def _parameter_without_range(found: Found, commit: syntax.Commit) -> syntax.Parameter | None:
    """The int parameter that counts what is committed and may be 0, where that is the cause."""
    counts = [bound.count for bound in (commit.at_least, commit.at_most) if bound is not None]
    if isinstance(commit.mask, syntax.Call) and commit.mask.function.text == "top":
        counts += commit.mask.arguments[1:2]
    for count in counts:
        floor = _count(found, count)
        if isinstance(floor, syntax.Parameter) and _smallest(floor) < 1:
            return floor
    return None
