"""The type of an operator's result, for the types of its operands."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ..language import syntax
from ..language.words import CONDITIONS, IDS, NUMBERS, UNITS, Extent, Kind, Polarity, Slot, Type
from . import choices, polarity
from .fitting import condition, expect, number
from .inference import Inference
from .kinds import describe, of_condition
from .resolved import UNKNOWN

CONVERSIONS = {
    (
        Kind.PROB,
        Kind.NATS,
    ): "compare like with like: `entropy` or `-log(conf)` with nats, `conf` with a probability",
    (
        Kind.PROB,
        Kind.LOGIT,
    ): "compare like with like: `logit_margin` with a logit, `margin` with a probability",
    (Kind.NATS, Kind.LOGIT): "compare like with like: `entropy` with nats, `logit_margin` with a logit",
}


def negation(typing: Inference, expression: syntax.Negation) -> Type:
    operand = number(typing, expression.operand)
    return replace(operand, polarity=polarity.FLIPPED[operand.polarity])


def conditional(typing: Inference, expression: syntax.Conditional) -> Type:
    chooses = condition(typing, expression.condition)
    left, right = typing.infer(expression.then), typing.infer(expression.otherwise)
    kinds = {left.kind, right.kind}
    if Kind.UNKNOWN in (chooses.kind, *kinds):
        return UNKNOWN
    extent = max(chooses.extent, left.extent, right.extent)
    if kinds <= CONDITIONS:
        return of_condition(extent)
    if Kind.TOKEN in kinds and kinds <= IDS:
        return Type(Kind.TOKEN, extent)
    if kinds <= NUMBERS:
        sure = left.polarity if left.polarity is right.polarity else Polarity.NONE
        if choices.chooses(expression.condition, typing.resolved.bindings) and _units_differ(left, right):
            return Type(Kind.REAL, extent, sure)  # a step has one of the units only
        if not same_unit(typing, expression.then, expression.otherwise, expression):
            return UNKNOWN
        return Type(joined(left, right).kind, extent, sure)
    message = f"`{expression.then.span.text}` is {describe(left.kind)}, `{expression.otherwise.span.text}` is {describe(right.kind)}"
    return typing.wrong("E0204", message, expression, "both must be numbers, or both conditions")


def alternative(typing: Inference, expression: syntax.Alternative) -> Type:
    slot = Slot("mask", frozenset({Kind.MASK}))
    sides = [
        expect(typing, side, slot, "`orelse` stands between two masks")
        for side in (expression.left, expression.right)
    ]
    return UNKNOWN if Kind.UNKNOWN in [side.kind for side in sides] else Type(Kind.MASK, Extent.POSITION)


def _units_differ(left: Type, right: Type) -> bool:
    return left.kind is not right.kind and left.kind in UNITS and right.kind in UNITS


def same_unit(typing: Inference, left: syntax.Expression, right: syntax.Expression, at: syntax.Node) -> bool:
    """Whether two numbers have one unit, or one of them has none; reports two units at `at`."""
    kinds = [typing.types[left].kind, typing.types[right].kind]
    if not _units_differ(typing.types[left], typing.types[right]):
        return True
    first, second = sorted(kinds, key=[Kind.PROB, Kind.NATS, Kind.LOGIT].index)
    message = f"`{left.span.text}` is in {kinds[0]}, `{right.span.text}` in {kinds[1]}"
    typing.wrong("E0205", message, at, "their units differ", CONVERSIONS[first, second])
    return False


def arithmetic(typing: Inference, expression: syntax.Arithmetic) -> Type:
    left, right = number(typing, expression.left), number(typing, expression.right)
    if Kind.UNKNOWN in (left.kind, right.kind):
        return UNKNOWN
    extent = max(left.extent, right.extent)
    if expression.operator not in "+-":
        whole = left.kind is right.kind is Kind.INT and expression.operator in ("*", "//", "%")
        return Type(Kind.INT if whole else Kind.REAL, extent, polarity.of_product(expression, left, right))
    if not same_unit(typing, expression.left, expression.right, expression):
        return UNKNOWN
    _lint_doubt(typing, expression)
    sure = polarity.FLIPPED[right.polarity] if expression.operator == "-" else right.polarity
    return joined(left, replace(right, polarity=sure))


def _lint_doubt(typing: Inference, expression: syntax.Arithmetic) -> None:
    left, right = expression.left, expression.right
    is_one = isinstance(left, syntax.Number) and left.value == 1
    if (
        expression.operator == "-"
        and is_one
        and isinstance(right, syntax.Name)
        and right.identifier == "conf"
    ):
        message = "`1 - conf` is 0 wherever conf is close to 1: float32 has no digits left for it"
        typing.wrong("W0203", message, expression, help="write `doubt`", fix="doubt")


def logic(typing: Inference, expression: syntax.Conjunction | syntax.Disjunction) -> Type:
    left, right = condition(typing, expression.left), condition(typing, expression.right)
    if Kind.UNKNOWN in (left.kind, right.kind):
        return UNKNOWN
    return of_condition(max(left.extent, right.extent))


def comparison(typing: Inference, expression: syntax.Comparison) -> Type:
    if (chosen := choices.comparison_type(typing, expression)) is not None:
        return chosen
    types = [typing.infer(operand) for operand in expression.operands]
    if any(t.kind is Kind.UNKNOWN for t in types):
        return UNKNOWN
    extent = max(t.extent for t in types)
    if any(t.kind is Kind.TOKEN for t in types):
        return _comparison_of_ids(typing, expression, types) or of_condition(extent)
    for operand, type_ in zip(expression.operands, types, strict=True):
        if type_.kind not in NUMBERS:
            message = f"`{operand.span.text}` is {describe(type_.kind)} where a number is needed"
            return typing.wrong("E0204", message, operand)
    if not all(same_unit(typing, left, right, expression) for left, right in pairwise(expression.operands)):
        return UNKNOWN
    return of_condition(extent)


def _comparison_of_ids(typing: Inference, expression: syntax.Comparison, types: list[Type]) -> Type | None:
    for operand, type_ in zip(expression.operands, types, strict=True):
        if type_.kind not in IDS:
            message = f"`{operand.span.text}` is {describe(type_.kind)} where an id is needed"
            return typing.wrong("E0204", message, operand, "ids are compared with ids")
    if not set(expression.operators) <= {"==", "!="}:
        return typing.wrong(
            "E0204",
            "ids have no order",
            expression,
            "one id is not greater than another",
            "compare them by `==` or `!=`",
        )
    return None


def joined(left: Type, right: Type) -> Type:
    """The type of two numbers together: an int only for two ints, the unit of either, the wider extent."""
    units = [type_.kind for type_ in (left, right) if type_.kind in UNITS]
    kind = Kind.INT if left.kind is right.kind is Kind.INT else units[0] if units else Kind.REAL
    return Type(kind, max(left.extent, right.extent), polarity.of_sum(left, right))
