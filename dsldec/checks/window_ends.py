"""Does a window `until` end in one way: at ids, at a mask, or after a length?

Not here: whether each argument fits its slot (`fitting`), the largest length (`sizes`).
"""

from __future__ import annotations

from ..language import syntax
from ..language.words import Kind
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
        typing.wrong("E0226", message, masks[0], help=help_)
    named = {keyword.identifier.text: keyword for keyword in shape.keywords}
    if "length" in named:
        for name in CHOICES:
            if name in named:
                message = f"`{name}=` chooses among positions, and `length=` gives the length"
                typing.wrong("E0226", message, named[name], help=f"delete `{named[name].span.text}`")
