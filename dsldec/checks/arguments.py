"""Which argument of a call belongs to which slot of a word?

Not here: whether the argument fits its slot (`fitting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .. import fixes
from ..diagnostics import Diagnostic, Fix, did_you_mean
from ..language import syntax
from ..language.words import Slot, Word
from ..source import Span


class Given(NamedTuple):
    """A slot and its argument."""

    slot: Slot
    expression: syntax.Expression


def by_group(call: syntax.Call) -> bool:
    """Whether a call has `each=`. A reduction then gives the value of its group to each position."""
    return any(keyword.identifier.text == "each" for keyword in call.keywords)


def signature(word: Word) -> str:
    """A word with its slots, in the form of a call: `top(mask, k, by=, [each=])`, `max(x, over=masked)`."""
    slots = [_slot(slot) for slot in word.slots]
    return f"{word.name}({', '.join(slots)})" if slots else word.name


def _slot(slot: Slot) -> str:
    plain = f"{slot.name}, ..." if slot.many else slot.name
    text = f"{slot.name}={slot.default}" if slot.named else plain
    return f"[{text}]" if slot.optional and not slot.default else text


def matched(call: syntax.Call, word: Word) -> tuple[list[Given], Diagnostic | None]:
    """The slots of a call with their arguments, and a diagnostic if an argument is missing, unknown or
    repeated.
    """
    if word.elementwise and len(call.arguments) == len(word.elementwise) and not call.keywords:
        return [
            Given(slot, value) for slot, value in zip(word.elementwise, call.arguments, strict=True)
        ], None
    help_ = f"write `{signature(word)}`"
    plain = [slot for slot in word.slots if not slot.named]
    if plain and plain[-1].many:
        plain += [plain[-1]] * (len(call.arguments) - len(plain))
    if len(call.arguments) > len(plain):
        extra = call.arguments[len(plain)]
        return [], Diagnostic(
            "E0203", f"`{extra.span.text}` is one argument too many for `{word.name}`", extra.span, help=help_
        )
    given = [Given(slot, value) for slot, value in zip(plain, call.arguments, strict=False)]
    named = {slot.name: slot for slot in word.slots if slot.named}
    for keyword in call.keywords:
        slot = named.pop(keyword.identifier.text, None)
        if slot is None:
            close = did_you_mean(keyword.identifier.text, named)
            hint = f"did you mean `{close}=`?" if close else help_
            return [], Diagnostic(
                "E0203",
                f"`{word.name}` does not take `{keyword.span.text}` here",
                keyword.span,
                help=hint,
                fix=Fix(keyword.identifier.span, close) if close else None,
            )
        given.append(Given(slot, keyword.value))
    return given, _lacking(call, word, [slot.name for slot, _ in given])


def _lacking(call: syntax.Call, word: Word, given: Sequence[str]) -> Diagnostic | None:
    help_ = f"write `{signature(word)}`"
    missing = [slot.name for slot in word.slots if slot.name not in given and not slot.optional]
    if missing:
        names = " and ".join(f"`{name}`" for name in missing)
        end = Span(call.span.source, call.span.end - 1, call.span.end)
        ranked = ", by=conf" if call.arguments or call.keywords else "by=conf"
        fix = fixes.before(end, ranked) if missing == ["by"] and end.text == ")" else None
        return Diagnostic("E0203", f"`{word.name}` lacks {names}", call.span, help=help_, fix=fix)
    if word.one_of and sum(name in given for name in word.one_of) != 1:
        named = {slot.name for slot in word.slots if slot.named}
        names = " or ".join(f"`{name}=`" if name in named else f"`{name}`" for name in word.one_of)
        return Diagnostic("E0203", f"`{word.name}` takes one of {names}", call.span, help=help_)
    return None
