"""What is an expression worth before anything runs: parameters, numbers, lengths, and arithmetic on them.

Computes as a step does: what has a fraction is rounded to float32 after every operation.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from ..language import syntax
from .implied import Meanings, StepLimit, plain, step_limit

Value = int | float | bool


def float32(value: float) -> float:
    """The nearest float32."""
    return ctypes.c_float(value).value


def worth(expression: syntax.Expression, meanings: Meanings, known: Mapping[str, Value]) -> Value | None:
    """The value, with parameters and words as in `known`; `None` where it depends on more, or there is none."""
    expression = plain(expression, meanings)
    match expression:
        case syntax.Number():
            return expression.value if isinstance(expression.value, int) else float32(expression.value)
        case syntax.Name():
            return known.get(expression.identifier)
        case syntax.Negation():
            operand = worth(expression.operand, meanings, known)
            return None if operand is None else -operand
        case syntax.Arithmetic():
            return _of_two(_arithmetic(expression.operator), expression.left, expression.right, meanings, known)
        case syntax.Call() if expression.function.text in FUNCTIONS and not expression.keywords:
            values = [worth(argument, meanings, known) for argument in expression.arguments]
            return None if None in values else _defined(FUNCTIONS[expression.function.text], *values)
        case _:
            return None


def known_limit(condition: syntax.Expression | None, policy: syntax.Policy, meanings: Meanings) -> StepLimit | None:
    """The step limit that a condition sets, if its number is known before anything runs."""
    limit = step_limit(condition, meanings)
    if limit is not None and limit.counter == "step" and _is_one_window(policy):
        limit = replace(limit, counter="steps_in_window")
    return limit if limit is not None and worth(limit.most, meanings, defaults(policy)) is not None else None


def _is_one_window(policy: syntax.Policy) -> bool:
    return any(isinstance(s, syntax.Window) and isinstance(s.shape, syntax.Name) and s.shape.identifier == "all" for s in policy.statements)


def defaults(policy: syntax.Policy) -> dict[str, Value]:
    """Values under which it shows whether a bound can be worked out: defaults, and lengths of 1."""
    values: dict[str, Value] = {p.identifier.text: p.default.value for p in policy.parameters}
    return values | {"window_length": 1, "generation_length": 1}


def _of_two(
    function: Callable[[float, float], Value],
    left: syntax.Expression,
    right: syntax.Expression,
    meanings: Meanings,
    known: Mapping[str, Value],
) -> Value | None:
    a, b = worth(left, meanings, known), worth(right, meanings, known)
    return None if a is None or b is None else _defined(function, a, b)


def _defined(function: Callable[..., Value], *values: Value | None) -> Value | None:
    try:
        value = function(*values)
        return value if isinstance(value, int) else float32(value) if math.isfinite(value) else None
    except (ArithmeticError, ValueError):
        return None


def _arithmetic(operator: str) -> Callable[[float, float], Value]:
    return {
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: a / b,
        "//": lambda a, b: a // b,
        "%": lambda a, b: a % b,
        "**": lambda a, b: math.pow(a, b),
    }[operator]


FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "int": int,
    "floor": math.floor,
    "ceil": math.ceil,
    "min": min,
    "max": max,
    "abs": abs,
    "sqrt": math.sqrt,
    "log": math.log,
    "exp": math.exp,
    "clamp": lambda x, least, most: min(max(x, least), most),
}
