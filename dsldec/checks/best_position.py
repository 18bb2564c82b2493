"""Does a condition such as `conf >= max(conf)` hold for the best masked position?

If it does, then this condition selects at least one masked position. Not here: the floor of a selection
(`floors`).
"""

from __future__ import annotations

from ..language import syntax
from .entailment import inline_lets, is_word
from .resolved import Resolved
from .signs import is_observation


def holds_for_the_best(condition: syntax.Expression, resolved: Resolved) -> bool:
    """Whether the condition is `x >= max(x)` or weaker, so that the best masked position satisfies it."""
    condition = inline_lets(condition, resolved.inlinable)
    if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
        return False
    (left, right), operator = condition.operands, condition.operators[0]
    ways = {
        ">=": ((right, left, "max", "-"), (left, right, "min", "+")),
        "<=": ((right, left, "min", "+"), (left, right, "max", "-")),
        "==": tuple(
            (bound, x, best, "") for bound, x in ((left, right), (right, left)) for best in ("min", "max")
        ),
    }
    return any(_reaches(resolved, *way) for way in ways.get(operator, ()))


def _reaches(
    resolved: Resolved, bound: syntax.Expression, x: syntax.Expression, best: str, eased: str
) -> bool:
    """Whether a bound is the best x of all masked positions, or easier to pass.

    For example `min(c, max(x) - 0.1)` is never above `max(x)`. `best`: `min` or `max`. `eased`: the operator
    that makes the bound easier; empty if there is none.
    """
    bound = inline_lets(bound, resolved.inlinable)
    if not is_observation(x, resolved):
        return False  # it may have no value, or have changed in this step
    if isinstance(bound, syntax.Arithmetic) and bound.operator == "*" and best == "max" and eased:
        infinite = is_word(x, "logit_margin", resolved.bindings)  # 0 * infinity has no value
        return (
            not infinite
            and _is_at_most_1(bound.left, resolved)
            and _reaches(resolved, bound.right, x, best, eased)
        )
    if isinstance(bound, syntax.Arithmetic) and bound.operator == eased:
        return _is_0_or_more(bound.right, resolved) and _reaches(resolved, bound.left, x, best, eased)
    return isinstance(bound, syntax.Call) and _call_reaches(resolved, bound, x, best, eased)


def _call_reaches(
    resolved: Resolved, bound: syntax.Call, x: syntax.Expression, best: str, eased: str
) -> bool:
    eases = {"max": "min", "min": "max"}[best]
    if bound.function.text == {"min": "first", "max": "last"}[best] and len(bound.arguments) == 1:
        return is_word(x, "pos", resolved.bindings) and is_word(
            bound.arguments[0], "masked", resolved.bindings
        )
    if eased and bound.function.text == eases and len(bound.arguments) > 1:
        pairs = (bound.arguments[:2], bound.arguments[1::-1])
        return any(
            _reaches(resolved, one, x, best, eased) and _has_value(other, resolved) for one, other in pairs
        )
    named = {keyword.identifier.text: keyword.value for keyword in bound.keywords}
    # With `each=`, a position outside all groups has no value.
    everything = "each" not in named and (
        "over" not in named or is_word(named["over"], "masked", resolved.bindings)
    )
    return (
        bound.function.text == best
        and len(bound.arguments) == 1
        and everything
        and resolved.same_tree(bound.arguments[0], x)
    )


def _parameter(expression: syntax.Expression, resolved: Resolved) -> syntax.Parameter | None:
    binding = resolved.bindings.get(expression) if isinstance(expression, syntax.Name) else None
    return binding if isinstance(binding, syntax.Parameter) else None


def _is_0_or_more(expression: syntax.Expression, resolved: Resolved) -> bool:
    if (parameter := _parameter(expression, resolved)) is not None:
        first = parameter.range.first.value if parameter.range is not None else None
        return parameter.kind.text == "prob" or (first is not None and first >= 0)
    return isinstance(expression, syntax.Number)


def _is_at_most_1(expression: syntax.Expression, resolved: Resolved) -> bool:
    if (parameter := _parameter(expression, resolved)) is not None:
        return parameter.kind.text == "prob"
    return isinstance(expression, syntax.Number) and expression.value <= 1


def _has_value(expression: syntax.Expression, resolved: Resolved) -> bool:
    return (
        isinstance(expression, syntax.Number)
        or _parameter(expression, resolved) is not None
        or is_observation(expression, resolved)
    )
