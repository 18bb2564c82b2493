"""Does every value fit where it stands: its kind, its unit, its place, its polarity?

Works from the leaves up and goes on after a mistake: a value whose kind is not known any more fits everywhere, so one
mistake gives one diagnostic.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.parse import LARGEST_INT, LARGEST_REAL
from ..language.words import NUMBERS, PARAMETER_KINDS, UNITS, WINDOWS, WORDS, Kind, Place, Polarity, Slot, Type, Word
from .found import Found

UNKNOWN = Type(Kind.UNKNOWN, Place.PARAMETER)
FLIPPED = {Polarity.HIGH: Polarity.LOW, Polarity.LOW: Polarity.HIGH, Polarity.NONE: Polarity.NONE}
CONVERSIONS = {
    (Kind.PROB, Kind.NATS): "compare like with like: `entropy` with nats, `conf` with a probability",
    (Kind.PROB, Kind.LOGIT): "compare like with like: `logit_margin` with a logit, `margin` with a probability",
    (Kind.NATS, Kind.LOGIT): "compare like with like: `entropy` with nats, `logit_margin` with a logit",
}


def check(found: Found) -> tuple[Found, list[Diagnostic]]:
    """Fills `types`; reports parameters, expressions and statements whose parts do not fit."""
    checker = _Checker(found)
    for parameter in found.policy.parameters:
        checker.parameter(parameter)
    for statement in found.policy.statements:
        checker.statement(statement)
    checker.windows(found.policy)
    return replace(found, types=checker.types), checker.diagnostics


def describe(kind: Kind) -> str:
    """A kind as it is called in messages."""
    return {Kind.MASK: "a mask", Kind.BOOL: "a bool", Kind.INT: "an int"}.get(kind, f"a number ({kind})")


class _Checker:
    def __init__(self, found: Found) -> None:
        self.found = found
        self.types: dict[syntax.Expression, Type] = {}
        self.diagnostics: list[Diagnostic] = []
        self.parameters: dict[syntax.Parameter, Type] = {}
        self.within: list[str] = []

    def wrong(self, code: str, message: str, node: syntax.Node, label: str = "", help: str = "") -> Type:
        self.diagnostics.append(Diagnostic(code, message, node.span, label, help))
        return UNKNOWN

    # --- parameters

    def parameter(self, parameter: syntax.Parameter) -> None:
        kind = parameter.kind
        if kind.text not in PARAMETER_KINDS:
            known = ", ".join(f"`{k}`" for k in sorted(PARAMETER_KINDS))
            self.wrong("E0208", f"`{kind.text}` is not a kind of parameter", kind, help=f"the kinds are {known}")
            self.parameters[parameter] = UNKNOWN
            return
        self.parameters[parameter] = Type(Kind(kind.text), Place.PARAMETER)
        ends = (parameter.range.first, parameter.range.last) if parameter.range else ()
        for literal in (parameter.default, *ends):
            if problem := unfit(Kind(kind.text), literal.value):
                self.wrong(
                    "E0208", f"`{literal.span.text}` is {problem}", literal, f"`{parameter.identifier.text}` is of kind `{kind.text}`"
                )
                return
        if parameter.range and not parameter.range.first.value <= parameter.range.last.value:
            self.wrong("E0208", "this range holds nothing", parameter.range, help="write the smaller end first")
        elif parameter.range and not parameter.range.first.value <= parameter.default.value <= parameter.range.last.value:
            self.wrong("E0208", f"the default `{parameter.default.span.text}` is outside `{parameter.range.span.text}`", parameter.default)

    # --- statements

    def statement(self, statement: syntax.Statement) -> None:
        match statement:
            case syntax.Window():
                self.window(statement)
            case syntax.Let():
                self.infer(statement.value)
            case syntax.Commit():
                self.expect(statement.mask, Slot("mask", frozenset({Kind.MASK})), "`commit` takes the positions to write")
                for bound in (statement.at_least, statement.at_most):
                    if bound is not None:
                        self.expect(bound.count, Slot("count", frozenset({Kind.INT}), Place.SEQUENCE), "a count is an int")
                        self.expect(bound.score, Slot("by", NUMBERS, score=True), "positions are ranked by a score")

    def window(self, statement: syntax.Window) -> None:
        shape = statement.shape
        if isinstance(shape, syntax.Name) and shape.identifier == "all":
            return
        if isinstance(shape, syntax.Call) and shape.function.text == "blocks" and len(shape.arguments) == 1 and not shape.keywords:
            size = shape.arguments[0]
            type_ = self.expect(size, Slot("n", frozenset({Kind.INT}), Place.PARAMETER), "a block's size is an int")
            if type_.kind is Kind.INT and not isinstance(size, syntax.Number | syntax.Name):
                self.wrong(
                    "E0302",
                    "a block's size is one number or one parameter",
                    size,
                    help="make it a parameter: `block: int = 32 in 1..65536`",
                )
                return
            smallest = self.smallest(size)
            if type_.kind is Kind.INT and (smallest is None or smallest < 1):
                self.wrong("E0302", "a block must hold at least one position", size, help=_block_help(self.found, size))
            return
        self.wrong("E0302", f"`{shape.span.text}` is not a window", shape, help="write `window blocks(32)` or `window all`")

    def windows(self, policy: syntax.Policy) -> None:
        first, *later = policy.statements
        windows = [s for s in policy.statements if isinstance(s, syntax.Window)]
        if not windows:
            where = syntax.Identifier(first.span, "")
            self.wrong(
                "E0302", "this policy does not say where a step may write", where, help="add a line before this one: `window blocks(32)`"
            )
        for again in windows[1:]:
            self.wrong("E0302", "a policy has one window", again, help="delete this line")
        if windows and windows[0] is not first and windows[0] in later:
            self.wrong("E0302", "the window comes first", windows[0], help="move this line to the top of the policy")

    def smallest(self, size: syntax.Expression) -> int | None:
        """The smallest value an int at parameter place can have, where that is plain to see."""
        if isinstance(size, syntax.Number):
            return int(size.value)
        meaning = self.found.meanings.get(size) if isinstance(size, syntax.Name) else None
        if isinstance(meaning, syntax.Parameter) and meaning.range is not None:
            return int(meaning.range.first.value)
        return None

    # --- expressions

    def expect(self, expression: syntax.Expression, slot: Slot, why: str) -> Type:
        """The type of an expression that must fit a slot."""
        given = self.infer(expression)
        if given.kind is Kind.UNKNOWN:
            return given
        if given.kind not in slot.kinds:
            if Kind.MASK in slot.kinds and given.kind is Kind.BOOL:
                return self.wrong(
                    "E0204",
                    f"`{expression.span.text}` is one bool for the row, not a mask",
                    expression,
                    why,
                    f"write `masked and {expression.span.text}`",
                )
            wanted = describe(sorted(slot.kinds)[0]) if len(slot.kinds) == 1 else "a number" if slot.kinds == NUMBERS else "a condition"
            return self.wrong("E0204", f"`{expression.span.text}` is {describe(given.kind)} where {wanted} is needed", expression, why)
        if given.place > slot.place:
            return self.wrong(
                "E0207", f"`{expression.span.text}` has a value for each position; one for the row is needed", expression, why
            )
        if slot.score and given.polarity is Polarity.LOW:
            text = expression.span.text
            help_ = f"write `{_flipped(expression)}`"
            return self.wrong("E0206", f"`{text}` is {given.polarity}", expression, "the least sure position would go first", help_)
        return given

    def infer(self, expression: syntax.Expression) -> Type:
        """The type of an expression, noted in `types`."""
        type_ = self._infer(expression)
        self.types[expression] = type_
        return type_

    def _infer(self, expression: syntax.Expression) -> Type:
        match expression:
            case syntax.Number():
                return Type(Kind.INT if isinstance(expression.value, int) else Kind.REAL, Place.PARAMETER)
            case syntax.Name():
                return self._name(expression)
            case syntax.Call():
                return self._call(expression)
            case syntax.Negation():
                operand = self._number(expression.operand)
                return replace(operand, polarity=FLIPPED[operand.polarity])
            case syntax.Arithmetic():
                return self._arithmetic(expression)
            case syntax.Comparison():
                return self._comparison(expression)
            case syntax.Inversion():
                return self._condition(expression.operand)
            case syntax.Conditional():
                return self._conditional(expression)
            case syntax.Alternative():
                return self._alternative(expression)
            case syntax.Conjunction() | syntax.Disjunction():
                left, right = self._condition(expression.left), self._condition(expression.right)
                if Kind.UNKNOWN in (left.kind, right.kind):
                    return UNKNOWN
                place = max(left.place, right.place)
                return Type(Kind.MASK if place is Place.POSITION else Kind.BOOL, place)

    def _name(self, name: syntax.Name) -> Type:
        meaning = self.found.meanings.get(name)
        if isinstance(meaning, syntax.Parameter):
            return self.parameters[meaning]
        if isinstance(meaning, syntax.Let):
            return self.types.get(meaning.value, UNKNOWN)
        if name.identifier in WINDOWS:
            return self.wrong(
                "E0204", f"`{name.identifier}` is a window, not a value", name, help=f"it stands after `window`: `window {name.identifier}`"
            )
        word = WORDS.get(name.identifier)
        if word is None:
            return UNKNOWN
        if word.slots:
            return self.wrong("E0203", f"`{word.name}` needs arguments", name, help=f"write `{signature(word)}`")
        return self._within(word, name)

    def _within(self, word: Word, node: syntax.Node) -> Type:
        if word.within is not None and word.within not in self.within:
            help_ = f"write `{word.within}(masked, by=conf, while=...)` and use `{word.name}` there"
            return self.wrong("E0209", f"`{word.name}` has no meaning outside `while=` of `{word.within}`", node, help=help_)
        return word.gives or UNKNOWN

    def _call(self, call: syntax.Call) -> Type:
        word = WORDS.get(call.function.text)
        if word is None or not word.slots:
            for value in (*call.arguments, *(k.value for k in call.keywords)):
                self.infer(value)
            if word is not None:
                return self.wrong("E0203", f"`{word.name}` takes no arguments", call, help=f"write `{word.name}`")
            if call.function.text in WINDOWS:
                return self.wrong(
                    "E0204",
                    f"`{call.span.text}` is a window, not a value",
                    call,
                    help=f"it stands after `window`: `window {call.span.text}`",
                )
            return UNKNOWN
        given = self._matched(call, word)
        if given is None:
            return UNKNOWN
        fits = []
        for slot, expression in given:
            self.within += [word.name] if slot.name == "while" else []
            fits.append(self.expect(expression, slot, f"`{signature(word)}`"))
            self.within = self.within[:-1] if slot.name == "while" else self.within
        if word.within is not None and word.within not in self.within:
            return self._within(word, call)
        if any(t.kind is Kind.UNKNOWN for t in fits):
            return UNKNOWN
        return word.gives or self._of_numbers(call, word, given, fits)

    def _of_numbers(self, call: syntax.Call, word: Word, given: list[tuple[Slot, syntax.Expression]], fits: list[Type]) -> Type:
        """What a word gives that gives numbers of the kind of its arguments."""
        numbers = [(expression, type_) for (slot, expression), type_ in zip(given, fits, strict=True) if slot.kinds == NUMBERS]
        whole = numbers[0][1]
        for (left, _), (right, type_) in pairwise(numbers):
            if not self._same_unit(left, right, call):
                return UNKNOWN
            whole = _joined(whole, type_)
        if word.within is not None:
            return replace(whole, place=Place.POSITION)
        if len(given) == len(numbers):
            return whole if word.name != "abs" else replace(whole, polarity=Polarity.NONE)
        # Over nothing there is no value, and an int cannot say so.
        kind = Kind.REAL if whole.kind is Kind.INT and word.name != "sum" else whole.kind
        return Type(kind, Place.SEQUENCE)

    def _conditional(self, expression: syntax.Conditional) -> Type:
        condition = self._condition(expression.condition)
        left, right = self.infer(expression.then), self.infer(expression.otherwise)
        if Kind.UNKNOWN in (condition.kind, left.kind, right.kind):
            return UNKNOWN
        place = max(condition.place, left.place, right.place)
        if left.kind in NUMBERS and right.kind in NUMBERS:
            if not self._same_unit(expression.then, expression.otherwise, expression):
                return UNKNOWN
            polarity = left.polarity if left.polarity is right.polarity else Polarity.NONE
            return Type(_joined(left, right).kind, place, polarity)
        if left.kind in NUMBERS or right.kind in NUMBERS:
            message = (
                f"`{expression.then.span.text}` is {describe(left.kind)}, `{expression.otherwise.span.text}` is {describe(right.kind)}"
            )
            return self.wrong("E0204", message, expression, "both must be numbers, or both conditions")
        return Type(Kind.MASK if place is Place.POSITION else Kind.BOOL, place)

    def _alternative(self, expression: syntax.Alternative) -> Type:
        slot = Slot("mask", frozenset({Kind.MASK}))
        sides = [self.expect(side, slot, "`orelse` stands between two masks") for side in (expression.left, expression.right)]
        return UNKNOWN if Kind.UNKNOWN in [side.kind for side in sides] else Type(Kind.MASK, Place.POSITION)

    def _matched(self, call: syntax.Call, word: Word) -> list[tuple[Slot, syntax.Expression]] | None:
        if word.elementwise and len(call.arguments) == len(word.elementwise) and not call.keywords:
            return list(zip(word.elementwise, call.arguments, strict=True))
        plain = [slot for slot in word.slots if not slot.named]
        given: dict[str, syntax.Expression] = {}
        if len(call.arguments) > len(plain):
            extra = call.arguments[len(plain)]
            self.wrong("E0203", f"`{word.name}` has no place for `{extra.span.text}`", extra, help=f"write `{signature(word)}`")
            return None
        given |= {slot.name: argument for slot, argument in zip(plain, call.arguments, strict=False)}
        for keyword in call.keywords:
            if keyword.identifier.text not in {slot.name for slot in word.slots if slot.named} or keyword.identifier.text in given:
                self.wrong("E0203", f"`{word.name}` does not take `{keyword.span.text}` here", keyword, help=f"write `{signature(word)}`")
                return None
            given[keyword.identifier.text] = keyword.value
        missing = [slot.name for slot in word.slots if slot.name not in given and not slot.default]
        if missing:
            names = " and ".join(f"`{name}`" for name in missing)
            self.wrong("E0203", f"`{word.name}` lacks {names}", call, help=f"write `{signature(word)}`")
            return None
        return [(slot, given[slot.name]) for slot in word.slots if slot.name in given or not slot.default]

    def _number(self, expression: syntax.Expression) -> Type:
        type_ = self.infer(expression)
        if type_.kind in NUMBERS or type_.kind is Kind.UNKNOWN:
            return type_
        return self.wrong("E0204", f"`{expression.span.text}` is {describe(type_.kind)} where a number is needed", expression)

    def _condition(self, expression: syntax.Expression) -> Type:
        type_ = self.infer(expression)
        if type_.kind in (Kind.MASK, Kind.BOOL, Kind.UNKNOWN):
            return type_
        return self.wrong(
            "E0204",
            f"`{expression.span.text}` is {describe(type_.kind)} where a condition is needed",
            expression,
            help=f"compare it: `{expression.span.text} > 0`",
        )

    def _same_unit(self, left: syntax.Expression, right: syntax.Expression, at: syntax.Node) -> bool:
        kinds = [self.types[left].kind, self.types[right].kind]
        if kinds[0] == kinds[1] or not all(kind in UNITS for kind in kinds):
            return True
        first, second = sorted(kinds, key=[Kind.PROB, Kind.NATS, Kind.LOGIT].index)
        message = f"`{left.span.text}` is in {kinds[0]}, `{right.span.text}` in {kinds[1]}"
        self.wrong("E0205", message, at, "two scales meet", CONVERSIONS[first, second])
        return False

    def _arithmetic(self, expression: syntax.Arithmetic) -> Type:
        left, right = self._number(expression.left), self._number(expression.right)
        if Kind.UNKNOWN in (left.kind, right.kind):
            return UNKNOWN
        place = max(left.place, right.place)
        if expression.operator in "*/":
            kind = Kind.INT if left.kind is right.kind is Kind.INT and expression.operator == "*" else Kind.REAL
            return Type(kind, place, _scaled(expression, left, right))
        if not self._same_unit(expression.left, expression.right, expression):
            return UNKNOWN
        minus = FLIPPED[right.polarity] if expression.operator == "-" else right.polarity
        return _joined(left, replace(right, polarity=minus))

    def _comparison(self, expression: syntax.Comparison) -> Type:
        types = [self._number(operand) for operand in expression.operands]
        if any(t.kind is Kind.UNKNOWN for t in types):
            return UNKNOWN
        pairs = zip(expression.operands, expression.operands[1:], strict=False)
        if not all(self._same_unit(left, right, expression) for left, right in pairs):
            return UNKNOWN
        place = max(t.place for t in types)
        return Type(Kind.MASK if place is Place.POSITION else Kind.BOOL, place)


def _joined(left: Type, right: Type) -> Type:
    """Of two numbers put together: an int only of two ints, the unit that one of them has, the wider place."""
    units = [type_.kind for type_ in (left, right) if type_.kind in UNITS]
    kind = Kind.INT if left.kind is right.kind is Kind.INT else units[0] if units else Kind.REAL
    return Type(kind, max(left.place, right.place), _combined(left, right))


def _combined(left: Type, right: Type) -> Polarity:
    """Polarity of a sum: what is the same for all positions does not matter."""
    varying = [t.polarity for t in (left, right) if t.place is Place.POSITION]
    if not varying or any(p is not varying[0] for p in varying):
        return Polarity.NONE
    return varying[0]


def _scaled(expression: syntax.Arithmetic, left: Type, right: Type) -> Polarity:
    """Polarity of a product or quotient with a number written out; anything else could have either sign."""
    if (sign := _sign(expression.right)) != 0:
        return left.polarity if sign > 0 else FLIPPED[left.polarity]
    if expression.operator == "*" and (sign := _sign(expression.left)) != 0:
        return right.polarity if sign > 0 else FLIPPED[right.polarity]
    return Polarity.NONE


def _sign(factor: syntax.Expression) -> int:
    """1 or -1 for a number written out, else 0."""
    if isinstance(factor, syntax.Negation):
        return -_sign(factor.operand)
    return int(isinstance(factor, syntax.Number) and factor.value > 0)


def unfit(kind: Kind, value: object) -> str:
    """Why a value cannot be of a parameter's kind; empty where it can."""
    if kind is Kind.BOOL:
        return "" if isinstance(value, bool) else "not `true` or `false`"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not a number"
    if kind is Kind.INT:
        return "not a whole number" if not isinstance(value, int) else "" if abs(value) <= LARGEST_INT else "too large"
    if kind is Kind.PROB:
        return "" if 0 <= value <= 1 else "not a probability: they lie between 0 and 1"
    return "" if abs(value) <= LARGEST_REAL else "not a finite number"


def _flipped(score: syntax.Expression) -> str:
    """A score's text with the other polarity."""
    if isinstance(score, syntax.Negation):
        return score.operand.span.text
    atom = isinstance(score, syntax.Name | syntax.Call)
    return f"-{score.span.text}" if atom else f"-({score.span.text})"


def signature(word: Word) -> str:
    """A word as it is written: `top(mask, k, by=)`, `max(x, over=masked)`."""
    slots = ", ".join(f"{slot.name}={slot.default}" if slot.named else slot.name for slot in word.slots)
    return f"{word.name}({slots})" if slots else word.name


def _block_help(found: Found, size: syntax.Expression) -> str:
    meaning = found.meanings.get(size) if isinstance(size, syntax.Name) else None
    if isinstance(meaning, syntax.Parameter):
        default = max(1, int(meaning.default.value))
        return f"give the parameter a range: `{meaning.identifier.text}: int = {default} in 1..65536`"
    return "write a number from 1 on, or an int parameter with a range: `block: int = 32 in 1..65536`"
