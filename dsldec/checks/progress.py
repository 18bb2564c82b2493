"""Does every step commit something, so that decoding ends?

A step is only run while its window holds a mask, so it is enough that one commit surely selects one of the masks left.
Not here: how many forwards that makes (`facts`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import WORDS, Kind, Place
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
    prover = _Prover(found)
    floors: list[Floor] = []
    for statement in found.policy.statements:
        if isinstance(statement, syntax.Let):
            prover.learn(statement)
        elif isinstance(statement, syntax.Commit):
            floors.append(prover.floor_of_commit(statement))
    surest = max(floors, key=_smallest)
    if _smallest(surest) >= 1:
        return replace(found, floor=surest), []
    if any(commit.mask not in found.types or found.types[commit.mask].kind is not Kind.MASK for commit in commits):
        return found, []  # reported already as something that is no mask
    return found, [prover.may_hang(commits[-1])]


def _smallest(floor: Floor) -> int:
    """The least number a floor stands for, whatever value its parameter has."""
    if isinstance(floor, int):
        return floor
    if floor.range is None or floor.kind.text != "int":
        return 0
    return int(floor.range.first.value)


def _lower(left: Floor, right: Floor) -> Floor:
    """A number that is below both, whatever values the parameters have."""
    if left is right or right == ALL:
        return left
    return right if left == ALL else min(_smallest(left), _smallest(right))


def _surer(left: Floor, right: Floor) -> Floor:
    """The one of two true floors that promises more."""
    return max(left, right, key=_smallest)


@dataclass(frozen=True, slots=True)
class _Sure:
    """What is known of a let's value: its floor and whether it holds masks alone (a mask), the number it stands for (a count)."""

    floor: Floor
    only_masks: bool
    count: Floor


class _Prover:
    """Reads the statements in order and remembers what is known of each let, so that no value is looked into twice."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.lets: dict[syntax.Let, _Sure] = {}

    def learn(self, let: syntax.Let) -> None:
        self.lets[let] = _Sure(self.floor(let.value), self.only_masks(let.value), self.count(let.value))

    def let(self, expression: syntax.Expression) -> _Sure | None:
        """What is known of a let's name."""
        meaning = self.found.meanings.get(expression) if isinstance(expression, syntax.Name) else None
        return self.lets.get(meaning) if isinstance(meaning, syntax.Let) else None

    def count(self, expression: syntax.Expression) -> Floor:
        if isinstance(expression, syntax.Number) and isinstance(expression.value, int):
            return expression.value
        if (known := self.let(expression)) is not None:
            return known.count
        meaning = self.found.meanings.get(expression) if isinstance(expression, syntax.Name) else None
        return meaning if isinstance(meaning, syntax.Parameter) else 0

    def floor_of_commit(self, commit: syntax.Commit) -> Floor:
        floor = self.floor(commit.mask)
        if commit.at_least is not None:
            floor = _surer(floor, self.count(commit.at_least.count))
        if commit.at_most is not None:
            floor = _lower(floor, self.count(commit.at_most.count))
        return floor

    def floor(self, mask: syntax.Expression) -> Floor:
        """How many masks a selection surely holds while at least that many are left; 0 where nothing is sure."""
        if (known := self.let(mask)) is not None:
            return known.floor
        match mask:
            case syntax.Name():
                return ALL if mask.identifier == "masked" else 0
            case syntax.Disjunction():
                return _surer(self.floor(mask.left), self.floor(mask.right))
            case syntax.Alternative():
                # Where the first selects something, that something must be masks to count.
                first = 1 if self.only_masks(mask.left) else 0
                return _surer(self.floor(mask.left), _lower(first, self.floor(mask.right)))
            case syntax.Conditional():
                return self.floor_of_either(mask)
            case syntax.Call() if mask.function.text == "top" and len(mask.arguments) == TOP_ARGUMENTS:
                # A choice from a set that also holds written positions may pick only those.
                chosen_from = mask.arguments[0]
                sure = self.floor(chosen_from) if self.only_masks(chosen_from) else 0
                return _lower(sure, self.count(mask.arguments[1]))
            case _:
                return 0

    def floor_of_either(self, mask: syntax.Conditional) -> Floor:
        lower = _lower(self.floor(mask.then), self.floor(mask.otherwise))
        condition = self.found.types.get(mask.condition)
        # A condition that differs from position to position mixes the two: each may lie where the other is taken.
        mixed = condition is None or condition.place is Place.POSITION
        return 0 if mixed and lower != ALL else lower

    def only_masks(self, mask: syntax.Expression) -> bool:
        """Whether a selection surely holds no written position."""
        # A let may have been given its value before a commit of this step; that commit then made progress itself.
        if (known := self.let(mask)) is not None:
            return known.only_masks
        match mask:
            case syntax.Name():
                return mask.identifier == "masked"
            case syntax.Conjunction():
                return self.only_masks(mask.left) or self.only_masks(mask.right)
            case syntax.Disjunction() | syntax.Alternative():
                return self.only_masks(mask.left) and self.only_masks(mask.right)
            case syntax.Conditional():
                return self.only_masks(mask.then) and self.only_masks(mask.otherwise)
            case syntax.Call() if mask.function.text in SELECTORS:
                return bool(mask.arguments) and self.only_masks(mask.arguments[0])
            case _:
                return False

    # --- saying so

    def may_hang(self, commit: syntax.Commit) -> Diagnostic:
        message = "a step of this policy can commit nothing, so decoding may never end"
        counts = [bound.count for bound in (commit.at_least, commit.at_most) if bound is not None]
        if isinstance(commit.mask, syntax.Call) and commit.mask.function.text == "top":
            counts += commit.mask.arguments[1:2]
        for count in counts:
            floor = self.count(count)
            if isinstance(floor, syntax.Parameter) and _smallest(floor) < 1:
                name, default = floor.identifier.text, max(1, int(floor.default.value))
                help_ = f"give the parameter a range: `{name}: int = {default} in 1..65536`"
                return Diagnostic("E0301", message, commit.span, f"`{name}` may be 0", help_)
            if isinstance(count, syntax.Number) and floor == 0:
                return Diagnostic("E0301", message, commit.span, "a count here is 0", "write 1 or more")
        unsure = commit.mask
        while isinstance(unsure, syntax.Conjunction):
            unsure = unsure.left if self.floor(unsure.left) == 0 else unsure.right
        help_ = "add `at least 1 by conf`: the best position is then always committed"
        if commit.at_most is not None and commit.at_least is None:
            help_ = f"write `at least 1 by conf` before `{commit.at_most.span.text}`: the best position is then always committed"
        elif commit.at_least is not None:
            help_ = "write `at least 1 by ...`: a plain number, or a parameter whose range begins at 1"
        return Diagnostic("E0301", message, commit.span, f"no position is sure to pass `{unsure.span.text}`", help_)
