"""Is a size known before the run, at least one, and not above the size that a step is compiled for?

Sizes are the lengths of a window, the drafts of `lookahead`, `at_most=` of `thin` and `keep=` of `kl`.
"""

from __future__ import annotations

from ..diagnostics import Fix
from ..language import syntax
from ..language.words import WINDOWS, Extent, Kind, Slot
from ..options import MOST_DRAFTS
from .fitting import expect
from .floor_values import suggested
from .inference import Inference
from .resolved import UNKNOWN

DRAFTS = Slot("drafts", frozenset({Kind.INT}), Extent.RUN)
# The arguments of a window's shape that must be at least one.
AT_LEAST_ONE = ("n", "max_masks", "max_length", "max")


def require_bounded(typing: Inference, expression: syntax.Expression, most: int) -> None:
    """Reports a size of the compiled step that is above `most` or has no bound.

    A size must be a number, or a parameter with a range.
    """
    binding = typing.binding(expression)
    if isinstance(expression, syntax.Number):
        if expression.value > most:
            typing.wrong(
                "E0211",
                f"`{expression.span.text}` is larger than the step is compiled for",
                expression,
                help=f"at most {most}",
                fix=str(most),
            )
        return
    if not isinstance(binding, syntax.Parameter):
        help_ = f"make it a parameter: `size: int = 8 in 1..{most}`"
        typing.wrong(
            "E0211",
            f"`{expression.span.text}` sets a size of the step, and must be one number or one parameter",
            expression,
            help=help_,
        )
    elif binding.range is None:
        name, default = binding.identifier.text, suggested(binding)
        help_ = f"give the parameter a range: `{name}: int = {default} in 1..{most}`"
        typing.wrong(
            "E0211",
            f"`{name}` sizes the step, and has no upper bound",
            expression,
            help=help_,
            fix=_with_range(binding, most),
        )
    elif binding.range.last.value > most:
        message = f"`{binding.identifier.text}` may be larger than the step is compiled for"
        fix = Fix(binding.range.last.span, str(most))
        typing.wrong("E0211", message, expression, help=f"let its range end at {most} or before", fix=fix)


def _with_range(parameter: syntax.Parameter, most: int) -> Fix | None:
    """The fix that gives a parameter a range from 1 on."""
    if parameter.default is None:
        return None
    return Fix(parameter.default.span, f"{suggested(parameter)} in 1..{most}")


def at_least_one(typing: Inference, size: syntax.Expression) -> Fix | None:
    """The fix of a size that may be 0: the number, or the first one of the parameter's range, becomes 1."""
    binding = typing.binding(size)
    if isinstance(binding, syntax.Parameter):
        return Fix(binding.range.first.span, "1") if binding.range is not None else None
    return Fix(size.span, "1") if isinstance(size, syntax.Number) else None


def require_positions(typing: Inference, shape: syntax.Expression) -> None:
    """Reports the size of a window that may have no position."""
    if not isinstance(shape, syntax.Call) or shape.function.text not in WINDOWS:
        return
    slots = WINDOWS[shape.function.text].slots
    given = list(zip(slots, shape.arguments, strict=False))
    given = [] if any(slot.many for slot, _ in given) else given
    named = {slot.name: slot for slot in slots}
    given += [(named[k.identifier.text], k.value) for k in shape.keywords if k.identifier.text in named]
    for slot, size in given:
        if slot.name in AT_LEAST_ONE and typing.types.get(size, UNKNOWN).kind is Kind.INT:
            least = smallest_size(typing, size)
            if least is None and not slot.static and slot.name == "max_masks":
                least = 0
            if least is not None and least < 1:
                help_ = _help(typing, size)
                message, fix = "a window must hold at least one position", at_least_one(typing, size)
                typing.wrong("E0302", message, size, help=help_, fix=fix)


def require_drafts(typing: Inference, drafts: syntax.Expression) -> None:
    """Reports a number of drafts that is not known before the run, or may be 0."""
    if expect(typing, drafts, DRAFTS, "how many steps are drafted ahead").kind is not Kind.INT:
        return
    require_bounded(typing, drafts, MOST_DRAFTS)
    least = smallest_size(typing, drafts)
    if least is not None and least < 1:
        help_ = "write a number of 1 or more (1: no drafts), or an int parameter with a range: `drafts: int = 4 in 1..32`"
        message, fix = "at least one draft is verified: the next step itself", at_least_one(typing, drafts)
        typing.wrong("E0302", message, drafts, help=help_, fix=fix)


def smallest_size(typing: Inference, size: syntax.Expression) -> int | None:
    """The least value of a size; `None` if it has no known bound, which is reported elsewhere."""
    if isinstance(size, syntax.Number):
        return int(size.value)
    binding = typing.binding(size)
    if isinstance(binding, syntax.Parameter):
        return int(binding.range.first.value) if binding.range is not None else None
    return None


def _help(typing: Inference, size: syntax.Expression) -> str:
    binding = typing.binding(size)
    if isinstance(binding, syntax.Parameter):
        default = suggested(binding)
        return f"give the parameter a range: `{binding.identifier.text}: int = {default} in 1..65536`"
    return "write a number of 1 or more, or an int parameter with a range: `block: int = 32 in 1..65536`"
