"""What is an expression worth before anything runs: parameters, numbers, lengths, and arithmetic on them.

Computes as a step does (`language.arithmetic`), so that a bound and the step that it bounds agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from ..language import syntax
from ..language.arithmetic import ARITHMETIC, ELEMENTWISE, LARGEST_INT, float32
from ..language.words import ELEMENTWISE_WORDS, NUMBERS, WORDS, Kind
from .entailment import Bindings, StepLimit, inline_lets, step_limits

Scalar = int | float | bool
Value = (
    Scalar | tuple[float, ...]
)  # what a parameter is bound to; a tuple is a table, one number for each id of the vocabulary


def constant_value(
    expression: syntax.Expression, meanings: Bindings, known: Mapping[str, Value]
) -> Scalar | None:
    """The value, with parameters and words as in `known`; `None` where it depends on more."""
    expression = inline_lets(expression, meanings)
    match expression:
        case syntax.Number():
            return _as_held(expression.value)
        case syntax.Name():
            value, meaning = known.get(expression.identifier), meanings.get(expression)
            if value is None or isinstance(value, tuple):
                return None
            # `share: real = 1` is a real in the step.
            is_real = isinstance(meaning, syntax.Parameter) and meaning.kind.text in NUMBERS - {Kind.INT}
            return float32(value) if is_real else _as_held(value)
        case syntax.Negation():
            return _applied("negate", (expression.operand,), meanings, known)
        case syntax.Arithmetic():
            return _applied(
                ARITHMETIC[expression.operator], (expression.left, expression.right), meanings, known
            )
        case syntax.Call() if expression.function.text == "clamp" and len(expression.arguments) == len(
            WORDS["clamp"].positional
        ):
            x, least, most = (constant_value(argument, meanings, known) for argument in expression.arguments)
            return (
                None
                if x is None or least is None or most is None
                else _computed("minimum", _computed("maximum", x, least), most)
            )
        case syntax.Call() if _is_elementwise(expression):
            return _applied(
                ELEMENTWISE_WORDS[expression.function.text], expression.arguments, meanings, known
            )
        case _:
            return None


def _is_elementwise(call: syntax.Call) -> bool:
    """Whether a call is one operation on numbers: `min(a, b)` is, `min(x)` is a reduction over a mask."""
    if call.function.text not in ELEMENTWISE_WORDS or call.keywords:
        return False
    word = WORDS[call.function.text]
    return len(call.arguments) == len(word.elementwise or word.slots)


def int_of(size: int | str | None, parameters: Mapping[str, Value]) -> int | None:
    """A number, or the value of the int parameter of that name."""
    value = parameters[size] if isinstance(size, str) else size
    assert not isinstance(value, tuple)
    return None if value is None else int(value)


def whole(value: Scalar | None) -> int:
    """The smallest int that is not below a value; no value, as of 0 / 0, is never reached."""
    if value is None or math.isnan(value):
        return LARGEST_INT
    return math.ceil(max(-LARGEST_INT, min(LARGEST_INT, value)))


def _as_held(value: Scalar) -> Scalar:
    return value if isinstance(value, int) else float32(value)


def _applied(
    name: str, inputs: tuple[syntax.Expression, ...], meanings: Bindings, known: Mapping[str, Value]
) -> Scalar | None:
    values = [constant_value(one, meanings, known) for one in inputs]
    return None if any(value is None for value in values) else _computed(name, *values)


def _computed(name: str, *values: Scalar | None) -> Scalar:
    value: Scalar = ELEMENTWISE[name](*values)
    return value


def known_limits(
    condition: syntax.Expression | None, policy: syntax.PolicyDefinition, meanings: Bindings
) -> list[StepLimit]:
    """The step limits of a window or a phase that a condition sets and whose number is known before anything
    runs.
    """
    limits = [
        limit
        for limit in step_limits(condition, meanings)
        if constant_value(limit.most, meanings, defaults(policy)) is not None
    ]
    if _is_one_window(policy):
        limits = [
            replace(limit, counter="steps_in_window") if limit.counter == "step" else limit
            for limit in limits
        ]
    return [limit for limit in limits if limit.counter != "step"]


def _is_one_window(policy: syntax.PolicyDefinition) -> bool:
    return any(
        isinstance(s, syntax.Window) and isinstance(s.shape, syntax.Name) and s.shape.identifier == "all"
        for s in policy.statements
    )


def defaults(policy: syntax.PolicyDefinition) -> dict[str, Value]:
    """Values under which it shows whether a bound can be worked out: defaults, and lengths of 1."""
    values: dict[str, Value] = {p.identifier.text: p.default.value for p in policy.parameters}
    return values | {"window_length": 1, "generation_length": 1}
