"""Does every value fit where it stands: its kind, its unit, its place, its polarity?

Works from the leaves up and goes on after a mistake: a value whose kind is not known any more fits
everywhere, so one mistake gives one diagnostic. Not here: parameters (`parameters`), what may stand in which
statement (`statements`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import (
    CONDITIONS,
    DRAWS,
    IDS,
    NUMBERS,
    PARAMETER_KINDS,
    STATE_KINDS,
    TRANSFORMS,
    UNITS,
    WINDOWS,
    WORDS,
    Extent,
    Kind,
    Polarity,
    Slot,
    Type,
    Word,
)
from . import polarity
from .arguments import Given, matched, signature
from .resolved import UNKNOWN, Resolved, children, walk

MOST_PICKS = 256  # `at_most=` of `thin` is a loop written out
MOST_KEPT = 2**20  # `keep=` of `kl`: more ids than any vocabulary has
MOST_POSITIONS = 65536
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
DESCRIBED = {
    Kind.MASK: "a mask",
    Kind.BOOL: "a bool",
    Kind.INT: "an int",
    Kind.TOKEN: "an id",
    Kind.TABLE: "a table",
    Kind.GROUP: "runs",
    Kind.KERNEL: "a kernel",
    Kind.PREVIOUS: "the step before",
}
WANTED = {NUMBERS: "a number", CONDITIONS: "a condition", IDS: "an id"}
WANTED |= {frozenset({Kind.GROUP, Kind.INT}): "`run(mask)`, or an int for each position,"}
WANTED |= {frozenset({Kind.KERNEL}): "`gaussian(sigma)`", frozenset({Kind.PREVIOUS}): "`before`"}
SHAPES: Mapping[str, Mapping[str, Word]] = {"window": WINDOWS, "draw": DRAWS, "logits": TRANSFORMS}
# Words whose value changes while a step runs, or that speak of an order: `before(x)` keeps what x was as the
# step began.
NOT_YET = frozenset({"idle", "committed_now", "edited_now"})
NOT_BEFORE = NOT_YET | frozenset({"rank", "cumsum", "cummax", "sample", "chance", "draft"})


def describe(kind: Kind) -> str:
    """A kind as it is called in messages."""
    return DESCRIBED.get(kind, f"a number ({kind})")


def of_condition(place: Extent) -> Type:
    """The type of something that holds or not."""
    return Type(Kind.MASK if place is Extent.POSITION else Kind.BOOL, place)


def of_state(state: syntax.StateDeclaration) -> Type:
    """What a state holds: one value a row, or one a position."""
    if state.kind.text not in STATE_KINDS:
        return UNKNOWN
    kind = Kind(state.kind.text)
    return Type(kind, Extent.POSITION if state.each or kind is Kind.MASK else Extent.ROW)


class Typing:
    """Finds the type of expressions, notes it in `types`, and what does not fit in `diagnostics`."""

    def __init__(self, found: Resolved) -> None:
        self.found = found
        self.types: dict[syntax.Expression, Type] = {}
        self.diagnostics: list[Diagnostic] = []
        self.within: list[str] = []

    def wrong(self, code: str, message: str, node: syntax.Node, label: str = "", help: str = "") -> Type:
        self.diagnostics.append(Diagnostic(code, message, node.span, label, help))
        return UNKNOWN

    # --- what is expected

    def expect(self, expression: syntax.Expression, slot: Slot, why: str) -> Type:
        """The type of an expression that must fit a slot."""
        given = self.infer(expression)
        text = expression.span.text
        if given.kind is Kind.UNKNOWN:
            return given
        if given.kind not in slot.kinds:
            if Kind.MASK in slot.kinds and given.kind is Kind.BOOL:
                message = f"`{text}` is one bool for the row, not a mask"
                return self.wrong("E0204", message, expression, why, f"write `masked and {text}`")
            wanted = WANTED.get(slot.kinds) or " or ".join(describe(kind) for kind in sorted(slot.kinds))
            help_ = f"write `int({text})`" if Kind.INT in slot.kinds and given.kind in NUMBERS else ""
            return self.wrong(
                "E0204",
                f"`{text}` is {describe(given.kind)} where {wanted} is needed",
                expression,
                why,
                help_,
            )
        if given.extent > slot.extent:
            return self.wrong(
                "E0207", *_too_wide(text, given, slot.extent), expression, why, _narrower(expression, given)
            )
        if slot.score and given.polarity is Polarity.LOW:
            help_ = f"write `{polarity.flipped(expression)}`"
            return self.wrong(
                "E0206",
                f"`{text}` is {given.polarity}",
                expression,
                "the least sure position would go first",
                help_,
            )
        return given

    def expect_condition(self, expression: syntax.Expression, why: str) -> Type:
        """A condition that holds or not for the whole row."""
        given = self.infer(expression)
        if given.kind is Kind.MASK:
            help_ = f"write `any({expression.span.text})`"
            return self.wrong(
                "E0207",
                f"`{expression.span.text}` is a mask where one yes or no for the row is needed",
                expression,
                why,
                help_,
            )
        return given if given.kind in (Kind.BOOL, Kind.UNKNOWN) else self._no_condition(expression, given)

    def expect_unsure(self, expression: syntax.Expression) -> Type:
        """The score of `revoke`: what is least sure goes first."""
        given = self.expect(expression, Slot("by", NUMBERS), "positions are ranked by a score")
        if given.polarity is Polarity.HIGH:
            help_ = f"write `{polarity.flipped(expression)}`"
            return self.wrong(
                "E0206",
                f"`{expression.span.text}` is {given.polarity}",
                expression,
                "the surest position would go first",
                help_,
            )
        return given

    def expect_value(self, expression: syntax.Expression, wanted: Type, why: str) -> Type:
        """What is given to a state: a bare number fits any unit, an int any number, a bool a mask."""
        given = self.infer(expression)
        if Kind.UNKNOWN in (given.kind, wanted.kind):
            return UNKNOWN
        text = expression.span.text
        numbers = given.kind in NUMBERS and wanted.kind in NUMBERS - {Kind.INT}
        if numbers and {given.kind, wanted.kind} <= UNITS and given.kind is not wanted.kind:
            return self.wrong(
                "E0205", f"`{text}` is in {given.kind}, the state in {wanted.kind}", expression, why
            )
        alike = {Kind.MASK: CONDITIONS, Kind.TOKEN: IDS}.get(wanted.kind, frozenset({wanted.kind}))
        if not numbers and given.kind not in alike:
            if given.kind is Kind.MASK and wanted.kind is Kind.BOOL:
                return self.wrong(
                    "E0207",
                    f"`{text}` is a mask where one yes or no for the row is needed",
                    expression,
                    why,
                    f"write `any({text})`",
                )
            help_ = f"write `int({text})`" if wanted.kind is Kind.INT and given.kind in NUMBERS else ""
            return self.wrong(
                "E0204",
                f"`{text}` is {describe(given.kind)} where {describe(wanted.kind)} is needed",
                expression,
                why,
                help_,
            )
        if given.extent > wanted.extent:
            help_ = "reduce it, as in `mean(x)`, or declare the state with `each`"
            return self.wrong(
                "E0207",
                f"`{text}` has a value for each position; the state has one for the row",
                expression,
                why,
                help_,
            )
        return given

    # --- expressions

    def infer(self, expression: syntax.Expression) -> Type:
        """The type of an expression, noted in `types`."""
        type_ = self._infer(expression)
        self.types[expression] = type_
        return type_

    def _infer(self, expression: syntax.Expression) -> Type:
        match expression:
            case syntax.Number():
                return Type(Kind.INT if isinstance(expression.value, int) else Kind.REAL, Extent.RUN)
            case syntax.Boolean():
                return Type(Kind.BOOL, Extent.RUN)
            case syntax.Name():
                return self._name(expression)
            case syntax.Call():
                return self._call(expression)
            case syntax.Negation():
                operand = self._number(expression.operand)
                return replace(operand, polarity=polarity.FLIPPED[operand.polarity])
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
                return (
                    UNKNOWN
                    if Kind.UNKNOWN in (left.kind, right.kind)
                    else of_condition(max(left.extent, right.extent))
                )

    def _name(self, name: syntax.Name) -> Type:
        meaning = self.found.bindings.get(name)
        if isinstance(meaning, syntax.Parameter):
            known = meaning.kind.text in PARAMETER_KINDS
            return Type(Kind(meaning.kind.text), Extent.RUN) if known else UNKNOWN
        if isinstance(meaning, syntax.StateDeclaration):
            return of_state(meaning)
        if isinstance(meaning, syntax.Let):
            return self.types.get(meaning.value, UNKNOWN)
        if name.identifier == "before":
            return Type(Kind.PREVIOUS, Extent.POSITION)
        word = WORDS.get(name.identifier)
        if word is None:
            return self._no_value(name, name.identifier)
        if word.slots:
            return self.wrong(
                "E0203", f"`{word.name}` needs arguments", name, help=f"write `{signature(word)}`"
            )
        return self._within(word, name)

    def _no_value(self, node: syntax.Expression, name: str) -> Type:
        for statement, shapes in SHAPES.items():
            if name in shapes:
                help_ = f"it stands after `{statement}`: `{statement} {node.span.text}`"
                return self.wrong("E0204", f"`{node.span.text}` is no value", node, help=help_)
        return UNKNOWN

    def _within(self, word: Word, node: syntax.Node) -> Type:
        if "accept" in self.within and word.name in NOT_YET:
            return self.wrong(
                "E0212",
                f"`{word.name}` has no value yet where drafts are accepted",
                node,
                "nothing of the step has run",
            )
        if word.within == "accept" and "accept" not in self.within:
            help_ = "write `lookahead 4 accept p(draft) >= 0.9`, say"
            return self.wrong("E0209", f"`{word.name}` has no meaning outside `accept`", node, help=help_)
        if word.within is not None and word.within not in self.within:
            help_ = f"write `{word.within}(masked, by=conf, while=...)` and use `{word.name}` there"
            return self.wrong(
                "E0209", f"`{word.name}` has no meaning outside `while=` of `{word.within}`", node, help=help_
            )
        return word.gives or UNKNOWN

    def _call(self, call: syntax.Call) -> Type:
        word = WORDS.get(call.function.text)
        if word is None or not word.slots:
            for value in (*call.arguments, *(k.value for k in call.keywords)):
                self.infer(value)
            if word is not None:
                return self.wrong(
                    "E0203", f"`{word.name}` takes no arguments", call, help=f"write `{word.name}`"
                )
            return self._no_value(call, call.function.text)
        fits = self.arguments(call, word)
        if fits is None:
            return UNKNOWN
        if word.within is not None and word.within not in self.within:
            return self._within(word, call)
        if any(type_.kind is Kind.UNKNOWN for _, type_ in fits):
            return UNKNOWN
        if word.name == "before":
            return self._before(call, fits[0][1])
        return (
            self._spread(word, fits[0][1])
            if word.spread
            else word.gives or self._of_numbers(call, word, fits)
        )

    def arguments(self, call: syntax.Call, word: Word) -> list[tuple[Given, Type]] | None:
        """Each argument with its slot and type; `None` where they are not those of the word."""
        given, mistake = matched(call, word)
        if mistake is not None:
            self.diagnostics.append(mistake)
            for part in walk(call):  # of which nothing can be said
                self.types.setdefault(part, UNKNOWN)
            return None
        fits = []
        for one in given:
            # `while=` of another word inside hides the order of the one around it.
            outer, self.within = (
                self.within,
                [*self.within, word.name] if one.slot.name == "while" else self.within,
            )
            fits.append((one, self.expect(one.expression, one.slot, f"`{signature(word)}`")))
            self.within = outer
            if one.slot.static and fits[-1][1].kind is Kind.INT:
                most = (
                    MOST_POSITIONS if word.name in WINDOWS else MOST_KEPT if word.name == "kl" else MOST_PICKS
                )
                self.size(one.expression, most)
        return fits

    def size(self, expression: syntax.Expression, most: int) -> None:
        """What sizes the compiled step is a number, or a parameter that says how large it gets."""
        meaning = self.found.bindings.get(expression) if isinstance(expression, syntax.Name) else None
        if isinstance(expression, syntax.Number):
            if expression.value > most:
                self.wrong(
                    "E0211",
                    f"`{expression.span.text}` is more than the step is compiled for",
                    expression,
                    help=f"at most {most}",
                )
            return
        if not isinstance(meaning, syntax.Parameter):
            help_ = f"make it a parameter: `size: int = 8 in 1..{most}`"
            self.wrong(
                "E0211",
                f"`{expression.span.text}` sizes the step, and must be one number or one parameter",
                expression,
                help=help_,
            )
        elif meaning.range is None:
            name, default = meaning.identifier.text, max(1, int(meaning.default.value))
            help_ = f"give the parameter a range: `{name}: int = {default} in 1..{most}`"
            self.wrong(
                "E0211",
                f"`{name}` sizes the step, and nothing says how large it gets",
                expression,
                help=help_,
            )
        elif meaning.range.last.value > most:
            message = f"`{meaning.identifier.text}` may be more than the step is compiled for"
            self.wrong("E0211", message, expression, help=f"let its range end at {most} or before")

    def _spread(self, word: Word, argument: Type) -> Type:
        assert word.gives is not None
        kind = Kind.NATS if word.name == "log" and argument.kind is Kind.PROB else word.gives.kind
        return Type(kind, argument.extent, argument.polarity if word.keeps_polarity else Polarity.NONE)

    def _before(self, call: syntax.Call, argument: Type) -> Type:
        for part in self._not_read(call.arguments[0]):
            name = (
                part.function.text
                if isinstance(part, syntax.Call)
                else part.identifier
                if isinstance(part, syntax.Name)
                else ""
            )
            if isinstance(part, syntax.Name) and isinstance(self.found.bindings.get(part), syntax.Let):
                help_ = f"write out what `{name}` stands for, or keep it in a state"
                return self.wrong(
                    "E0212",
                    f"`{name}` has a value only later in the step",
                    part,
                    "`before(x)` is x as a step begins",
                    help_,
                )
            if name in NOT_BEFORE and part not in self.found.bindings:
                help_ = f"keep it in a state: `set last = {name}`"
                return self.wrong(
                    "E0212",
                    f"`{name}` has no value as a step begins",
                    part,
                    "`before(x)` is x as a step begins",
                    help_,
                )
        # An int cannot say that it has no value yet.
        kind = Kind.REAL if argument.kind is Kind.INT else argument.kind
        return Type(kind, max(argument.extent, Extent.ROW), argument.polarity)

    def _not_read(self, expression: syntax.Expression) -> Iterator[syntax.Expression]:
        """The parts of an expression that no `before` inside it has looked at: nested ones read each part
        once.
        """
        waiting = [expression]
        while waiting:
            part = waiting.pop()
            if not (isinstance(part, syntax.Call) and part.function.text == "before" and part in self.types):
                waiting += children(part)
            yield part

    def _of_numbers(self, call: syntax.Call, word: Word, fits: list[tuple[Given, Type]]) -> Type:
        """What a word gives that gives numbers of the kind of its arguments."""
        numbers = [(given.expression, type_) for given, type_ in fits if given.slot.kinds == NUMBERS]
        whole = numbers[0][1]
        for (left, _), (right, type_) in pairwise(numbers):
            if not self._same_unit(left, right, call):
                return UNKNOWN
            whole = _joined(whole, type_)
        if word.within is not None:
            return replace(whole, extent=Extent.POSITION)
        reduces = any(slot.name == "over" for slot in word.slots) and fits[0][0].slot is word.slots[0]
        if not reduces:
            return whole if word.name != "abs" else replace(whole, polarity=Polarity.NONE)
        # Over nothing there is no value, and an int cannot say so.
        kind = Kind.REAL if whole.kind is Kind.INT and word.name != "sum" else whole.kind
        return Type(kind, Extent.ROW)

    def _conditional(self, expression: syntax.Conditional) -> Type:
        condition = self._condition(expression.condition)
        left, right = self.infer(expression.then), self.infer(expression.otherwise)
        kinds = {left.kind, right.kind}
        if Kind.UNKNOWN in (condition.kind, *kinds):
            return UNKNOWN
        place = max(condition.extent, left.extent, right.extent)
        if kinds <= CONDITIONS:
            return of_condition(place)
        if Kind.TOKEN in kinds and kinds <= IDS:
            return Type(Kind.TOKEN, place)
        if kinds <= NUMBERS:
            if not self._same_unit(expression.then, expression.otherwise, expression):
                return UNKNOWN
            sure = left.polarity if left.polarity is right.polarity else Polarity.NONE
            return Type(_joined(left, right).kind, place, sure)
        message = f"`{expression.then.span.text}` is {describe(left.kind)}, `{expression.otherwise.span.text}` is {describe(right.kind)}"
        return self.wrong("E0204", message, expression, "both must be numbers, or both conditions")

    def _alternative(self, expression: syntax.Alternative) -> Type:
        slot = Slot("mask", frozenset({Kind.MASK}))
        sides = [
            self.expect(side, slot, "`orelse` stands between two masks")
            for side in (expression.left, expression.right)
        ]
        return UNKNOWN if Kind.UNKNOWN in [side.kind for side in sides] else Type(Kind.MASK, Extent.POSITION)

    def _number(self, expression: syntax.Expression) -> Type:
        type_ = self.infer(expression)
        if type_.kind in NUMBERS or type_.kind is Kind.UNKNOWN:
            return type_
        return self.wrong(
            "E0204",
            f"`{expression.span.text}` is {describe(type_.kind)} where a number is needed",
            expression,
        )

    def _condition(self, expression: syntax.Expression) -> Type:
        type_ = self.infer(expression)
        return (
            type_
            if type_.kind in (Kind.MASK, Kind.BOOL, Kind.UNKNOWN)
            else self._no_condition(expression, type_)
        )

    def _no_condition(self, expression: syntax.Expression, given: Type) -> Type:
        text = expression.span.text
        help_ = f"compare it: `{text} > 0`" if given.kind in NUMBERS else ""
        return self.wrong(
            "E0204", f"`{text}` is {describe(given.kind)} where a condition is needed", expression, help=help_
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
        place = max(left.extent, right.extent)
        if expression.operator not in "+-":
            whole = left.kind is right.kind is Kind.INT and expression.operator in ("*", "//", "%")
            return Type(Kind.INT if whole else Kind.REAL, place, polarity.of_product(expression, left, right))
        if not self._same_unit(expression.left, expression.right, expression):
            return UNKNOWN
        self._lint_doubt(expression)
        sure = polarity.FLIPPED[right.polarity] if expression.operator == "-" else right.polarity
        return _joined(left, replace(right, polarity=sure))

    def _lint_doubt(self, expression: syntax.Arithmetic) -> None:
        left, right = expression.left, expression.right
        is_one = isinstance(left, syntax.Number) and left.value == 1
        if (
            expression.operator == "-"
            and is_one
            and isinstance(right, syntax.Name)
            and right.identifier == "conf"
        ):
            message = "`1 - conf` is 0 wherever conf is close to 1: float32 has no digits left for it"
            self.wrong("W0203", message, expression, help="write `doubt`")

    def _comparison(self, expression: syntax.Comparison) -> Type:
        types = [self.infer(operand) for operand in expression.operands]
        if any(t.kind is Kind.UNKNOWN for t in types):
            return UNKNOWN
        place = max(t.extent for t in types)
        if any(t.kind is Kind.TOKEN for t in types):
            return self._comparison_of_ids(expression, types) or of_condition(place)
        for operand, type_ in zip(expression.operands, types, strict=True):
            if type_.kind not in NUMBERS:
                message = f"`{operand.span.text}` is {describe(type_.kind)} where a number is needed"
                return self.wrong("E0204", message, operand)
        if not all(self._same_unit(left, right, expression) for left, right in pairwise(expression.operands)):
            return UNKNOWN
        return of_condition(place)

    def _comparison_of_ids(self, expression: syntax.Comparison, types: list[Type]) -> Type | None:
        for operand, type_ in zip(expression.operands, types, strict=True):
            if type_.kind not in IDS:
                message = f"`{operand.span.text}` is {describe(type_.kind)} where an id is needed"
                return self.wrong("E0204", message, operand, "ids are compared with ids")
        if not set(expression.operators) <= {"==", "!="}:
            return self.wrong(
                "E0204",
                "ids have no order",
                expression,
                "one id is not more than another",
                "compare them by `==` or `!=`",
            )
        return None


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


def _joined(left: Type, right: Type) -> Type:
    """Of two numbers put together: an int only of two ints, the unit that one of them has, the wider place."""
    units = [type_.kind for type_ in (left, right) if type_.kind in UNITS]
    kind = Kind.INT if left.kind is right.kind is Kind.INT else units[0] if units else Kind.REAL
    return Type(kind, max(left.extent, right.extent), polarity.of_sum(left, right))
