"""Does `while=` of `prefix` stay false after it has failed, for all worse positions?

If it does, the prefix has every position that satisfies it. Otherwise the prefix ends at the first failure,
and later positions may satisfy the condition: the cause of the last-rank mistakes in published code. The
proof follows how values change along the sort; a condition without a proof is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import expressions, statements, walk
from ..language.words import WORDS, Extent, Kind
from .arguments import by_group
from .entailment import inline_lets, is_word
from .resolved import Resolved
from .signs import may_wrap, never_negative, positive

RISING = frozenset(word.name for word in WORDS.values() if word.rising)
RISING_IN_ORDER = frozenset(word.name for word in WORDS.values() if word.rises_in_order)


class Direction(StrEnum):
    """How a value changes along the sort, from the best position to the worst."""

    SAME = "stays the same"
    RISES = "rises or stays"
    FALLS = "falls or stays"
    UNKNOWN = "unknown"


OPPOSITE = {
    Direction.SAME: Direction.SAME,
    Direction.RISES: Direction.FALLS,
    Direction.FALLS: Direction.RISES,
    Direction.UNKNOWN: Direction.UNKNOWN,
}


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Warns of every `while=` without a proof that it stays false."""
    wrong = []
    for statement in statements(resolved.policy):
        for expression in () if isinstance(statement, syntax.FunctionDeclaration) else expressions(statement):
            for call in walk(expression):
                if isinstance(call, syntax.Call) and call.function.text == "prefix":
                    wrong += _prefix(call, resolved)
    return resolved, wrong


def _prefix(call: syntax.Call, resolved: Resolved) -> list[Diagnostic]:
    named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
    if "by" not in named or "while" not in named or resolved.types.get(named["while"]) is None:
        return []
    if _Sort(resolved, named["by"]).condition(named["while"]) in (Direction.SAME, Direction.FALLS):
        return []
    text = named["while"].span.text
    message = f"it is not proved that `{text}` stays false after its first failure"
    label = "the prefix ends at the first failure, whatever comes after"
    help_ = "this is well defined; if it is not what you want, compare a value that falls along the order with one that does not"
    return [Diagnostic("W0301", message, named["while"].span, label, help_)]


@dataclass(frozen=True, slots=True)
class _Sort:
    """Positions sorted by the score `by`; a condition counts as 0 or 1."""

    resolved: Resolved
    by: syntax.Expression

    def condition(self, condition: syntax.Expression) -> Direction:
        condition = inline_lets(condition, self.resolved.inlinable)
        if self.same_everywhere(condition):
            return Direction.SAME
        match condition:
            case syntax.Conjunction() | syntax.Disjunction():
                return _sum(self.condition(condition.left), self.condition(condition.right))
            case syntax.Inversion():
                return OPPOSITE[self.condition(condition.operand)]
            case syntax.Comparison():
                return self.comparison(condition)
            case syntax.Number() | syntax.Boolean() | syntax.Name() | syntax.Call() | syntax.Negation():
                return Direction.UNKNOWN
            case syntax.Arithmetic() | syntax.Alternative() | syntax.Conditional():
                return Direction.UNKNOWN
            case _:
                assert_never(condition)

    def comparison(self, comparison: syntax.Comparison) -> Direction:
        operators = set(comparison.operators)
        if operators == {"=="} and self.is_first(*comparison.operands[:2]):
            return Direction.FALLS
        if not operators <= {">", ">="} and not operators <= {"<", "<="}:
            return Direction.UNKNOWN
        first, *more = [
            _sum(self.run(a), OPPOSITE[self.run(b)])
            for a, b in zip(comparison.operands, comparison.operands[1:], strict=False)
        ]
        whole = first if all(other is first for other in more) else Direction.UNKNOWN
        return whole if comparison.operators[0] in (">", ">=") else OPPOSITE[whole]

    def is_first(self, left: syntax.Expression, right: syntax.Expression) -> bool:
        """Whether two expressions are `rank` and 1."""
        is_rank = is_word(left, "rank", self.resolved.inlinable)
        return is_rank and isinstance(right, syntax.Number) and right.value == 1

    def same_everywhere(self, expression: syntax.Expression) -> bool:
        return self.resolved.type_of(expression).extent is not Extent.POSITION

    def run(self, expression: syntax.Expression) -> Direction:
        """How the value of an expression changes along the sort."""
        expression = inline_lets(expression, self.resolved.inlinable)
        if self.same_everywhere(expression):
            return Direction.SAME
        if (sorted_by := self.sorted_by(expression)) is not None:
            return sorted_by
        match expression:
            case syntax.Negation():
                return OPPOSITE[self.run(expression.operand)]
            case syntax.Arithmetic():
                return self.of_arithmetic(expression)
            case syntax.Call():
                return self.of_call(expression)
            case syntax.Name():
                rises = any(is_word(expression, word, self.resolved.inlinable) for word in RISING_IN_ORDER)
                return Direction.RISES if rises else Direction.UNKNOWN
            case syntax.Number() | syntax.Boolean() | syntax.Comparison() | syntax.Inversion():
                return Direction.UNKNOWN
            case syntax.Conjunction() | syntax.Disjunction() | syntax.Alternative() | syntax.Conditional():
                return Direction.UNKNOWN
            case _:
                assert_never(expression)

    def of_arithmetic(self, expression: syntax.Arithmetic) -> Direction:
        if expression.operator in "+-":
            return self.of_sum(expression)
        return self.of_product(expression) if expression.operator in "*/" else Direction.UNKNOWN

    def of_call(self, call: syntax.Call) -> Direction:
        word, arguments = call.function.text, call.arguments
        if by_group(call):
            return Direction.UNKNOWN  # the value of another group may be larger or smaller
        if word in RISING_IN_ORDER:
            return Direction.RISES
        if word == "cumsum":
            return self.of_running_sum(arguments[0])
        if word in RISING:
            return _all([self.run(argument) for argument in arguments])
        return Direction.UNKNOWN

    def of_running_sum(self, x: syntax.Expression) -> Direction:
        if never_negative(x, self.resolved):
            return Direction.RISES
        x = inline_lets(x, self.resolved.inlinable)
        logarithm = (
            isinstance(x, syntax.Call)
            and x.function.text == "log"
            and self.resolved.type_of(x).kind is Kind.NATS
        )
        opposite = isinstance(x, syntax.Negation) and never_negative(x.operand, self.resolved)
        return Direction.FALLS if logarithm or opposite else Direction.UNKNOWN

    def sorted_by(self, expression: syntax.Expression) -> Direction | None:
        """How the sort's score or its opposite changes; `None` for any other value."""
        by, sign = inline_lets(self.by, self.resolved.inlinable), Direction.FALLS
        while isinstance(by, syntax.Negation):
            by, sign = inline_lets(by.operand, self.resolved.inlinable), OPPOSITE[sign]
        if self.resolved.same_tree(expression, by) and not self.resolved.draws(by):
            return sign
        word = WORDS.get(by.identifier) if isinstance(by, syntax.Name) else None
        complement = word.complement if word is not None else ""
        if complement and is_word(expression, complement, self.resolved.inlinable):
            return OPPOSITE[sign]
        return None

    def of_sum(self, expression: syntax.Arithmetic) -> Direction:
        terms = self.terms(expression, positive=True)
        sums = [
            i
            for i, (_, term) in enumerate(terms)
            if isinstance(term, syntax.Call) and term.function.text == "cumsum"
        ]
        for i in sums:
            plus, first = terms[i]
            for j, (other, second) in enumerate(terms):
                if i != j and plus != other and (pair := self.pair(first, second)) is not None:
                    rest = [term for k, term in enumerate(terms) if k not in (i, j)]
                    return _all([pair if plus else OPPOSITE[pair], *(self.term(term) for term in rest)])
        return _all([self.term(term) for term in terms])

    def term(self, term: tuple[bool, syntax.Expression]) -> Direction:
        return self.run(term[1]) if term[0] else OPPOSITE[self.run(term[1])]

    def pair(self, plus: syntax.Expression, minus: syntax.Expression) -> Direction | None:
        """How `plus - minus` changes, if only both together show it, as in `rank - cumsum(x)`."""
        if not isinstance(plus, syntax.Call) or plus.function.text != "cumsum":
            return None
        x = plus.arguments[0]
        if is_word(minus, "rank", self.resolved.inlinable) and self.resolved.type_of(x).kind is Kind.PROB:
            return Direction.FALLS  # a probability is at most 1, and the rank grows by 1
        largest = (
            isinstance(minus, syntax.Call)
            and minus.function.text == "cummax"
            and self.resolved.same_tree(minus.arguments[0], x)
        )
        return Direction.RISES if largest and never_negative(x, self.resolved) else None

    def terms(self, expression: syntax.Expression, *, positive: bool) -> list[tuple[bool, syntax.Expression]]:
        """The terms of a sum. The bool is true if the term is added, false if it is subtracted."""
        expression = inline_lets(expression, self.resolved.inlinable)
        if isinstance(expression, syntax.Negation):
            return self.terms(expression.operand, positive=not positive)
        if isinstance(expression, syntax.Arithmetic) and expression.operator in "+-":
            right = positive if expression.operator == "+" else not positive
            return self.terms(expression.left, positive=positive) + self.terms(
                expression.right, positive=right
            )
        return [(positive, expression)]

    def of_product(self, expression: syntax.Arithmetic) -> Direction:
        left, right = self.run(expression.left), self.run(expression.right)
        factor = inline_lets(expression.right, self.resolved.inlinable)
        if right is Direction.SAME and positive(factor, self.resolved):
            return Direction.UNKNOWN if may_wrap(expression, self.resolved) else left
        if not (
            never_negative(expression.left, self.resolved) and never_negative(expression.right, self.resolved)
        ):
            return Direction.UNKNOWN
        return _sum(left, right if expression.operator == "*" else OPPOSITE[right])


def _sum(left: Direction, right: Direction) -> Direction:
    """How the sum of two values changes."""
    if Direction.SAME in (left, right):
        return right if left is Direction.SAME else left
    return left if left is right else Direction.UNKNOWN


def _all(runs: list[Direction]) -> Direction:
    whole = Direction.SAME
    for run in runs:
        whole = _sum(whole, run)
    return whole
