"""At which step of a window does a statement fill it, or begin to commit something in every step?

A `fill` fills the window at its step limit, and a schedule such as `top(masked, even(n), by=conf)` in its
last step. Not here: the least number of positions that every step commits (`floors`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeGuard

from ..language import syntax
from ..language.words import WORDS
from .entailment import StepLimit, inline_lets, is_word
from .floor_values import smallest
from .floors import CHOICES, TOP_ARGUMENTS, Prover
from .resolved import Resolved
from .signs import positive
from .values import constant_value, defaults, known_limits

# For `even(n)` and the other schedules: in step n + this number, the schedule counts every masked position.
SCHEDULES = {word.name: word.schedule for word in WORDS.values() if word.schedule is not None}


def fill_limits(statement: syntax.Statement, resolved: Resolved) -> list[StepLimit]:
    """The steps at which a statement fills the window: limits of a `fill`, the last step of a schedule."""
    if isinstance(statement, syntax.Fill):
        return known_limits(statement.condition, resolved.policy, resolved.inlinable)
    if not isinstance(statement, syntax.Commit) or statement.at_most is not None or statement.ids is not None:
        return []
    end = _schedule_end(statement.mask, resolved)
    if end is None and statement.at_least is not None:
        end = _end(statement.at_least.count, resolved)
    return [end] if end is not None else []


def slow_until(statement: syntax.Statement, resolved: Resolved) -> StepLimit | None:
    """The step from which a statement always commits something, because a schedule in it has ended."""
    if not isinstance(statement, syntax.Commit) or statement.ids is not None:
        return None
    if statement.at_most is not None and smallest(Prover(resolved).count(statement.at_most.count)) < 1:
        return None
    return _ends_in(statement.mask, resolved)


def _ends_in(mask: syntax.Expression, resolved: Resolved) -> StepLimit | None:
    mask = inline_lets(mask, resolved.inlinable)
    if isinstance(mask, syntax.Disjunction):
        return _ends_in(mask.left, resolved) or _ends_in(mask.right, resolved)
    if isinstance(mask, syntax.Alternative):
        left = inline_lets(mask.left, resolved.inlinable)
        return _ends_in(mask.right, resolved) if Prover(resolved).only_masks(left) else None
    return _schedule_end(mask, resolved)


def _schedule_end(mask: syntax.Expression, resolved: Resolved) -> StepLimit | None:
    """The step in which a schedule such as `top(masked, even(n), by=...)` selects every masked position."""
    count = count_of_choice(mask, resolved)
    return _end(count, resolved) if count is not None else None


def _end(count: syntax.Expression, resolved: Resolved) -> StepLimit | None:
    """The step from which a schedule counts every masked position."""
    call = schedule(count, resolved)
    if (
        call is None
        or constant_value(call.arguments[0], resolved.inlinable, defaults(resolved.policy)) is None
    ):
        return None
    return StepLimit("steps_in_window", call.arguments[0], SCHEDULES[call.function.text])


def count_of_choice(mask: syntax.Expression, resolved: Resolved) -> syntax.Expression | None:
    """The count of `top(masked, count, by=...)`: a choice among all masked positions in one group."""
    choice = inline_lets(mask, resolved.inlinable)
    if not is_call(choice, CHOICES, TOP_ARGUMENTS):
        return None
    named = {keyword.identifier.text: keyword.value for keyword in choice.keywords}
    selects = choice.function.text in ("top", "lowest") or ("by" in named and positive(named["by"], resolved))
    source = inline_lets(choice.arguments[0], resolved.inlinable)
    all_masks = is_word(source, "masked", resolved.inlinable) and "each" not in named
    return choice.arguments[1] if all_masks and selects else None


def schedule(count: syntax.Expression, resolved: Resolved) -> syntax.Call | None:
    """The schedule, if the count is a call of one; `None` for any other count."""
    if any(
        isinstance(s, syntax.Window) and s.shape.span.text.startswith("sliding")
        for s in resolved.policy.statements
    ):
        return None  # a schedule divides the positions that are masked at the window's first step
    count = inline_lets(count, resolved.inlinable)
    return count if is_call(count, SCHEDULES, 1) else None


def is_call(expression: syntax.Expression, words: Collection[str], arguments: int) -> TypeGuard[syntax.Call]:
    """Whether this is a call of one of the words, with this number of arguments and no named ones."""
    return (
        isinstance(expression, syntax.Call)
        and expression.function.text in words
        and len(expression.arguments) == arguments
    )
