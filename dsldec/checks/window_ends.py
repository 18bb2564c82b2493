"""Does a window `until` end in one way: at ids, at a mask, or after a length?

Not here: whether each argument fits its slot (`fitting`), the largest length (`sizes`).
"""

from __future__ import annotations

from .. import fixes
from ..diagnostics import Fix
from ..language import syntax
from ..language.words import Kind
from ..source import Span
from .inference import Inference
from .resolved import UNKNOWN

# The arguments that choose among positions; a length needs none.
CHOICES = ("by", "when")


def require_one_form(typing: Inference, shape: syntax.Expression) -> None:
    """Reports a mask beside other ends, and a length with an argument that chooses among positions."""
    if not isinstance(shape, syntax.Call) or shape.function.text != "until":
        return
    masks = [one for one in shape.arguments if typing.types.get(one, UNKNOWN).kind is Kind.MASK]
    if masks and len(shape.arguments) > 1:
        help_ = f"write one mask: `token == 3 or {masks[0].span.text}`"
        message = "a window ends at ids or at a mask, not at both"
        typing.wrong("E0226", message, masks[0], help=help_, fix=_one_mask(shape, masks))
    named = {keyword.identifier.text: keyword for keyword in shape.keywords}
    if "length" in named:
        for name in CHOICES:
            if name in named:
                message = f"`{name}=` chooses among positions, and `length=` gives the length"
                fix = _deleted(shape, named[name])
                typing.wrong("E0226", message, named[name], help=f"delete `{named[name].span.text}`", fix=fix)


def _one_mask(shape: syntax.Call, masks: list[syntax.Expression]) -> Fix | None:
    """The fix that writes one mask in place of ids and masks; None where the arguments stand apart."""
    first, last = shape.arguments[0].span, shape.arguments[-1].span
    parts = [
        fixes.in_brackets(one.span.text) if one in masks else f"token == {one.span.text}"
        for one in shape.arguments
    ]
    return Fix(first.to(last), " or ".join(parts))


def _deleted(call: syntax.Call, keyword: syntax.Keyword) -> Fix:
    """The fix that deletes an argument and its comma."""
    span, text = keyword.span, call.span.source.text
    comma = text.rfind(",", call.span.start, span.start)
    if comma >= 0:
        return Fix(Span(span.source, comma, span.end), "")
    behind = text.find(",", span.end, call.span.end)
    end = len(text) - len(text[behind + 1 :].lstrip()) if behind >= 0 else span.end
    return Fix(Span(span.source, span.start, end), "")
