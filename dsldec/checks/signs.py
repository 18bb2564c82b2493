"""Is a number surely not below 0?

Ints have 64 bits and wrap around: a product of large ones may be negative.
"""

from __future__ import annotations

from ..language import syntax
from ..language.arithmetic import LARGEST_INT as LARGEST_OF_A_REAL
from ..language.limits import LARGEST_INT
from ..language.statement_words import MOST_POSITIONS
from ..language.words import WORDS, Kind
from .entailment import inline_lets
from .resolved import Resolved

NEVER_NEGATIVE = frozenset(word.name for word in WORDS.values() if word.nonnegative)
KEEPS_NONNEGATIVE = frozenset(word.name for word in WORDS.values() if word.keeps_nonnegative)
LARGEST_INT64 = 2**63 - 1


def never_negative(expression: syntax.Expression, found: Resolved) -> bool:
    """Whether that is plain to see: from what a word means, a parameter's kind or range, and arithmetic on
    such.
    """
    expression = inline_lets(expression, found.inlinable)
    if may_wrap(expression, found):
        return False
    meaning = found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
    if isinstance(meaning, syntax.Parameter):
        return meaning.kind.text == "prob" or (meaning.range is not None and meaning.range.first.value >= 0)
    match expression:
        case syntax.Number():
            return True
        case syntax.Name():
            return meaning is None and expression.identifier in NEVER_NEGATIVE
        case syntax.Call() if expression.function.text in NEVER_NEGATIVE:
            return True
        case syntax.Call() if expression.function.text in KEEPS_NONNEGATIVE:
            numbers = [one for one in expression.arguments if found.type_of(one).kind is not Kind.MASK]
            return all(never_negative(number, found) for number in numbers)
        case syntax.Arithmetic() if expression.operator in ("+", "*", "/", "//"):
            return never_negative(expression.left, found) and never_negative(expression.right, found)
        case _:
            return False


def may_wrap(expression: syntax.Expression, found: Resolved) -> bool:
    """Whether an int may be too large for 64 bits."""
    return found.type_of(expression).kind is Kind.INT and _largest(expression, found) > LARGEST_INT64


def _largest(expression: syntax.Expression, found: Resolved) -> int:
    """A number that the absolute value of an int is surely not above, if nothing in it wraps around."""
    expression = inline_lets(expression, found.inlinable)
    match expression:
        case syntax.Number():
            return int(abs(expression.value))
        case syntax.Name() if isinstance(found.bindings.get(expression), syntax.StateDeclaration):
            return LARGEST_INT64 + 1  # it may grow from step to step
        case syntax.Negation():
            return _largest(expression.operand, found)
        case syntax.Conditional():
            return max(_largest(expression.then, found), _largest(expression.otherwise, found))
        case syntax.Arithmetic():
            left, right = _largest(expression.left, found), _largest(expression.right, found)
            return {"*": left * right, "+": left + right, "-": left + right}.get(
                expression.operator, max(left, right)
            )
        case syntax.Call():
            inner = max([LARGEST_INT, *(_largest(argument, found) for argument in expression.arguments)])
            if expression.function.text in ("sum", "cumsum"):
                return inner * MOST_POSITIONS
            return max(inner, LARGEST_OF_A_REAL) if WORDS[expression.function.text].spread else inner
        case _:
            return LARGEST_INT  # no parameter and no length is above it
