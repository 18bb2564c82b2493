"""Between which two numbers does the value of an expression lie?

The range of a state holds at every step: it contains the start value, and every value that a `set` gives.
Not here: the arithmetic of ranges (`ranges`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..language import syntax
from ..language.arithmetic import ARITHMETIC, float32
from ..language.limits import LARGEST_INT, MOST_BRANCHES
from ..language.statement_words import MOST_POSITIONS
from ..language.walk import statements
from ..language.words import CONDITIONS, ELEMENTWISE_WORDS, NUMBERS, WORDS, Kind, Word
from .entailment import inline_lets
from .ranges import (
    ANY_INT,
    ANY_REAL,
    LARGEST_SLOW,
    OPERATIONS,
    NumberRange,
    alike,
    as_real,
    exactly,
    hull,
    ints,
    negate,
    widened,
)
from .resolved import Resolved

# Numbers of positions.
OF_POSITIONS = frozenset({"count", "run_count", "run_length", "rank"})
SHARES = frozenset({"progress", "fraction", "random"})
OVER_A_MASK = frozenset({"mean", "min", "max"})
# A state that grows by no more than this in a `set` does not overflow in any run.
SLOW = MOST_POSITIONS
EXACT_ROUNDS = 3  # of the search for invariants, before ranges are widened
MOST_ROUNDS = 40

Known = Mapping[str, NumberRange]


@dataclass(slots=True)
class ExpressionRanges:
    """The ranges of the expressions of a policy.

    `masks_left`: whether a mask has a position, in the steps in question. `states`: the range of each
    state by its name.
    """

    resolved: Resolved
    masks_left: Callable[[syntax.Expression], bool] = lambda mask: False
    states: Known = field(default_factory=dict)
    _found: dict[syntax.Expression, NumberRange] = field(default_factory=dict)
    _truths: dict[syntax.Expression, bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # In their order, so that no chain of names leads deep into a recursion.
        for statement in statements(self.resolved.policy):
            if isinstance(statement, syntax.Let):
                kind = self.resolved.type_of(statement.value).kind
                if kind in NUMBERS:
                    self.of(statement.value)
                elif kind in CONDITIONS:
                    self.truth(statement.value)

    def of(self, expression: syntax.Expression, known: Known | None = None) -> NumberRange:
        """The range of a number. `known`: narrower ranges of names, under a condition that holds."""
        if known:
            return self._computed(expression, known)
        if expression not in self._found:
            self._found[expression] = self._computed(expression, {})
        return self._found[expression]

    def _computed(self, expression: syntax.Expression, known: Known) -> NumberRange:
        if isinstance(expression, syntax.Number):
            value = expression.value
            return exactly(value if isinstance(value, int) else float32(value))
        if isinstance(expression, syntax.Name):
            return self._of_name(expression, known)
        if isinstance(expression, syntax.Negation):
            return negate(self.of(expression.operand, known))
        if isinstance(expression, syntax.Arithmetic):
            return self._of_arithmetic(expression, known)
        if isinstance(expression, syntax.Conditional):
            return self._of_conditional(expression, known)
        if isinstance(expression, syntax.Call):
            return self._of_call(expression, known)
        return ANY_REAL

    def _of_conditional(self, expression: syntax.Conditional, known: Known) -> NumberRange:
        truth = self.truth(expression.condition, known)
        then = self.of(expression.then, self._under(expression.condition, known, True))
        otherwise = self.of(expression.otherwise, self._under(expression.condition, known, False))
        if truth is None:
            return then.joined(otherwise)
        then, otherwise = alike(then, otherwise)
        return then if truth else otherwise

    def any_of(self, kind: Kind) -> NumberRange:
        return ANY_INT if kind is Kind.INT else ANY_REAL

    def _of_name(self, name: syntax.Name, known: Known) -> NumberRange:
        if name.identifier in known:
            return known[name.identifier]
        kind = self.resolved.type_of(name).kind
        binding = self.resolved.bindings.get(name)
        if isinstance(binding, syntax.Parameter):
            return _of_parameter(binding)
        if isinstance(binding, syntax.StateDeclaration):
            return self.states.get(name.identifier, self.any_of(kind))
        if isinstance(binding, syntax.Branch):
            return ints(0, MOST_BRANCHES - 1)
        if isinstance(binding, syntax.Let):
            return self.of(binding.value) if name in self.resolved.inlinable else self.any_of(kind)
        if isinstance(binding, syntax.Branch):
            return ints(0, MOST_BRANCHES - 1)
        word = WORDS.get(name.identifier)
        return self.any_of(kind) if word is None else _of_word(word, kind)

    def _of_arithmetic(self, expression: syntax.Arithmetic, known: Known) -> NumberRange:
        left, right = self.of(expression.left, known), self.of(expression.right, known)
        operation = OPERATIONS.get(ARITHMETIC[expression.operator])
        if operation is None:
            return ANY_REAL
        if self._is_slow(expression, known):
            less = right if expression.operator == "+" else negate(right)
            low, high = int(left.low + less.low), int(left.high + less.high)
            return NumberRange(max(low, -LARGEST_SLOW), min(high, LARGEST_SLOW), integer=True)
        found: NumberRange = operation(left, right)
        return found

    def _is_slow(self, expression: syntax.Expression, known: Known) -> bool:
        """Whether this is a state that grows slowly, or one plus or minus small ints."""
        expression = inline_lets(expression, self.resolved.inlinable)
        if isinstance(expression, syntax.Name):
            is_state = isinstance(self.resolved.bindings.get(expression), syntax.StateDeclaration)
            return is_state and _is_int_within(self.of(expression, known), LARGEST_SLOW)
        if not isinstance(expression, syntax.Arithmetic) or expression.operator not in ("+", "-"):
            return False
        left, right = expression.left, expression.right
        if self._is_slow(left, known) and _is_int_within(self.of(right, known), SLOW):
            return True
        swapped = expression.operator == "+" and _is_int_within(self.of(left, known), SLOW)
        return swapped and self._is_slow(right, known)

    def _of_call(self, call: syntax.Call, known: Known) -> NumberRange:
        word, kind = call.function.text, self.resolved.type_of(call).kind
        arguments = call.arguments
        if word == "clamp" and len(arguments) == 3:
            x, least, most = (self.of(one, known) for one in arguments)
            return _computed("minimum", _computed("maximum", x, least), most)
        if word in ELEMENTWISE_WORDS and not call.keywords:
            fit = len(WORDS[word].elementwise or WORDS[word].slots)
            if len(arguments) == fit and ELEMENTWISE_WORDS[word] in OPERATIONS:
                return _computed(ELEMENTWISE_WORDS[word], *(self.of(one, known) for one in arguments))
        whole = (
            word == "count" and len(arguments) == 1 and not call.keywords
        )  # `each=`: a group may have none
        if whole and self.masks_left(arguments[0]):
            return ints(1, MOST_POSITIONS)
        if word in OVER_A_MASK and len(arguments) == 1:
            x = self.of(arguments[0])  # of other positions too, where no condition is known to hold
            return NumberRange(x.low, x.high, gap=True)  # an empty mask gives no value
        if word in ("sum", "cumsum") and len(arguments) == 1:
            most = _computed("multiply", self.of(arguments[0]), ints(0, MOST_POSITIONS))
            return NumberRange(most.low, most.high, most.integer, gap=not most.integer)
        if word == "cummax" and len(arguments) == 1:
            return self.of(arguments[0])
        return self.any_of(kind) if word not in WORDS else _of_word(WORDS[word], kind)

    # --- conditions

    def truth(self, condition: syntax.Expression, known: Known | None = None) -> bool | None:
        """Whether a condition is always true, or always false; `None` if it may be either."""
        if known:
            return self._truth(condition, known)
        if condition not in self._truths:
            self._truths[condition] = self._truth(condition, {})
        return self._truths[condition]

    def _truth(self, condition: syntax.Expression, known: Known) -> bool | None:
        if isinstance(condition, syntax.Boolean):
            return condition.value
        if isinstance(condition, syntax.Name):
            binding = self.resolved.inlinable.get(condition)
            return self.truth(binding.value) if isinstance(binding, syntax.Let) else None
        if isinstance(condition, syntax.Inversion):
            inner = self.truth(condition.operand, known)
            return None if inner is None else not inner
        if isinstance(condition, syntax.Conjunction | syntax.Disjunction):
            sides = {self.truth(condition.left, known), self.truth(condition.right, known)}
            decides = isinstance(condition, syntax.Disjunction)
            if decides in sides:
                return decides
            return None if None in sides else not decides
        if isinstance(condition, syntax.Comparison):
            return self._truth_of_comparison(condition, known)
        return None

    def _truth_of_comparison(self, condition: syntax.Comparison, known: Known) -> bool | None:
        if any(self.resolved.type_of(one).kind not in NUMBERS for one in condition.operands):
            return None
        ranges = [self.of(one, known) for one in condition.operands]
        pairs = zip(condition.operators, ranges, ranges[1:], strict=False)
        truths = {compared(operator, a, b) for operator, a, b in pairs}
        if False in truths:
            return False
        return True if truths == {True} else None

    def _under(self, condition: syntax.Expression, known: Known, holds: bool) -> Known:
        """Narrower ranges of names where a condition holds, or where it does not."""
        if isinstance(condition, syntax.Inversion):
            return self._under(condition.operand, known, not holds)
        both = syntax.Conjunction if holds else syntax.Disjunction
        if isinstance(condition, both):
            return self._under(condition.right, self._under(condition.left, known, holds), holds)
        if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
            return known
        (left, right), operator = condition.operands, condition.operators[0]
        if not holds:
            operator = OPPOSITE[operator]
        for name, bound, way in ((left, right, operator), (right, left, MIRRORED[operator])):
            known = self._narrowed(name, way, bound, known)
        return known

    def _narrowed(
        self, name: syntax.Expression, operator: str, bound: syntax.Expression, known: Known
    ) -> Known:
        if not isinstance(name, syntax.Name):
            return known
        now, limit = self.of(name, known), self.of(bound, known)
        if not (now.integer and limit.integer):
            return known  # a real may have no value, and then a comparison and its opposite are both false
        low, high = {
            "<": (now.low, limit.high - 1),
            "<=": (now.low, limit.high),
            ">": (limit.low + 1, now.high),
            ">=": (limit.low, now.high),
            "==": (limit.low, limit.high),
            "!=": (now.low, now.high),
        }[operator]
        return {**known, name.identifier: now.within(low, high)}


OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def compared(operator: str, a: NumberRange, b: NumberRange) -> bool | None:
    """Whether a comparison holds for all numbers of two ranges, or for none; `None` otherwise."""
    a, b = alike(a, b)
    if operator in (">", ">="):
        return compared(MIRRORED[operator], b, a)
    if operator == "!=":
        equal = compared("==", a, b)
        return None if equal is None or (not equal and (a.gap or b.gap)) else not equal
    if operator == "==":
        if a.high < b.low or b.high < a.low:
            return False
        same = a.low == a.high == b.low == b.high
        return True if same and not (a.gap or b.gap) else None
    strict = operator == "<"
    if a.low > b.high or (strict and a.low == b.high):
        return False
    surely = a.high < b.low or (not strict and a.high == b.low)
    return True if surely and not (a.gap or b.gap) else None


def _is_int_within(x: NumberRange, most: int) -> bool:
    return x.integer and -most <= x.low and x.high <= most


def _computed(name: str, *given: NumberRange) -> NumberRange:
    found: NumberRange = OPERATIONS[name](*given)
    return found


def _of_parameter(parameter: syntax.Parameter) -> NumberRange:
    is_int = parameter.kind.text == "int"
    if parameter.range is not None:
        first, last = parameter.range.first.value, parameter.range.last.value
        if is_int:
            return ints(int(first), int(last))
        return NumberRange(float32(first), float32(last))
    if parameter.kind.text == "prob":
        return NumberRange(0.0, 1.0)
    return ints(-LARGEST_INT, LARGEST_INT) if is_int else ANY_REAL


def _of_word(word: Word, kind: Kind) -> NumberRange:
    if word.name in OF_POSITIONS or word.schedule is not None:
        return ints(int(word.name == "rank"), MOST_POSITIONS)
    if word.nonnegative and kind is Kind.INT:
        return ints(0, LARGEST_INT)
    if word.name in SHARES or (word.observation and kind is Kind.PROB):
        return NumberRange(0.0, 1.0)
    if word.nonnegative and kind in NUMBERS:
        return NumberRange(0.0, math.inf, gap=not word.observation)
    return ANY_INT if kind is Kind.INT else ANY_REAL


def state_ranges(resolved: Resolved) -> Known:
    """The range of each state of numbers, at all times."""
    if "states" not in resolved.proofs:
        resolved.proofs["states"] = _state_ranges(resolved)
    known: Known = resolved.proofs["states"]
    return known


def _state_ranges(resolved: Resolved) -> Known:
    kinds = {name: Kind(state.kind.text) for name, state in resolved.states.items() if _is_number(state)}
    ranges = ExpressionRanges(resolved, states={})
    states = {name: _as(kind, ranges.of(resolved.states[name].start)) for name, kind in kinds.items()}
    sets = [
        s for s in statements(resolved.policy) if isinstance(s, syntax.Set) and s.identifier.text in kinds
    ]
    for round_ in range(MOST_ROUNDS):
        ranges = ExpressionRanges(resolved, states=states)
        found = dict(states)
        for name, kind in kinds.items():
            given = [_as(kind, ranges.of(s.value)) for s in sets if s.identifier.text == name]
            new = hull([states[name], *given])
            found[name] = new if round_ < EXACT_ROUNDS else widened(states[name], new)
        if found == states:
            return states
        states = found
    return {name: ANY_INT if kind is Kind.INT else ANY_REAL for name, kind in kinds.items()}


def _is_number(state: syntax.StateDeclaration) -> bool:
    return state.kind.text in {kind.value for kind in NUMBERS}


def _as(kind: Kind, interval: NumberRange) -> NumberRange:
    """The range of a state: an int in a state of reals is a real there."""
    if kind is Kind.INT:
        return interval if interval.integer else ANY_INT
    return as_real(interval)
