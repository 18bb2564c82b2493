"""The type of a word of the language, alone or with arguments.

Not here: which argument belongs to which slot (`arguments`), whether an argument fits its slot (`fitting`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from ..diagnostics import Fix
from ..language import syntax
from ..language.walk import children, walk
from ..language.words import NUMBERS, SHAPES, WORDS, Extent, Kind, Polarity, Type, Word
from . import sizes
from .arguments import Given, by_group, matched, signature
from .fitting import expect
from .inference import Inference
from .kinds import NOT_BEFORE, NOT_YET
from .networks import LEARNED, network_name
from .operators import joined, same_unit
from .resolved import UNKNOWN

# The statements of the head whose expressions are evaluated before the statements of a step.
EARLY = {
    "accept": "drafts are accepted",
    "pick": "candidates are compared",
    "window": "the window is placed",
}


def call_type(typing: Inference, call: syntax.Call) -> Type:
    """The type of a call."""
    word = WORDS.get(call.function.text)
    if word is None or not word.slots:
        for value in (*call.arguments, *(k.value for k in call.keywords)):
            typing.infer(value)
        if word is not None:
            return typing.wrong(
                "E0203",
                f"`{word.name}` takes no arguments",
                call,
                help=f"write `{word.name}`",
                fix=word.name,
            )
        return no_value(typing, call, call.function.text)
    fits = arguments(typing, call, word)
    if fits is None:
        return UNKNOWN
    if word.within is not None and word.within not in typing.within:
        return of_word(typing, word, call)
    if any(type_.kind is Kind.UNKNOWN for _, type_ in fits):
        return UNKNOWN
    if word.name == LEARNED:
        return typing.resolved.outputs.get(network_name(typing.resolved, call) or "") or word.gives or UNKNOWN
    if word.name in OWN_TYPES:
        return OWN_TYPES[word.name](typing, call, [type_ for _, type_ in fits])
    gives = (
        _spread(typing, word, fits[0][1])
        if word.spread
        else word.gives or _of_numbers(typing, call, word, fits)
    )
    return _of_groups(gives) if by_group(call) and not word.selects else gives


def arguments(typing: Inference, call: syntax.Call, word: Word) -> list[tuple[Given, Type]] | None:
    """Each argument with its slot and type; `None` where the arguments do not belong to the word."""
    given, mistake = matched(call, word)
    if mistake is not None:
        typing.diagnostics.append(mistake)
        for part in walk(call):  # the type of each part is unknown
            typing.types.setdefault(part, UNKNOWN)
        return None
    fits = []
    for one in given:
        # `rank` in `while=` refers to the innermost order.
        outer = typing.within
        typing.within = [*outer, word.name] if one.slot.name == "while" else outer
        fits.append((one, expect(typing, one.expression, one.slot, f"`{signature(word)}`")))
        typing.within = outer
        if one.slot.largest is not None and fits[-1][1].kind is Kind.INT:
            sizes.require_bounded(typing, one.expression, one.slot.largest)
    return fits


def _of_groups(of_row: Type) -> Type:
    kind = Kind.MASK if of_row.kind is Kind.BOOL else of_row.kind
    return replace(of_row, kind=kind, extent=Extent.POSITION)


def _spread(typing: Inference, word: Word, argument: Type) -> Type:
    assert word.gives is not None
    kind = Kind.NATS if word.name == "log" and argument.kind is Kind.PROB else word.gives.kind
    return Type(kind, argument.extent, argument.polarity if word.rising else Polarity.NONE)


def _before(typing: Inference, call: syntax.Call, types: Sequence[Type]) -> Type:
    argument = types[0]
    label = "`before(x)` is the value of x at the start of a step"
    for part in _not_read(typing, call.arguments[0]):
        name = _name(part)
        if isinstance(typing.binding(part), syntax.Let | syntax.Branch):
            help_ = f"write the value of `{name}` in full, or store it in a state"
            return typing.wrong(
                "E0212", f"`{name}` gets its value only later in the step", part, label, help_
            )
        if name in NOT_BEFORE and typing.binding(part) is None:
            help_ = f"store it in a state: `set last = {name}`"
            return typing.wrong("E0212", f"`{name}` has no value at the start of a step", part, label, help_)
    return Type(_with_holes(argument.kind), max(argument.extent, Extent.ROW), argument.polarity)


def _with_holes(kind: Kind) -> Kind:
    """The kind of a value that may be missing: an int cannot represent that there is none."""
    return Kind.REAL if kind is Kind.INT else kind


def _shift(typing: Inference, call: syntax.Call, types: Sequence[Type]) -> Type:
    return Type(_with_holes(types[0].kind), Extent.POSITION, types[0].polarity)


def _random(typing: Inference, call: syntax.Call, types: Sequence[Type]) -> Type:
    if not types:
        return typing.wrong(
            "E0203", "`random()` lacks `x`", call, help="write `random`, or `random(pos)`", fix="random"
        )
    return Type(Kind.REAL, max(types[0].extent, Extent.ROW))


def _of(typing: Inference, call: syntax.Call, types: Sequence[Type]) -> Type:
    table, index = types
    text, name = call.arguments[1].span.text, call.arguments[0].span.text
    if table.kind is Kind.TABLE and index.kind is Kind.INT and index.extent is not Extent.RUN:
        message = f"`{name}` is a table by id, and `{text}` is an int"
        help_ = f"declare it with an index: `{name}: table by step = 0.9`"
        return typing.wrong(
            "E0225",
            message,
            call.arguments[1],
            "it is looked up by an id such as `token`",
            help_,
            _declared(typing, call, Kind.STEP_TABLE),
        )
    if table.kind is Kind.STEP_TABLE and index.kind is Kind.TOKEN:
        message = f"`{name}` is a table by step, and `{text}` is an id"
        help_ = f"declare it without an index: `{name}: table = 0.9`"
        return typing.wrong(
            "E0225",
            message,
            call.arguments[1],
            "it is looked up by an int such as `step`",
            help_,
            _declared(typing, call, Kind.TABLE),
        )
    return Type(Kind.REAL, Extent.POSITION if table.kind is Kind.TABLE else index.extent)


def _declared(typing: Inference, call: syntax.Call, kind: Kind) -> Fix | None:
    """The fix that gives the table of `of` another kind."""
    table = typing.binding(call.arguments[0])
    return Fix(table.kind.span, str(kind)) if isinstance(table, syntax.Parameter) else None


# Words with a rule for the type that no other word has.
OWN_TYPES: Mapping[str, Callable[[Inference, syntax.Call, Sequence[Type]], Type]] = {
    "before": _before,
    "of": _of,
    "random": _random,
    "shift": _shift,
}


def _name(part: syntax.Expression) -> str:
    if isinstance(part, syntax.Call):
        return part.function.text
    return part.identifier if isinstance(part, syntax.Name) else ""


def _not_read(typing: Inference, expression: syntax.Expression) -> Iterator[syntax.Expression]:
    """The parts of an expression outside every inner `before`, so that nested ones read each part once."""
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        if not (isinstance(part, syntax.Call) and part.function.text == "before" and part in typing.types):
            waiting += children(part)
        yield part


def _of_numbers(typing: Inference, call: syntax.Call, word: Word, fits: list[tuple[Given, Type]]) -> Type:
    """The type of a word whose result has the kind of its arguments."""
    numbers = [(given.expression, type_) for given, type_ in fits if given.slot.kinds == NUMBERS]
    whole = numbers[0][1]
    for (left, _), (right, type_) in pairwise(numbers):
        if not same_unit(typing, left, right, call):
            return UNKNOWN
        whole = joined(whole, type_)
    if word.within is not None:
        return replace(whole, extent=Extent.POSITION)
    reduces = any(slot.name == "over" for slot in word.slots) and fits[0][0].slot is word.slots[0]
    if not reduces:
        return whole if word.rising else replace(whole, polarity=Polarity.NONE)
    # An empty mask gives no value, which an int cannot represent.
    kind = Kind.REAL if whole.kind is Kind.INT and word.name != "sum" else whole.kind
    return Type(kind, Extent.ROW)


def of_word(typing: Inference, word: Word, node: syntax.Node) -> Type:
    """The type of a word at this place. Reports a word that has no meaning or no value there."""
    early = next((EARLY[place] for place in typing.within if place in EARLY), None)
    if early is not None and word.name in NOT_YET:
        return typing.wrong(
            "E0212",
            f"`{word.name}` has no value yet where {early}",
            node,
            "no statement of the step has run",
        )
    if word.within == "accept" and "accept" not in typing.within:
        help_ = "for example `lookahead 4 accept p(draft) >= 0.9`"
        return typing.wrong("E0209", f"`{word.name}` has no meaning outside `accept`", node, help=help_)
    if word.within is not None and word.within not in typing.within:
        help_ = f"write `{word.within}(masked, by=conf, while=...)` and use `{word.name}` there"
        return typing.wrong(
            "E0209", f"`{word.name}` has no meaning outside `while=` of `{word.within}`", node, help=help_
        )
    return word.gives or UNKNOWN


def no_value(typing: Inference, node: syntax.Expression, name: str) -> Type:
    """The unknown type for a name without a value; a word of the head is also reported."""
    for statement, shapes in SHAPES.items():
        if name in shapes:
            help_ = f"write it after `{statement}`: `{statement} {node.span.text}`"
            return typing.wrong("E0204", f"`{node.span.text}` is not a value", node, help=help_)
    return UNKNOWN
