"""Is a number surely not below 0?"""

from __future__ import annotations

from ..language import syntax
from ..language.words import WORDS, Kind
from .entailment import inline_lets
from .resolved import Resolved

NEVER_NEGATIVE = frozenset(word.name for word in WORDS.values() if word.nonnegative)
KEEPS_NONNEGATIVE = frozenset(word.name for word in WORDS.values() if word.keeps_nonnegative)


def never_negative(expression: syntax.Expression, found: Resolved) -> bool:
    """Whether that is plain to see: from what a word means, a parameter's kind or range, and arithmetic on
    such.
    """
    expression = inline_lets(expression, found.inlinable)
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
