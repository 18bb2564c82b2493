"""How many masked positions does a step surely commit?

A step is only run while its window holds a mask, so it is enough that one commit surely selects one of the masks left.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language import syntax
from ..language.words import WORDS, Place
from .found import Body, Found, statements
from .implied import is_word

Floor = int | syntax.Parameter
SELECTORS = ("top", "prefix", "thin", "sample", "chance")  # what they select lies in their first argument
TOP_ARGUMENTS = sum(not slot.named for slot in WORDS["top"].slots)
ALL = 10**9  # more than any window holds: everything that is left


def smallest(floor: Floor) -> int:
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
    return right if left == ALL else min(smallest(left), smallest(right))


def _surer(left: Floor, right: Floor) -> Floor:
    """The one of two true floors that promises more."""
    return max(left, right, key=smallest)


@dataclass(frozen=True, slots=True)
class _Sure:
    """What is known of a let's value: its floor and whether it holds masks alone (a mask), the number it stands for (a count)."""

    floor: Floor
    only_masks: bool
    count: Floor


def keeps_schedules(policy: syntax.Policy) -> bool:
    """Whether `even`, `linear` and `cosine` come to an end: nothing is masked again, and the window stays where it is."""
    slides = any(isinstance(s, syntax.Window) and s.shape.span.text.startswith("sliding") for s in policy.statements)
    return not slides and not any(isinstance(s, syntax.Revoke) for s in statements(policy))


class Prover:
    """Reads the statements in order and remembers what is known of each let, so that no value is looked into twice."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.lets: dict[syntax.Let, _Sure] = {}
        self.schedules = keeps_schedules(found.policy)

    def read(self, body: Body) -> Floor:
        """The floor of a phase's steps: that of the commit that promises most."""
        floors: list[Floor] = [0]
        for statement in body.statements:
            match statement:
                case syntax.Let():
                    self.learn(statement)
                case syntax.Commit():
                    floors.append(self.floor_of_commit(statement))
                case syntax.Fill() if statement.condition is None:
                    floors.append(ALL)
        return max(floors, key=smallest)

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
        if isinstance(expression, syntax.Call) and not expression.keywords:
            return self.count_of_call(expression)
        return meaning if isinstance(meaning, syntax.Parameter) else 0

    def count_of_call(self, call: syntax.Call) -> Floor:
        """A number that the value of `min`, `max` or `even` is surely not below."""
        word, inner = call.function.text, [self.count(argument) for argument in call.arguments]
        if word == "max" and len(inner) > 1:
            return _surer(*inner[:2])
        if word == "min" and len(inner) > 1:
            return _lower(*inner[:2])
        # The shares fall from step to step and their sum is all masks: while one is left, this step's share is not 0.
        return 1 if word == "even" and self.schedules and inner and smallest(inner[0]) >= 1 else 0

    def floor_of_commit(self, commit: syntax.Commit) -> Floor:
        if commit.ids is not None and not is_word(commit.ids, "token", self.found.meanings):
            return 0  # MASK or no id at all may stand there, and is not written
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
                return ALL if is_word(mask, "masked", self.found.meanings) else 0
            case syntax.Boolean():
                return ALL if mask.value else 0
            case syntax.Conjunction() if self.floor(mask.left) == ALL == self.floor(mask.right):
                return ALL  # both hold everything that is masked
            case syntax.Disjunction():
                return _surer(self.floor(mask.left), self.floor(mask.right))
            case syntax.Alternative():
                # Where the first selects something, that something must be masks to count.
                first = 1 if self.only_masks(mask.left) else 0
                return _surer(self.floor(mask.left), _lower(first, self.floor(mask.right)))
            case syntax.Conditional():
                return self.floor_of_either(mask)
            case syntax.Call() if mask.function.text == "top" and len(mask.arguments) == TOP_ARGUMENTS:
                if any(keyword.identifier.text == "each" for keyword in mask.keywords):
                    return 0  # there may be no run
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
                return is_word(mask, "masked", self.found.meanings)
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
