"""What surely holds when a condition does, and when does a condition surely hold: seen through the names of a
step.

Not here: what follows for the policy (`phases`, `progress`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..language import syntax
from ..language.words import WORDS
from .resolved import Binding

Bindings = Mapping[syntax.Name, Binding]
COUNTERS = frozenset(word.name for word in WORDS.values() if word.counter)
REVERSED = {"<=": ">=", "<": ">"}


@dataclass(frozen=True, slots=True)
class StepLimit:
    """`counter` steps come before the one that is the last: that of number `most + more` (the first has
    number 1).
    """

    counter: str
    most: syntax.Expression
    more: int


def inline_lets(expression: syntax.Expression, meanings: Bindings) -> syntax.Expression:
    """What a name given in this step stands for, or the expression itself."""
    while isinstance(expression, syntax.Name):
        meaning = meanings.get(expression)
        if not isinstance(meaning, syntax.Let):
            break
        expression = meaning.value
    return expression


def is_word(expression: syntax.Expression, word: str, meanings: Bindings) -> bool:
    """Whether an expression is a word of the language, and not a name of the policy's."""
    return (
        isinstance(expression, syntax.Name) and expression.identifier == word and expression not in meanings
    )


def entails_word(condition: syntax.Expression, word: str, meanings: Bindings) -> bool:
    """Whether `word` holds whenever the condition does."""
    condition = inline_lets(condition, meanings)
    match condition:
        case syntax.Conjunction():
            return entails_word(condition.left, word, meanings) or entails_word(
                condition.right, word, meanings
            )
        case syntax.Disjunction():
            return entails_word(condition.left, word, meanings) and entails_word(
                condition.right, word, meanings
            )
        case _:
            return is_word(condition, word, meanings)


def entailed_by_idle(condition: syntax.Expression | None, meanings: Bindings) -> bool:
    """Whether the condition holds whenever the step has committed nothing."""

    def is_idle(part: syntax.Expression) -> bool:
        if isinstance(part, syntax.Boolean):
            return part.value
        if isinstance(part, syntax.Comparison) and len(part.operators) == 1:
            return _is_zero_commits(part, meanings)
        return is_word(part, "idle", meanings)

    return condition is None or _follows(condition, is_idle, meanings)


def _is_zero_commits(part: syntax.Comparison, meanings: Bindings) -> bool:
    left, right = part.operands
    most = {"==": 0, "<=": 0, "<": 1}.get(part.operators[0])
    return (
        is_word(left, "committed_now", meanings)
        and isinstance(right, syntax.Number)
        and most is not None
        and right.value == most
    )


def _follows(
    condition: syntax.Expression, holds: Callable[[syntax.Expression], bool], meanings: Bindings
) -> bool:
    condition = inline_lets(condition, meanings)
    match condition:
        case syntax.Disjunction():
            return _follows(condition.left, holds, meanings) or _follows(condition.right, holds, meanings)
        case syntax.Conjunction():
            return _follows(condition.left, holds, meanings) and _follows(condition.right, holds, meanings)
        case _:
            return holds(condition)


def step_limits(condition: syntax.Expression | None, meanings: Bindings) -> list[StepLimit]:
    """The step limits that a condition such as `steps_in_window + 1 >= n or ...` sets."""
    if condition is None:
        return []
    condition = inline_lets(condition, meanings)
    if isinstance(condition, syntax.Disjunction):
        return step_limits(condition.left, meanings) + step_limits(condition.right, meanings)
    limit = _step_limit(condition, meanings)
    return [limit] if limit is not None else []


def _step_limit(condition: syntax.Expression, meanings: Bindings) -> StepLimit | None:
    if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
        return None
    (left, right), operator = condition.operands, condition.operators[0]
    if operator in REVERSED:
        left, right, operator = right, left, REVERSED[operator]
    if operator not in (">=", ">"):
        return None
    counter, added = _offset(left, meanings)
    most, more = _offset(right, meanings)
    # counter + added >= most + more: the last step has counter = most + more - added, and so the number one
    # above it.
    number = more - added + 1 + (operator == ">")
    word = next((word for word in COUNTERS if is_word(counter, word, meanings)), None)
    return StepLimit(word, most, number) if word is not None else None


def _offset(expression: syntax.Expression, meanings: Bindings) -> tuple[syntax.Expression, int]:
    """`x + 2` as x and 2."""
    expression = inline_lets(expression, meanings)
    if not isinstance(expression, syntax.Arithmetic) or expression.operator not in "+-":
        return expression, 0
    left, right = expression.left, expression.right
    if isinstance(right, syntax.Number) and isinstance(right.value, int):
        inner, more = _offset(left, meanings)
        return inner, more + (right.value if expression.operator == "+" else -right.value)
    if isinstance(left, syntax.Number) and isinstance(left.value, int) and expression.operator == "+":
        inner, more = _offset(right, meanings)
        return inner, more + left.value
    return expression, 0
