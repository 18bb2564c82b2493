"""Does a value fit its place: its kind, its unit, its extent, its polarity?

An unknown type fits everywhere, so that one mistake gives one diagnostic. Not here: the type of the value
(`expression_types`), the place of a statement (`statements`, `head`).
"""

from __future__ import annotations

from .. import fixes
from ..language import syntax
from ..language.words import CONDITIONS, IDS, NUMBERS, UNITS, Extent, Kind, Polarity, Slot, Type
from . import choices, polarity
from .inference import Inference
from .kinds import WANTED, describe
from .resolved import UNKNOWN


def expect(typing: Inference, expression: syntax.Expression, slot: Slot, why: str) -> Type:
    """The type of an expression that must fit a slot of a word or a statement."""
    given = typing.infer(expression)
    text = expression.span.text
    if given.kind is Kind.UNKNOWN or (slot.or_mask and given.kind is Kind.MASK):
        return given
    if given.kind not in slot.kinds:
        if Kind.MASK in slot.kinds and given.kind is Kind.BOOL:
            message = f"`{text}` is one bool for the row, not a mask"
            masked = f"masked and {fixes.in_brackets(text)}"
            return typing.wrong("E0204", message, expression, why, f"write `{masked}`", masked)
        wanted = WANTED.get(slot.kinds) or " or ".join(describe(kind) for kind in sorted(slot.kinds))
        message = f"`{text}` is {describe(given.kind)} where {wanted} is needed"
        help_ = _of_kind(typing, expression, slot, given)
        fix = _as_int(expression, slot, given) if help_.startswith("write `") else None
        return typing.wrong("E0204", message, expression, why, help_, fix)
    if given.extent > slot.extent:
        help_ = _narrower(expression, given) or ("" if slot.extent is Extent.ROW else _OF_THE_RUN)
        return typing.wrong("E0207", *_too_wide(text, given, slot.extent), expression, why, help_)
    if slot.score:
        return _ranked(typing, expression, given, Polarity.LOW, "the least sure position would go first")
    return given


_OF_THE_RUN = "write a number, or a parameter: `size: int = 4 in 1..64`"
# A parameter of a kind that no other value has, by the kind.
_DECLARED = {
    Kind.PATTERN: "`shape: pattern`, and write `constrain(shape)`",
    Kind.NETWORK: "`net: network`, and write `learned(net, conf, entropy)`",
}


def _of_kind(typing: Inference, expression: syntax.Expression, slot: Slot, given: Type) -> str:
    """The help for a value of another kind than the slot's."""
    text = expression.span.text
    for kind, declared in _DECLARED.items():
        if slot.kinds == {kind}:
            return f"add a parameter to the policy: {declared}"
    if given.kind is Kind.NETWORK and slot.kinds & NUMBERS:
        return called(text)
    if Kind.INT not in slot.kinds or given.kind not in NUMBERS:
        return ""
    if isinstance(expression, syntax.Number):
        return f"write `{_as_int(expression, slot, given)}`"
    if slot.extent is Extent.RUN and isinstance(typing.binding(expression), syntax.Parameter):
        return f"declare it as an int: `{text}: int = 4 in 1..64`"
    return f"write `{_as_int(expression, slot, given)}`"


def _as_int(expression: syntax.Expression, slot: Slot, given: Type) -> str | None:
    """The text of a number as an int; None for another value, or where another kind is needed."""
    if Kind.INT not in slot.kinds or given.kind not in NUMBERS:
        return None
    if isinstance(expression, syntax.Number):
        return str(max(1, round(expression.value)))
    return f"int({expression.span.text})"


def called(network: str) -> str:
    """The help for a network that stands in the place of its number."""
    return f"write `learned({network}, conf, entropy)`: the network's number for the position"


def _ranked(
    typing: Inference, expression: syntax.Expression, given: Type, wrong: Polarity, label: str
) -> Type:
    """The type of a score that must not have this polarity, whatever the choices of the parameters are."""
    for branch in choices.branches(typing, expression):
        type_ = typing.types.get(branch, given)
        if type_.polarity is wrong:
            help_ = f"write `{polarity.flipped(branch)}`"
            fix = polarity.flipped(branch)
            return typing.wrong("E0206", f"`{branch.span.text}` is {wrong}", branch, label, help_, fix)
    return given


def expect_condition(typing: Inference, expression: syntax.Expression, why: str) -> Type:
    """The type of a condition that must have one value for the row."""
    given = typing.infer(expression)
    if given.kind is Kind.MASK:
        help_ = f"write `any({expression.span.text})`"
        return typing.wrong(
            "E0207",
            f"`{expression.span.text}` is a mask where one bool for the row is needed",
            expression,
            why,
            help_,
            f"any({expression.span.text})",
        )
    return given if given.kind in (Kind.BOOL, Kind.UNKNOWN) else _no_condition(typing, expression, given)


def expect_unsure(typing: Inference, expression: syntax.Expression) -> Type:
    """The type of the score of `revoke`, which ranks the least confident position first."""
    given = expect(typing, expression, Slot("by", NUMBERS), "positions are ranked by a score")
    return _ranked(typing, expression, given, Polarity.HIGH, "the surest position would go first")


def expect_value(typing: Inference, expression: syntax.Expression, wanted: Type, why: str) -> Type:
    """The type of a value for a state: a bare number fits any unit, an int any number, a bool a mask."""
    given = typing.infer(expression)
    if Kind.UNKNOWN in (given.kind, wanted.kind):
        return UNKNOWN
    text = expression.span.text
    numbers = given.kind in NUMBERS and wanted.kind in NUMBERS - {Kind.INT}
    if numbers and {given.kind, wanted.kind} <= UNITS and given.kind is not wanted.kind:
        return typing.wrong(
            "E0205", f"`{text}` is in {given.kind}, the state in {wanted.kind}", expression, why
        )
    alike = {Kind.MASK: CONDITIONS, Kind.TOKEN: IDS}.get(wanted.kind, frozenset({wanted.kind}))
    if not numbers and given.kind not in alike:
        if given.kind is Kind.MASK and wanted.kind is Kind.BOOL:
            return typing.wrong(
                "E0207",
                f"`{text}` is a mask where one bool for the row is needed",
                expression,
                why,
                f"write `any({text})`",
                f"any({text})",
            )
        whole = f"int({text})" if wanted.kind is Kind.INT and given.kind in NUMBERS else None
        help_ = f"write `{whole}`" if whole else ""
        return typing.wrong(
            "E0204",
            f"`{text}` is {describe(given.kind)} where {describe(wanted.kind)} is needed",
            expression,
            why,
            help_,
            whole,
        )
    if given.extent > wanted.extent:
        help_ = "reduce it, as in `mean(x)`, or declare the state with `each`"
        return typing.wrong(
            "E0207",
            f"`{text}` has a value for each position; the state has one for the row",
            expression,
            why,
            help_,
        )
    return given


def number(typing: Inference, expression: syntax.Expression) -> Type:
    """The type of an operand that must be a number."""
    type_ = typing.infer(expression)
    if type_.kind in NUMBERS or type_.kind is Kind.UNKNOWN:
        return type_
    text = expression.span.text
    help_ = called(text) if type_.kind is Kind.NETWORK else ""
    return typing.wrong(
        "E0204", f"`{text}` is {describe(type_.kind)} where a number is needed", expression, help=help_
    )


def condition(typing: Inference, expression: syntax.Expression) -> Type:
    """The type of an operand that must be a condition, for the row or for each position."""
    type_ = typing.infer(expression)
    return (
        type_
        if type_.kind in (Kind.MASK, Kind.BOOL, Kind.UNKNOWN)
        else _no_condition(typing, expression, type_)
    )


def _no_condition(typing: Inference, expression: syntax.Expression, given: Type) -> Type:
    text = expression.span.text
    fix = f"{fixes.in_brackets(text)} > 0" if given.kind in NUMBERS else None
    help_ = f"compare it: `{fix}`" if fix else ""
    if given.kind is Kind.CHOICE:
        help_ = f"compare it with one of its names: `{text} == NAME`"
    if given.kind is Kind.NETWORK:
        help_ = f"write `learned({text}, conf, entropy) > 0.5`"
    return typing.wrong(
        "E0204",
        f"`{text}` is {describe(given.kind)} where a condition is needed",
        expression,
        help=help_,
        fix=fix,
    )


def _too_wide(text: str, given: Type, most: Extent) -> tuple[str]:
    wide = "for each position" if given.extent is Extent.POSITION else "for each row"
    narrow = "for the row" if most is Extent.ROW else "for the whole run"
    return (f"`{text}` has a value {wide}; one {narrow} is needed",)


def _narrower(expression: syntax.Expression, given: Type) -> str:
    return (
        f"reduce it, as in `mean({expression.span.text})`"
        if given.extent is Extent.POSITION and given.kind in NUMBERS
        else ""
    )
