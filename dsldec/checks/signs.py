"""Is a number never below 0, or always above 0?"""

from __future__ import annotations

from typing import assert_never

from ..language import syntax
from ..language.arithmetic import float32
from .entailment import inline_lets, is_word
from .resolved import Resolved

NEVER_NEGATIVE = frozenset(
    (
        "conf doubt margin logit_margin entropy p kl rank run_length age distance density count fraction progress pos step "
        "steps_in_window steps_in_phase visits committed_now committed_before edited_now window_length"
    ).split()
)


def never_negative(expression: syntax.Expression, resolved: Resolved) -> bool:
    """Whether a number is never below 0: by the definition of a word, by a parameter's kind or range, or by
    arithmetic on such numbers.
    """
    expression = inline_lets(expression, resolved.inlinable)
    match expression:
        case syntax.Number():
            return True
        case syntax.Name():
            binding = resolved.bindings.get(expression)
            if isinstance(binding, syntax.Parameter):
                first = binding.range.first.value if binding.range is not None else None
                return binding.kind.text == "prob" or (first is not None and first >= 0)
            return binding is None and expression.identifier in NEVER_NEGATIVE
        case syntax.Call() if expression.function.text in ("cumsum", "cummax", "sqrt", "sum", "mean"):
            return never_negative(expression.arguments[0], resolved)
        case syntax.Call():
            return expression.function.text in NEVER_NEGATIVE or expression.function.text in (
                "abs",
                "exp",
                "std",
            )
        case syntax.Arithmetic():
            both = never_negative(expression.left, resolved) and never_negative(expression.right, resolved)
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


def positive(x: syntax.Expression, resolved: Resolved) -> bool:
    """Whether a weight is always above 0: a number, a parameter, or `exp` of an observation."""
    if isinstance(x, syntax.Number):
        return float32(x.value) > 0
    if isinstance(x, syntax.Call) and x.function.text == "exp" and len(x.arguments) == 1:
        return _scaled_observation(x.arguments[0], resolved)  # `exp` of a negative number may round to 0
    binding = resolved.bindings.get(x) if isinstance(x, syntax.Name) else None
    if isinstance(binding, syntax.Parameter):
        return binding.range is not None and float32(binding.range.first.value) > 0
    return False


def _scaled_observation(x: syntax.Expression, resolved: Resolved) -> bool:
    """Whether this is an observation such as `conf`, `conf * c` or `conf / c` with c above 0: it has a value
    at every position, and the value is never below 0.
    """
    if isinstance(x, syntax.Arithmetic) and x.operator in ("*", "/"):
        return (
            is_observation(x.left, resolved)
            and not isinstance(x.right, syntax.Call)
            and positive(x.right, resolved)
        )
    return is_observation(x, resolved)


def is_observation(expression: syntax.Expression, resolved: Resolved) -> bool:
    """Whether this word has a value at every position that stays the same during a step."""
    return any(
        is_word(expression, word, resolved.bindings)
        for word in ("conf", "doubt", "margin", "logit_margin", "entropy", "pos")
    )
