"""Is a number never below 0, or always above 0?

Ints have 64 bits and wrap around: a product of large ones may be negative.
"""

from __future__ import annotations

from typing import assert_never

from ..language import syntax
from ..language.arithmetic import LARGEST_INT as LARGEST_OF_A_REAL
from ..language.arithmetic import float32
from ..language.limits import LARGEST_INT
from ..language.statement_words import MOST_POSITIONS
from ..language.walk import walk
from ..language.words import NUMBERS, WORDS, Extent, Kind
from .arguments import by_group
from .entailment import inline_lets, is_word
from .resolved import Resolved

NEVER_NEGATIVE = frozenset(word.name for word in WORDS.values() if word.nonnegative)
KEEPS_NONNEGATIVE = frozenset(word.name for word in WORDS.values() if word.keeps_nonnegative)
# Words with a number at every position. It is never below 0 and does not change during a step.
STEADY_NUMBERS = frozenset(
    word.name
    for word in WORDS.values()
    if (word.observation or word.steady) and word.nonnegative and not word.slots and word.within is None
    if word.gives is not None and word.gives.extent is Extent.POSITION and word.gives.kind in NUMBERS
)
# Reductions that have a value at every position also with `each=`.
NEVER_WITHOUT_VALUE = frozenset({"count", "sum"})
LARGEST_INT64 = 2**63 - 1


def never_negative(expression: syntax.Expression, resolved: Resolved) -> bool:
    """Whether a number is never below 0.

    This follows from the definition of a word, from a parameter's kind or range, or from arithmetic on such
    numbers.
    """
    expression = inline_lets(expression, resolved.inlinable)
    if may_wrap(expression, resolved):
        return False
    match expression:
        case syntax.Number():
            return True
        case syntax.Name():
            binding = resolved.bindings.get(expression)
            if isinstance(binding, syntax.Parameter):
                first = binding.range.first.value if binding.range is not None else None
                return binding.kind.text == "prob" or (first is not None and first >= 0)
            if isinstance(binding, syntax.Branch):
                return True
            return binding is None and expression.identifier in NEVER_NEGATIVE
        case syntax.Call():
            if by_group(expression) and expression.function.text not in NEVER_WITHOUT_VALUE:
                return False  # some positions of a row may have no value
            if expression.function.text not in KEEPS_NONNEGATIVE:
                return expression.function.text in NEVER_NEGATIVE
            numbers = [one for one in expression.arguments if resolved.type_of(one).kind is not Kind.MASK]
            return all(never_negative(number, resolved) for number in numbers)
        case syntax.Arithmetic():
            both = never_negative(expression.left, resolved) and never_negative(expression.right, resolved)
            if expression.operator in ("/", "//") and _may_be_minus_zero(expression.right, resolved):
                return False
            return expression.operator in ("+", "*", "/", "//") and both
        case (
            syntax.Boolean()
            | syntax.Negation()
            | syntax.Comparison()
            | syntax.Inversion()
            | syntax.Conjunction()
            | syntax.Disjunction()
            | syntax.Alternative()
            | syntax.Conditional()
        ):
            return False
        case _:
            assert_never(expression)


def _may_be_minus_zero(divisor: syntax.Expression, resolved: Resolved) -> bool:
    """Whether a divisor that is never below 0 may be -0, which a parameter may be: 1 / -0 is -infinity."""
    divisor = inline_lets(divisor, resolved.inlinable)
    if isinstance(divisor, syntax.Arithmetic) and divisor.operator == "+":  # -0 + 0 is 0
        return all(_may_be_minus_zero(part, resolved) for part in (divisor.left, divisor.right))
    bindings = [resolved.bindings.get(part) for part in walk(divisor) if isinstance(part, syntax.Name)]
    return any(
        isinstance(binding, syntax.Let)
        or (
            isinstance(binding, syntax.Parameter)
            and binding.kind.text != "int"
            and (binding.range is None or binding.range.first.value <= 0)
        )
        for binding in bindings
    )


def may_wrap(expression: syntax.Expression, resolved: Resolved) -> bool:
    """Whether an int may be too large for 64 bits. Then it wraps around, and may be negative."""
    return resolved.type_of(expression).kind is Kind.INT and _largest(expression, resolved) > LARGEST_INT64


def _largest(expression: syntax.Expression, resolved: Resolved) -> int:
    """An upper bound on the absolute value of an int, if no part of it wraps around."""
    expression = inline_lets(expression, resolved.inlinable)
    match expression:
        case syntax.Number():
            return int(abs(expression.value))
        case syntax.Name():
            is_state = isinstance(resolved.bindings.get(expression), syntax.StateDeclaration)
            # A state may grow from step to step; no parameter and no length is above LARGEST_INT.
            return LARGEST_INT64 + 1 if is_state else LARGEST_INT
        case syntax.Negation():
            return _largest(expression.operand, resolved)
        case syntax.Conditional():
            return max(_largest(expression.then, resolved), _largest(expression.otherwise, resolved))
        case syntax.Arithmetic():
            left, right = _largest(expression.left, resolved), _largest(expression.right, resolved)
            sizes = {"*": left * right, "+": left + right, "-": left + right}
            return sizes.get(expression.operator, max(left, right))
        case syntax.Call():
            inner = max([LARGEST_INT, *(_largest(argument, resolved) for argument in expression.arguments)])
            if expression.function.text in ("sum", "cumsum"):
                return inner * MOST_POSITIONS
            return max(inner, LARGEST_OF_A_REAL) if WORDS[expression.function.text].spread else inner
        case (
            syntax.Boolean()
            | syntax.Comparison()
            | syntax.Inversion()
            | syntax.Conjunction()
            | syntax.Disjunction()
            | syntax.Alternative()
        ):
            return LARGEST_INT
        case _:
            assert_never(expression)


def positive(x: syntax.Expression, resolved: Resolved) -> bool:
    """Whether a weight is always above 0: a number, its `log`, a parameter, or `exp` of an observation."""
    if isinstance(x, syntax.Number):
        return float32(x.value) > 0
    if isinstance(x, syntax.Call) and x.function.text == "log" and isinstance(x.arguments[0], syntax.Number):
        return float32(x.arguments[0].value) > 1
    if isinstance(x, syntax.Call) and x.function.text == "exp" and len(x.arguments) == 1:
        return _scaled_observation(x.arguments[0], resolved)  # `exp` of a negative number may round to 0
    binding = resolved.bindings.get(x) if isinstance(x, syntax.Name) else None
    if isinstance(binding, syntax.Parameter):
        return binding.range is not None and float32(binding.range.first.value) > 0
    return False


def _scaled_observation(x: syntax.Expression, resolved: Resolved) -> bool:
    """Whether this is an observation such as `conf`, `conf * c` or `conf / c` with c above 0.

    Such a number exists at every position and is never below 0.
    """
    if isinstance(x, syntax.Arithmetic) and x.operator in ("*", "/"):
        return (
            is_observation(x.left, resolved)
            and not isinstance(x.right, syntax.Call)
            and positive(x.right, resolved)
        )
    return is_observation(x, resolved)


def is_observation(expression: syntax.Expression, resolved: Resolved) -> bool:
    """Whether this is a word with a value at every position that does not change during a step."""
    return any(is_word(expression, word, resolved.bindings) for word in STEADY_NUMBERS)
