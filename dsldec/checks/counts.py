"""The least value of an int expression while masked positions are left.

Not here: the floor of a mask (`floors`), on which the count of this mask depends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..language import syntax
from ..language.words import WORDS, Kind
from .entailment import inline_lets
from .expression_ranges import ExpressionRanges, state_ranges
from .floor_values import ALL, Floor, KnownLet, higher, lower, smallest
from .resolved import Resolved

SMALLEST_SHARE = 1e-30  # a float32 holds it


class Counts(ABC):
    """Proves the least values of counts. `lets`: the proofs about the lets so far."""

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.lets: dict[syntax.Let, KnownLet] = {}
        self._ranges: ExpressionRanges | None = None

    @abstractmethod
    def floor(self, mask: syntax.Expression) -> Floor:
        """The floor of a mask."""

    def known(self, expression: syntax.Expression) -> KnownLet | None:
        """The proofs about a let, for its name."""
        binding = self.resolved.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        return self.lets.get(binding) if isinstance(binding, syntax.Let) else None

    @property
    def ranges(self) -> ExpressionRanges:
        """The ranges of expressions while masked positions are left."""
        if self._ranges is None:
            all_masks = lambda mask: self.floor(mask) == ALL  # noqa: E731
            self._ranges = ExpressionRanges(self.resolved, all_masks, state_ranges(self.resolved))
        return self._ranges

    def count(self, expression: syntax.Expression) -> Floor:
        """The least value of an int while masked positions are left; 0 where nothing is proved."""
        known = self.known_count(expression)
        if smallest(known) >= 1 or self.resolved.type_of(expression).kind is not Kind.INT:
            return known
        return higher(known, min(ALL, max(0, int(self.ranges.of(expression).low))))

    def known_count(self, expression: syntax.Expression) -> Floor:
        """The same, from the form of an expression: it may be a parameter."""
        if isinstance(expression, syntax.Number) and isinstance(expression.value, int):
            return expression.value
        if (known := self.known(expression)) is not None:
            return known.count
        if isinstance(expression, syntax.Conditional):
            return lower(self.count(expression.then), self.count(expression.otherwise))
        if isinstance(expression, syntax.Arithmetic) and expression.operator == "+":
            is_int = self.resolved.type_of(expression).kind is Kind.INT
            least = min(self.ranges.of(part).low for part in (expression, expression.left))
            rises = is_int and least >= 0  # a sum that may wrap around has a range below 0
            return self.count(expression.right) if rises else 0
        if isinstance(expression, syntax.Call) and not expression.keywords:
            return self.count_of_call(expression)
        binding = self.resolved.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        return binding if isinstance(binding, syntax.Parameter) else 0

    def count_of_call(self, call: syntax.Call) -> Floor:
        word, inner = call.function.text, [self.count(argument) for argument in call.arguments]
        kinds = [self.resolved.type_of(argument).kind for argument in call.arguments]
        if not all(kind in (Kind.INT, Kind.MASK) for kind in kinds):
            return 1 if word == "ceil" and self.is_share(call.arguments) else 0  # a real may have no value
        if word == "max" and len(inner) > 1:
            return higher(*inner[:2])
        if word == "min" and len(inner) > 1:
            return lower(*inner[:2])
        if word == "clamp" and len(inner) == len(WORDS["clamp"].positional):
            return lower(higher(inner[0], inner[1]), inner[2])
        if word == "count" and call.arguments and self.floor(call.arguments[0]) == ALL:
            return 1
        return 0

    def is_share(self, arguments: tuple[syntax.Expression, ...]) -> bool:
        """Whether this is `count(masked) / n` with an int n of 1 or more, or `share * count(masked)`."""
        x = inline_lets(arguments[0], self.resolved.inlinable) if arguments else None
        if not isinstance(x, syntax.Arithmetic):
            return False
        if x.operator == "*" and isinstance(x.left, syntax.Number):
            return x.left.value > SMALLEST_SHARE and self.is_count_from_1_on(x.right)
        is_int = self.resolved.type_of(x.right).kind is Kind.INT
        return (
            x.operator == "/"
            and is_int
            and self.is_count_from_1_on(x.left)
            and smallest(self.count(x.right)) >= 1
        )

    def is_count_from_1_on(self, x: syntax.Expression) -> bool:
        is_count = isinstance(x, syntax.Call) and x.function.text == "count"
        return is_count and smallest(self.count(x)) >= 1
