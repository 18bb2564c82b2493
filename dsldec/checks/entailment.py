"""Does a condition imply a word of the language, the end of an idle phase, or a step limit?

The lets of a step are replaced by their values first. Not here: the consequences for the policy (`phases`,
`progress`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..language import syntax
from ..language.words import WORDS
from .resolved import Bindings

COUNTERS = frozenset(word.name for word in WORDS.values() if word.counter)
REVERSED = {"<=": ">=", "<": ">"}


@dataclass(frozen=True, slots=True)
class StepLimit:
    """The last step that a condition allows: step `most + more` of `counter`, counted from 1."""

    counter: str
    most: syntax.Expression
    more: int


def inline_lets(expression: syntax.Expression, bindings: Bindings) -> syntax.Expression:
    """The value of a let, if the expression is its name (through several lets); any other expression
    unchanged.
    """
    while isinstance(expression, syntax.Name):
        binding = bindings.get(expression)
        if not isinstance(binding, syntax.Let):
            break
        expression = binding.value
    return expression


def is_word(expression: syntax.Expression, word: str, bindings: Bindings) -> bool:
    """Whether an expression is this word of the language, and not a name of the policy."""
    return (
        isinstance(expression, syntax.Name) and expression.identifier == word and expression not in bindings
    )


def entails_word(condition: syntax.Expression, word: str, bindings: Bindings) -> bool:
    """Whether `word` is true whenever the condition is true."""
    condition = inline_lets(condition, bindings)
    if isinstance(condition, syntax.Conjunction):
        return entails_word(condition.left, word, bindings) or entails_word(condition.right, word, bindings)
    if isinstance(condition, syntax.Disjunction):
        return entails_word(condition.left, word, bindings) and entails_word(condition.right, word, bindings)
    return is_word(condition, word, bindings)


def entailed_by_idle(condition: syntax.Expression | None, bindings: Bindings) -> bool:
    """Whether the condition is true whenever the step has committed nothing."""

    def is_idle(part: syntax.Expression) -> bool:
        if isinstance(part, syntax.Boolean):
            return part.value
        if isinstance(part, syntax.Comparison) and len(part.operators) == 1:
            return _is_zero_commits(part, bindings)
        return is_word(part, "idle", bindings)

    return condition is None or _entailed(condition, is_idle, bindings)


def _is_zero_commits(part: syntax.Comparison, bindings: Bindings) -> bool:
    left, right = part.operands
    most = {"==": 0, "<=": 0, "<": 1}.get(part.operators[0])
    return (
        is_word(left, "committed_now", bindings)
        and isinstance(right, syntax.Number)
        and most is not None
        and right.value == most
    )


def _entailed(
    condition: syntax.Expression, holds: Callable[[syntax.Expression], bool], bindings: Bindings
) -> bool:
    condition = inline_lets(condition, bindings)
    if isinstance(condition, syntax.Disjunction):
        return _entailed(condition.left, holds, bindings) or _entailed(condition.right, holds, bindings)
    if isinstance(condition, syntax.Conjunction):
        return _entailed(condition.left, holds, bindings) and _entailed(condition.right, holds, bindings)
    return holds(condition)


def step_limits(condition: syntax.Expression | None, bindings: Bindings) -> list[StepLimit]:
    """The step limits of a condition such as `steps_in_window + 1 >= n or ...`."""
    if condition is None:
        return []
    condition = inline_lets(condition, bindings)
    if isinstance(condition, syntax.Disjunction):
        return step_limits(condition.left, bindings) + step_limits(condition.right, bindings)
    limit = _step_limit(condition, bindings)
    return [limit] if limit is not None else []


def _step_limit(condition: syntax.Expression, bindings: Bindings) -> StepLimit | None:
    if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
        return None
    (left, right), operator = condition.operands, condition.operators[0]
    if operator in REVERSED:
        left, right, operator = right, left, REVERSED[operator]
    if operator not in (">=", ">"):
        return None
    counter, added = _offset(left, bindings)
    most, more = _offset(right, bindings)
    # counter + added >= most + more: in the last step, counter = most + more - added. The number of this step
    # is counter + 1.
    number = more - added + 1 + (operator == ">")
    word = next((word for word in COUNTERS if is_word(counter, word, bindings)), None)
    return StepLimit(word, most, number) if word is not None else None


def _offset(expression: syntax.Expression, bindings: Bindings) -> tuple[syntax.Expression, int]:
    """An expression such as `x + 2`, as x and 2."""
    expression = inline_lets(expression, bindings)
    if not isinstance(expression, syntax.Arithmetic) or expression.operator not in "+-":
        return expression, 0
    left, right = expression.left, expression.right
    if isinstance(right, syntax.Number) and isinstance(right.value, int):
        inner, more = _offset(left, bindings)
        return inner, more + (right.value if expression.operator == "+" else -right.value)
    if isinstance(left, syntax.Number) and isinstance(left.value, int) and expression.operator == "+":
        inner, more = _offset(right, bindings)
        return inner, more + left.value
    return expression, 0
