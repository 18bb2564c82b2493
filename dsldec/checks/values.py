"""The value of an expression that is known before the run: numbers, parameters, lengths, arithmetic on them.

It is computed as in a step (`language.arithmetic`), so that a bound agrees with the step that it bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import assert_never

from ..language import syntax
from ..language.arithmetic import ARITHMETIC, ELEMENTWISE, LARGEST_INT, float32
from ..language.words import ELEMENTWISE_WORDS, NUMBERS, WORDS, Kind
from ..networks.network import LearnedNetwork
from .entailment import StepLimit, inline_lets, step_limits
from .resolved import Bindings

Scalar = int | float | bool
# The value of a parameter. A tuple is a table, with one number for each id or step. A text is a pattern or
# the name of a choice; among the static parameters also the sizes of a network. A pattern without a value is
# `None`.
Value = Scalar | tuple[float, ...] | LearnedNetwork | str | None


def constant_value(
    expression: syntax.Expression, bindings: Bindings, known: Mapping[str, Value]
) -> Scalar | None:
    """The value, with parameters and words as in `known`; `None` if it depends on anything else."""
    expression = inline_lets(expression, bindings)
    match expression:
        case syntax.Number():
            return _as_stored(expression.value)
        case syntax.Name():
            return _of_name(expression, bindings, known)
        case syntax.Negation():
            return _applied("negate", (expression.operand,), bindings, known)
        case syntax.Arithmetic():
            pair = (expression.left, expression.right)
            return _applied(ARITHMETIC[expression.operator], pair, bindings, known)
        case syntax.Call():
            return _of_call(expression, bindings, known)
        case (
            syntax.Boolean()
            | syntax.Comparison()
            | syntax.Inversion()
            | syntax.Conjunction()
            | syntax.Disjunction()
            | syntax.Alternative()
            | syntax.Conditional()
        ):
            return None
        case _:
            assert_never(expression)


def _of_name(name: syntax.Name, bindings: Bindings, known: Mapping[str, Value]) -> Scalar | None:
    value, binding = known.get(name.identifier), bindings.get(name)
    if not isinstance(value, bool | int | float):
        return None
    # `share: real = 1` is a real in the step.
    is_real = isinstance(binding, syntax.Parameter) and binding.kind.text in NUMBERS - {Kind.INT}
    return float32(value) if is_real else _as_stored(value)


def _of_call(call: syntax.Call, bindings: Bindings, known: Mapping[str, Value]) -> Scalar | None:
    word = call.function.text
    if word == "clamp" and len(call.arguments) == len(WORDS["clamp"].positional):
        x, least, most = (constant_value(argument, bindings, known) for argument in call.arguments)
        if x is None or least is None or most is None:
            return None
        return _computed("minimum", _computed("maximum", x, least), most)
    if _is_elementwise(call):
        return _applied(ELEMENTWISE_WORDS[word], call.arguments, bindings, known)
    return None


def _is_elementwise(call: syntax.Call) -> bool:
    """Whether a call is one operation on numbers: `min(a, b)` is one, `min(x)` is a reduction over a mask."""
    if call.function.text not in ELEMENTWISE_WORDS or call.keywords:
        return False
    word = WORDS[call.function.text]
    return len(call.arguments) == len(word.elementwise or word.slots)


def int_of(size: int | str | None, parameters: Mapping[str, Value]) -> int | None:
    """The number itself, or the value of the int parameter with this name."""
    value = parameters[size] if isinstance(size, str) else size
    assert value is None or isinstance(value, bool | int | float)
    return None if value is None else int(value)


def static_values(names: Iterable[str], parameters: Mapping[str, Value]) -> dict[str, Value]:
    """The values of static parameters, on which the code of a compiled step depends: of a network its sizes,
    not its weights.
    """
    given = {name: parameters[name] for name in names}
    return {
        name: value.sizes if isinstance(value, LearnedNetwork) else value for name, value in given.items()
    }


def whole(value: Scalar | None) -> int:
    """The smallest int that is not below a value.

    It is the largest int for a number without a value (0 / 0), which no step reaches.
    """
    if value is None or math.isnan(value):
        return LARGEST_INT
    return math.ceil(max(-LARGEST_INT, min(LARGEST_INT, value)))


def _as_stored(value: Scalar) -> Scalar:
    return value if isinstance(value, int) else float32(value)


def _applied(
    name: str, inputs: tuple[syntax.Expression, ...], bindings: Bindings, known: Mapping[str, Value]
) -> Scalar | None:
    values = [constant_value(one, bindings, known) for one in inputs]
    return None if any(value is None for value in values) else _computed(name, *values)


def _computed(name: str, *values: Scalar | None) -> Scalar:
    value: Scalar = ELEMENTWISE[name](*values)
    return value


def known_limits(
    condition: syntax.Expression | None, policy: syntax.PolicyDefinition, bindings: Bindings
) -> list[StepLimit]:
    """The step limits of a condition, if their number is known before the run. They count the steps of a
    window or a phase.

    A row has at least as many steps as its window. So a limit of `step` is reached at that step of a window,
    or before.
    """
    limits = [
        limit
        for limit in step_limits(condition, bindings)
        if constant_value(limit.most, bindings, defaults(policy)) is not None
    ]
    return [
        replace(limit, counter="steps_in_window") if limit.counter == "step" else limit for limit in limits
    ]


def defaults(policy: syntax.PolicyDefinition) -> dict[str, Value]:
    """The default of each parameter, and lengths of 1.

    With these values, `constant_value` shows whether an expression is known before the run.
    """
    values: dict[str, Value] = {
        p.identifier.text: p.default.value for p in policy.parameters if p.default is not None
    }
    return values | {"window_length": 1, "generation_length": 1}
