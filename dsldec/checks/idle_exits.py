"""Does a row leave a phase after some steps that commit nothing?

The conditions of all `next` and `finish` count together: `next a when idle and calm` and `next b when idle
and not calm` leave in every idle step. Not here: conditions that leave in other steps too (`entailment`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from ..language import syntax
from .entailment import StepLimit, entailed_by_idle, inline_lets
from .resolved import Resolved
from .values import known_limits

MOST_NAMES = 6  # of which every combination of true and false is tried

Truths = Mapping[syntax.Node, bool]


def idle_steps(conditions: Sequence[syntax.Expression | None], resolved: Resolved) -> StepLimit | int | None:
    """The most steps of a visit that commit nothing: 1 if one leaves the phase, or a step limit from which on
    one leaves it. `None` without a proof. `conditions`: those under which a row leaves the phase.
    """
    given = [condition for condition in conditions if condition is not None]
    if len(given) < len(conditions) or _always(given, resolved, None):
        return 1
    limits = [limit for condition in given for limit in _limits(condition, resolved)]
    return next((limit for limit in limits if _always(given, resolved, limit)), None)


def _limits(condition: syntax.Expression, resolved: Resolved) -> list[StepLimit]:
    condition = inline_lets(condition, resolved.inlinable)
    if isinstance(condition, syntax.Conjunction | syntax.Disjunction):
        return _limits(condition.left, resolved) + _limits(condition.right, resolved)
    return known_limits(condition, resolved.policy, resolved.inlinable)


def _always(conditions: Iterable[syntax.Expression], resolved: Resolved, reached: StepLimit | None) -> bool:
    """Whether one of the conditions is true in every step that commits nothing, once a limit is reached."""
    conditions = list(conditions)
    names = list(dict.fromkeys(name for one in conditions for name in _names(one, resolved)))
    if len(names) > MOST_NAMES:
        return False
    combinations = itertools.product((False, True), repeat=len(names))
    return all(
        any(_holds(one, resolved, reached, dict(zip(names, values, strict=True))) for one in conditions)
        for values in combinations
    )


def _holds(
    condition: syntax.Expression, resolved: Resolved, reached: StepLimit | None, truths: Truths
) -> bool:
    """Whether a condition is surely true, for these values of named conditions."""
    condition = inline_lets(condition, resolved.inlinable)
    if condition in truths:
        return truths[condition]
    if isinstance(condition, syntax.Conjunction | syntax.Disjunction):
        sides = (_holds(x, resolved, reached, truths) for x in (condition.left, condition.right))
        return all(sides) if isinstance(condition, syntax.Conjunction) else any(sides)
    if isinstance(condition, syntax.Inversion):
        inner = inline_lets(condition.operand, resolved.inlinable)
        return inner in truths and not truths[inner]
    known = known_limits(condition, resolved.policy, resolved.inlinable)
    return entailed_by_idle(condition, resolved.inlinable) or (reached is not None and reached in known)


def _names(condition: syntax.Expression, resolved: Resolved) -> list[syntax.Expression]:
    """The values of names that a condition denies. The value of a name does not change during a step."""
    inlined = inline_lets(condition, resolved.inlinable)
    if isinstance(inlined, syntax.Conjunction | syntax.Disjunction):
        return _names(inlined.left, resolved) + _names(inlined.right, resolved)
    if isinstance(inlined, syntax.Inversion):
        value = inline_lets(inlined.operand, resolved.inlinable)
        return [value] if value is not inlined.operand else []
    return []
