"""Which arguments does the call at a place take, and which one is being written?

Not here: suggestions for the argument (`completion`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..checks.arguments import signature
from ..language import syntax
from .analysis import analysed
from .declared_names import NameKind
from .hover import called
from .line_context import line_context


@dataclass(frozen=True, slots=True)
class CallSignature:
    """A call: its form, the texts of its arguments in it, the index of the one at the place, its meaning."""

    label: str
    arguments: tuple[str, ...]
    active: int
    meaning: str


def call_signature(text: str, offset: int) -> CallSignature | None:
    """The signature of the call around an offset; None outside of all calls."""
    analysis = analysed(text)
    context = line_context(analysis, offset)
    if context.call is None:
        return None
    word = called(context)
    if word is not None and word.slots:
        label = signature(word)
        names = [slot.name for slot in word.slots]
        written = context.pieces[context.argument_start :]
        named = written[0].text if len(written) > 1 and written[1].text == "=" else ""
        active = names.index(named) if named in names else min(context.argument, len(names) - 1)
        parts = label[len(word.name) + 1 : -1].split(", ")
        shown = [part for part in parts if part not in ("...", "...]")]
        return CallSignature(label, tuple(shown), active, word.meaning)
    function = next(
        (one for one in analysis.names if one.kind is NameKind.FUNCTION and one.name == context.call), None
    )
    if function is None or not isinstance(function.node, syntax.FunctionDeclaration):
        return None
    arguments = tuple(one.text for one in function.node.parameters)
    label = f"{function.name}({', '.join(arguments)})"
    active = min(context.argument, max(0, len(arguments) - 1))
    return CallSignature(label, arguments, active, function.node.body.span.text)
