"""How many masked positions does a step surely commit?

A step is only run while its window holds a mask, so it is enough that one commit surely selects one of the
masks left.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language import syntax
from ..language.arithmetic import float32
from ..language.words import NUMBERS, RANDOM_WORDS, WORDS, Extent, Kind
from .entailment import entailed_by_idle, inline_lets, is_word
from .resolved import Body, Resolved, walk
from .signs import may_wrap, never_negative

Floor = int | syntax.Parameter
SELECTORS = frozenset(word.name for word in WORDS.values() if word.selects)
# Selectors of a number of positions: `top(masked, k, by=conf)`.
CHOICES = frozenset(name for name in SELECTORS if any(slot.name == "k" for slot in WORDS[name].slots))
TOP_ARGUMENTS = len(WORDS["top"].positional)
# They have a number at every position, never below 0, and the same one all through a step.
STEADY_NUMBERS = frozenset(
    word.name
    for word in WORDS.values()
    if (word.observation or word.steady) and word.nonnegative and not word.slots and word.within is None
    if word.gives is not None and word.gives.extent is Extent.POSITION and word.gives.kind in NUMBERS
)
SMALLEST_SHARE = 1e-30  # a float32 holds it
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
    """What is known of a let's value: its floor and whether it holds masks alone (a mask), the number it
    stands for (a count).
    """

    floor: Floor
    only_masks: bool
    count: Floor


class Prover:
    """Reads the statements in order and remembers what is known of each let, so that no value is looked into
    twice.
    """

    def __init__(self, found: Resolved) -> None:
        self.found = found
        self.lets: dict[syntax.Let, _Sure] = {}

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
                case syntax.Fill() if entailed_by_idle(statement.condition, self.found.inlinable):
                    floors.append(1)  # either something was committed before, or everything is now
        return max(floors, key=smallest)

    def learn(self, let: syntax.Let) -> None:
        self.lets[let] = _Sure(self.floor(let.value), self.only_masks(let.value), self.count(let.value))

    def let(self, expression: syntax.Expression) -> _Sure | None:
        """What is known of a let's name."""
        meaning = self.found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        return self.lets.get(meaning) if isinstance(meaning, syntax.Let) else None

    def count(self, expression: syntax.Expression) -> Floor:
        if isinstance(expression, syntax.Number) and isinstance(expression.value, int):
            return expression.value
        if (known := self.let(expression)) is not None:
            return known.count
        if isinstance(expression, syntax.Conditional):
            return _lower(self.count(expression.then), self.count(expression.otherwise))
        if isinstance(expression, syntax.Arithmetic) and expression.operator == "+":
            is_int = self.found.type_of(expression).kind is Kind.INT
            is_sum = is_int and not may_wrap(expression, self.found)
            return (
                self.count(expression.right) if is_sum and never_negative(expression.left, self.found) else 0
            )
        meaning = self.found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        if isinstance(expression, syntax.Call) and not expression.keywords:
            return self.count_of_call(expression)
        return meaning if isinstance(meaning, syntax.Parameter) else 0

    def count_of_call(self, call: syntax.Call) -> Floor:
        """A number that the value of a word is surely not below, while masks are left."""
        word, inner = call.function.text, [self.count(argument) for argument in call.arguments]
        if not all(self.found.type_of(argument).kind in (Kind.INT, Kind.MASK) for argument in call.arguments):
            return 1 if word == "ceil" and self.is_share(call.arguments) else 0  # a real may have no value
        if word == "max" and len(inner) > 1:
            return _surer(*inner[:2])
        if word == "min" and len(inner) > 1:
            return _lower(*inner[:2])
        if word == "clamp" and len(inner) == len(WORDS["clamp"].positional):
            return _lower(_surer(inner[0], inner[1]), inner[2])
        if word == "count" and call.arguments and self.floor(call.arguments[0]) == ALL:
            return 1
        return 0

    def is_share(self, arguments: tuple[syntax.Expression, ...]) -> bool:
        """Whether this is `count(masked) / n` with n an int from 1 on, or `share * count(masked)`."""
        x = inline_lets(arguments[0], self.found.inlinable) if arguments else None
        if isinstance(x, syntax.Arithmetic) and x.operator == "*" and isinstance(x.left, syntax.Number):
            is_count = isinstance(x.right, syntax.Call) and x.right.function.text == "count"
            return is_count and x.left.value > SMALLEST_SHARE and smallest(self.count(x.right)) >= 1
        if (
            not isinstance(x, syntax.Arithmetic)
            or x.operator != "/"
            or self.found.type_of(x.right).kind is not Kind.INT
        ):
            return False
        counts = isinstance(x.left, syntax.Call) and x.left.function.text == "count"
        return counts and smallest(self.count(x.left)) >= 1 and smallest(self.count(x.right)) >= 1

    def positive(self, x: syntax.Expression) -> bool:
        """Whether a weight is surely above 0: a number written out, a parameter, or e to the power of
        something never below 0.
        """
        meaning = self.found.bindings.get(x) if isinstance(x, syntax.Name) else None
        match x:
            case syntax.Number():
                return float32(x.value) > 0
            case syntax.Call() if x.function.text == "exp" and len(x.arguments) == 1:
                return self.scaled_observation(x.arguments[0])  # of something negative it may round to 0
            case syntax.Name() if isinstance(meaning, syntax.Parameter):
                return meaning.range is not None and float32(meaning.range.first.value) > 0
            case _:
                return False

    def scaled_observation(self, x: syntax.Expression) -> bool:
        """Whether this is `conf`, `conf * c` or `conf / c` with c above 0 (or another observation): it has a
        value, from 0 on.
        """
        if isinstance(x, syntax.Arithmetic) and x.operator in ("*", "/"):
            return (
                is_observation(x.left, self.found)
                and not isinstance(x.right, syntax.Call)
                and self.positive(x.right)
            )
        return is_observation(x, self.found)

    def floor_of_commit(self, commit: syntax.Commit) -> Floor:
        if commit.ids is not None and not is_word(commit.ids, "token", self.found.bindings):
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
                return ALL if is_word(mask, "masked", self.found.bindings) else 0
            case syntax.Boolean():
                return ALL if mask.value else 0
            case syntax.Conjunction():
                return self.floor_of_both(mask)
            case syntax.Disjunction():
                return _surer(self.floor(mask.left), self.floor(mask.right))
            case syntax.Alternative():
                # Where the first selects something, that something must be masks to count.
                first = 1 if self.only_masks(mask.left) else 0
                return _surer(self.floor(mask.left), _lower(first, self.floor(mask.right)))
            case syntax.Conditional():
                return self.floor_of_either(mask)
            case syntax.Call() if mask.function.text in CHOICES and len(mask.arguments) == TOP_ARGUMENTS:
                return self.floor_of_choice(mask)
            case syntax.Call() if mask.function.text == "prefix":
                return self.floor_of_prefix(mask)
            case _:
                return 0

    def floor_of_both(self, mask: syntax.Conjunction) -> Floor:
        left, right = self.floor(mask.left), self.floor(mask.right)
        if left == ALL == right:
            return ALL  # both hold everything that is masked
        best = (left == ALL and self.holds_for_the_best(mask.right)) or (
            right == ALL and self.holds_for_the_best(mask.left)
        )
        return int(best)

    def holds_for_the_best(self, condition: syntax.Expression) -> bool:
        """Whether `x >= max(x)` or something weaker is asked for: what is best of all masks passes."""
        condition = inline_lets(condition, self.found.inlinable)
        if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
            return False
        (left, right), operator = condition.operands, condition.operators[0]
        ways = {
            ">=": ((right, left, "max", "-"), (left, right, "min", "+")),
            "<=": ((right, left, "min", "+"), (left, right, "max", "-")),
            "==": tuple(
                (bound, x, best, "") for bound, x in ((left, right), (right, left)) for best in ("min", "max")
            ),
        }
        return any(self.reaches(*way) for way in ways.get(operator, ()))

    def reaches(self, bound: syntax.Expression, x: syntax.Expression, best: str, eased: str) -> bool:
        """Whether a bound is the best x of all masks or eases that: `min(c, max(x) - 0.1)` is never above it."""
        bound = inline_lets(bound, self.found.inlinable)
        if not is_observation(x, self.found):
            return False  # it may have no value, or another one by now
        if isinstance(bound, syntax.Arithmetic) and bound.operator == "*" and best == "max" and eased:
            infinite = is_word(x, "logit_margin", self.found.bindings)  # 0 times that has no value
            return (
                not infinite
                and self.is_share_of_one(bound.left)
                and self.reaches(bound.right, x, best, eased)
            )
        if isinstance(bound, syntax.Arithmetic) and bound.operator == eased:
            return self.is_from_0_on(bound.right) and self.reaches(bound.left, x, best, eased)
        if not isinstance(bound, syntax.Call):
            return False
        eases = {"max": "min", "min": "max"}[best]
        if bound.function.text == {"min": "first", "max": "last"}[best] and len(bound.arguments) == 1:
            return is_word(x, "pos", self.found.bindings) and is_word(
                bound.arguments[0], "masked", self.found.bindings
            )
        if eased and bound.function.text == eases and len(bound.arguments) > 1:
            pairs = (bound.arguments[:2], bound.arguments[1::-1])
            return any(self.reaches(one, x, best, eased) and self.has_value(other) for one, other in pairs)
        over = [keyword.value for keyword in bound.keywords if keyword.identifier.text == "over"]
        everything = not over or is_word(over[0], "masked", self.found.bindings)
        return (
            bound.function.text == best
            and len(bound.arguments) == 1
            and everything
            and self.found.same_tree(bound.arguments[0], x)
        )

    def is_from_0_on(self, expression: syntax.Expression) -> bool:
        meaning = self.found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        if isinstance(meaning, syntax.Parameter):
            return meaning.kind.text == "prob" or (
                meaning.range is not None and meaning.range.first.value >= 0
            )
        return isinstance(expression, syntax.Number)

    def is_share_of_one(self, expression: syntax.Expression) -> bool:
        meaning = self.found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        if isinstance(meaning, syntax.Parameter):
            return meaning.kind.text == "prob"
        return isinstance(expression, syntax.Number) and expression.value <= 1

    def has_value(self, expression: syntax.Expression) -> bool:
        meaning = self.found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        return (
            isinstance(expression, syntax.Number)
            or isinstance(meaning, syntax.Parameter)
            or is_observation(expression, self.found)
        )

    def floor_of_choice(self, call: syntax.Call) -> Floor:
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        if "each" in named and not self.is_of_blocks(named["each"]) and not self.is_of_masks(named["each"]):
            return 0  # there may be no run
        if call.function.text == "sample" and not ("by" in named and self.positive(named["by"])):
            return 0  # what has no weight is never drawn
        # A choice from a set that also holds written positions may pick only those.
        chosen_from = call.arguments[0]
        sure = self.floor(chosen_from) if self.only_masks(chosen_from) else 0
        return _lower(sure, self.count(call.arguments[1]))

    def is_of_blocks(self, each: syntax.Expression) -> bool:
        """Whether this is `pos // n`: every position is in a group."""
        each = inline_lets(each, self.found.inlinable)
        divides = (
            isinstance(each, syntax.Arithmetic)
            and each.operator == "//"
            and is_word(each.left, "pos", self.found.bindings)
        )
        return divides and isinstance(each, syntax.Arithmetic) and smallest(self.count(each.right)) >= 1

    def is_of_masks(self, each: syntax.Expression) -> bool:
        """Whether this is `run(masked)`: every mask is in a run."""
        each = inline_lets(each, self.found.inlinable)
        is_run = isinstance(each, syntax.Call) and each.function.text == "run" and len(each.arguments) == 1
        return (
            is_run
            and isinstance(each, syntax.Call)
            and is_word(each.arguments[0], "masked", self.found.bindings)
        )

    def holds_first(self, condition: syntax.Expression) -> bool:
        """Whether a `while` surely holds for the best position: `rank <= 2`, or one of several."""
        condition = inline_lets(condition, self.found.inlinable)
        if isinstance(condition, syntax.Disjunction):
            return self.holds_first(condition.left) or self.holds_first(condition.right)
        if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
            return False
        (left, right), operator = condition.operands, condition.operators[0]
        if not is_word(left, "rank", self.found.bindings):
            return False
        if operator == "==":
            return isinstance(right, syntax.Number) and right.value == 1
        return (operator == "<=" and smallest(self.count(right)) >= 1) or (
            operator == "<" and smallest(self.count(right)) > 1
        )

    def floor_of_prefix(self, call: syntax.Call) -> Floor:
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        source = call.arguments[0] if call.arguments else None
        if source is None or "each" in named or "while" not in named or not self.only_masks(source):
            return 0
        return 1 if smallest(self.floor(source)) >= 1 and self.holds_first(named["while"]) else 0

    def floor_if(self, mask: syntax.Expression, condition: syntax.Expression) -> Floor:
        """The floor of a mask where a condition such as `any(mask)` or `count(mask) > 1` holds."""
        more: Floor = 0
        if any(isinstance(part, syntax.Call) and part.function.text in RANDOM_WORDS for part in walk(mask)):
            return self.floor(mask)  # each place draws its own
        if isinstance(condition, syntax.Comparison) and condition.operators in ((">",), (">=",)):
            left, right = condition.operands
            strict = condition.operators[0] == ">"
            if self.is_of(left, "count", mask) and isinstance(right, syntax.Number):
                more = int(right.value) + strict
        elif self.is_of(condition, "any", mask):
            more = 1
        return _surer(self.floor(mask), more if self.only_masks(mask) else 0)

    def is_of(self, expression: syntax.Expression, word: str, mask: syntax.Expression) -> bool:
        is_word = (
            isinstance(expression, syntax.Call)
            and expression.function.text == word
            and len(expression.arguments) == 1
        )
        return (
            is_word
            and isinstance(expression, syntax.Call)
            and self.found.same_tree(expression.arguments[0], mask)
        )

    def floor_of_either(self, mask: syntax.Conditional) -> Floor:
        lower = _lower(self.floor_if(mask.then, mask.condition), self.floor(mask.otherwise))
        condition = self.found.types.get(mask.condition)
        # A condition that differs from position to position mixes the two: each may lie where the other is
        # taken.
        mixed = condition is None or condition.extent is Extent.POSITION
        return 0 if mixed and lower != ALL else lower

    def only_masks(self, mask: syntax.Expression) -> bool:
        """Whether a selection surely holds no written position."""
        # A let may have been given its value before a commit of this step; that commit then made progress
        # itself.
        if (known := self.let(mask)) is not None:
            return known.only_masks
        match mask:
            case syntax.Name():
                return is_word(mask, "masked", self.found.bindings)
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


def is_observation(expression: syntax.Expression, found: Resolved) -> bool:
    """Whether this is a word that has a value at every position, the same all through a step."""
    return any(is_word(expression, word, found.bindings) for word in STEADY_NUMBERS)
