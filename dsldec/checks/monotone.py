"""Does `while=` of `prefix`, once it has failed, stay false for all worse positions?

Then the prefix holds every position that passes; else it stops at the first failure with passing positions
behind it, which is what the last-rank mistakes in published code come from. Proved from how values run along
the sort, or reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import Extent, Kind
from .entailment import inline_lets, is_word
from .resolved import Resolved, expressions, statements, walk
from .signs import never_negative


class Direction(StrEnum):
    """How a value runs along the sort, from the best position to the worst."""

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


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Warns of every `while` that is not proved to stay false."""
    wrong = []
    for statement in statements(found.policy):
        for expression in () if isinstance(statement, syntax.FunctionDeclaration) else expressions(statement):
            for call in walk(expression):
                if isinstance(call, syntax.Call) and call.function.text == "prefix":
                    wrong += _prefix(call, found)
    return found, wrong


def _prefix(call: syntax.Call, found: Resolved) -> list[Diagnostic]:
    named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
    if "by" not in named or "while" not in named or found.types.get(named["while"]) is None:
        return []
    if _Sort(found, named["by"]).condition(named["while"]) in (Direction.SAME, Direction.FALLS):
        return []
    text = named["while"].span.text
    message = f"it is not proved that `{text}` stays false after its first failure"
    label = "the prefix ends at the first failure, whatever comes after"
    help_ = "this is well defined; if it is not what you want, compare a value that falls along the order with one that does not"
    return [Diagnostic("W0301", message, named["while"].span, label, help_)]


@dataclass(frozen=True, slots=True)
class _Sort:
    """Positions sorted by a score; conditions are seen as 0 and 1."""

    found: Resolved
    by: syntax.Expression

    def condition(self, condition: syntax.Expression) -> Direction:
        condition = inline_lets(condition, self.found.inlinable)
        if self.same_everywhere(condition):
            return Direction.SAME
        match condition:
            case syntax.Conjunction() | syntax.Disjunction():
                return _joined(self.condition(condition.left), self.condition(condition.right))
            case syntax.Inversion():
                return OPPOSITE[self.condition(condition.operand)]
            case syntax.Comparison() if set(condition.operators) <= {">", ">="} or set(
                condition.operators
            ) <= {"<", "<="}:
                falling = [
                    _joined(self.run(a), OPPOSITE[self.run(b)])
                    for a, b in zip(condition.operands, condition.operands[1:], strict=False)
                ]
                whole = (
                    falling[0]
                    if len(falling) == 1
                    else Direction.UNKNOWN
                    if any(f is not falling[0] for f in falling)
                    else falling[0]
                )
                return whole if condition.operators[0] in (">", ">=") else OPPOSITE[whole]
            case _:
                return Direction.UNKNOWN

    def same_everywhere(self, expression: syntax.Expression) -> bool:
        return self.found.type_of(expression).extent is not Extent.POSITION

    def run(self, expression: syntax.Expression) -> Direction:
        expression = inline_lets(expression, self.found.inlinable)
        if self.same_everywhere(expression):
            return Direction.SAME
        if (sorted_by := self.sorted_by(expression)) is not None:
            return sorted_by
        match expression:
            case syntax.Negation():
                return OPPOSITE[self.run(expression.operand)]
            case syntax.Arithmetic() if expression.operator in "+-":
                return self.of_sum(expression)
            case syntax.Arithmetic() if expression.operator in "*/":
                return self.of_product(expression)
            case syntax.Call() if expression.function.text == "cummax":
                return Direction.RISES
            case syntax.Call() if expression.function.text == "cumsum":
                return self.of_running_sum(expression.arguments[0])
            case syntax.Call() if expression.function.text in ("log", "exp", "sqrt", "floor", "ceil", "int"):
                return self.run(expression.arguments[0])
            case syntax.Call() if (
                expression.function.text in ("min", "max") and len(expression.arguments) > 1
            ):
                return _joined(*(self.run(argument) for argument in expression.arguments[:2]))
            case _:
                return (
                    Direction.RISES
                    if is_word(expression, "rank", self.found.inlinable)
                    else Direction.UNKNOWN
                )

    def of_running_sum(self, x: syntax.Expression) -> Direction:
        if never_negative(x, self.found):
            return Direction.RISES
        x = inline_lets(x, self.found.inlinable)
        logarithm = (
            isinstance(x, syntax.Call)
            and x.function.text == "log"
            and self.found.type_of(x).kind is Kind.NATS
        )
        opposite = isinstance(x, syntax.Negation) and never_negative(x.operand, self.found)
        return Direction.FALLS if logarithm or opposite else Direction.UNKNOWN

    def sorted_by(self, expression: syntax.Expression) -> Direction | None:
        """How a value runs that the sort is by, or its opposite."""
        by, sign = inline_lets(self.by, self.found.inlinable), Direction.FALLS
        while isinstance(by, syntax.Negation):
            by, sign = inline_lets(by.operand, self.found.inlinable), OPPOSITE[sign]
        if self.found.same_tree(expression, by):
            return sign
        pair = {"conf": "doubt", "doubt": "conf"}
        if (
            isinstance(expression, syntax.Name)
            and isinstance(by, syntax.Name)
            and pair.get(expression.identifier) == by.identifier
        ):
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
        """How `plus - minus` runs where that is known of the two together: each position adds x to the sum."""
        if not isinstance(plus, syntax.Call) or plus.function.text != "cumsum":
            return None
        x = plus.arguments[0]
        if is_word(minus, "rank", self.found.inlinable) and self.found.type_of(x).kind is Kind.PROB:
            return Direction.FALLS  # a probability is at most the 1 that the rank grows by
        largest = (
            isinstance(minus, syntax.Call)
            and minus.function.text == "cummax"
            and self.found.same_tree(minus.arguments[0], x)
        )
        return Direction.RISES if largest and never_negative(x, self.found) else None

    def terms(self, expression: syntax.Expression, *, positive: bool) -> list[tuple[bool, syntax.Expression]]:
        """A sum as its terms, each with whether it is added."""
        expression = inline_lets(expression, self.found.inlinable)
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
        if not (never_negative(expression.left, self.found) and never_negative(expression.right, self.found)):
            return Direction.UNKNOWN
        return _joined(left, right if expression.operator == "*" else OPPOSITE[right])


def _joined(left: Direction, right: Direction) -> Direction:
    """How a sum of two values runs."""
    if Direction.SAME in (left, right):
        return right if left is Direction.SAME else left
    return left if left is right else Direction.UNKNOWN


def _all(runs: list[Direction]) -> Direction:
    whole = Direction.SAME
    for run in runs:
        whole = _joined(whole, run)
    return whole
