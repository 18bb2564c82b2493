"""Writes random expressions of a wanted type, by the table of words.

Each rule of the grammar makes one kind of value, so the result has this kind by construction. Words, their
arguments and their values come from `language.words`; nothing here names an observation or a selector. A word
is chosen as often as the shipped policies use it (`usage`). Not here: random numbers (`literals`), where the
expression goes (`mutations`), whether the policy is then correct (`candidates`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from ...language import syntax
from ...language.syntax import Expression
from ...language.words import CONDITIONS, IDS, NUMBERS, UNITS, Extent, Kind, Polarity, Slot, Type, Word
from .lexicon import CannotWrite, Lexicon, usable_words
from .literals import number_of
from .trees import NOWHERE, both, call, compared, either, identifier, name, number
from .usage import weight

DEEPEST = 2
MASKED, BEFORE = "masked", "before"
ORDERS = {Polarity.HIGH: (">=", ">"), Polarity.LOW: ("<=", "<"), Polarity.NONE: ("<", "<=", ">", ">=", "==")}

GrammarRule = tuple[float, Callable[[], Expression]]


class Generator(Lexicon):
    """Writes expressions for one place."""

    def of(self, wanted: Type, depth: int = DEEPEST, *, scores: bool = False) -> Expression:
        """An expression with the kind of `wanted`, and at most its extent. Raises `CannotWrite`."""
        if scores:
            return self.score(depth)
        match wanted.kind:
            case Kind.MASK:
                return self.mask(depth)
            case Kind.BOOL:
                return self.condition(depth)
            case Kind.TOKEN:
                return self.id_(wanted.extent)
            case kind if kind in NUMBERS:
                return self.number(kind, wanted.extent, depth)
        raise CannotWrite(wanted.kind)

    # --- conditions

    def mask(self, depth: int = DEEPEST) -> Expression:
        """A bool for each position."""
        rules = self._leaves({Kind.MASK}, Extent.POSITION)
        rules.append((12.0, lambda: self._compared(Extent.POSITION, max(0, depth - 1))))
        if depth > 0:
            rules += [
                (2.0, lambda: both(self.mask(depth - 1), self.mask(depth - 1))),
                (2.0, lambda: either(self.mask(depth - 1), self.mask(depth - 1))),
                (0.5, lambda: syntax.Inversion(NOWHERE, self.mask(0))),
                (0.5, lambda: compared(self.id_(Extent.POSITION), "==", self.id_(Extent.RUN))),
                *self._calls({Kind.MASK}, Extent.POSITION, depth),
            ]
        return self._one(rules)

    def condition(self, depth: int = DEEPEST) -> Expression:
        """One bool for the row."""
        rules = self._leaves({Kind.BOOL}, Extent.ROW)
        if depth > 0:
            rules += [
                (3.0, lambda: self._compared(Extent.ROW, depth - 1)),
                (1.0, lambda: both(self.condition(depth - 1), self.condition(depth - 1))),
                (1.0, lambda: either(self.condition(depth - 1), self.condition(depth - 1))),
                *self._calls({Kind.BOOL}, Extent.ROW, depth),
            ]
        return self._one(rules)

    def _compared(self, extent: Extent, depth: int) -> Expression:
        """A comparison whose left side has a value for each position or for the row."""
        sides = self.varying(NUMBERS) if extent is Extent.POSITION else self.leaves_of(NUMBERS, extent)
        left = self.leaf(sides)
        operator = self.rng.choice(ORDERS[left.type.polarity])
        return compared(left.expression, operator, self.number(left.type.kind, Extent.ROW, depth))

    # --- numbers

    def number(self, kind: Kind, extent: Extent, depth: int = DEEPEST) -> Expression:
        """A number in this unit. An int has no other form; a real may stand for any unit."""
        kinds: set[Kind] = {kind} if kind is Kind.INT else {kind, Kind.REAL}
        rules: list[GrammarRule] = [
            (12.0 if kind is Kind.INT else 4.0, lambda: number(number_of(kind, self.rng))),
            *self._leaves(kinds, extent),
        ]
        if depth > 0 and not self.scope.fixed:
            rules += self._calls(kinds, extent, depth)
            rules.append((1.5, lambda: self._arithmetic(kind, extent, depth - 1)))
        return self._one(rules)

    def _arithmetic(self, kind: Kind, extent: Extent, depth: int) -> Expression:
        if self.rng.random() < 0.2:
            then, otherwise = self.number(kind, extent, 0), self.number(kind, extent, 0)
            return syntax.Conditional(NOWHERE, then, self.condition(depth), otherwise)
        left = self.number(kind, extent, depth)
        if kind is not Kind.INT and self.rng.random() < 0.4:
            return syntax.Arithmetic(NOWHERE, left, "*", self.number(Kind.REAL, extent, depth))
        operator = self.rng.choice("+-")
        return syntax.Arithmetic(NOWHERE, left, operator, self.number(kind, extent, depth))

    def score(self, depth: int = DEEPEST) -> Expression:
        """A number for each position that is not low where the denoiser is sure."""
        leaf = self.leaf(self.varying(NUMBERS))
        down = leaf.type.polarity is Polarity.LOW
        if leaf.type.polarity is Polarity.NONE:
            down = self.rng.random() < 0.5
        score = syntax.Negation(NOWHERE, leaf.expression) if down else leaf.expression
        if depth <= 0 or self.rng.random() < 0.7:
            return score
        operator = self.rng.choice("+-*")
        if operator == "*":
            return syntax.Arithmetic(NOWHERE, score, "*", self.number(Kind.REAL, Extent.POSITION, depth - 1))
        # A product has no unit, so that scores in different units meet.
        other = syntax.Arithmetic(NOWHERE, number(number_of(Kind.REAL, self.rng)), "*", self.score(0))
        return syntax.Arithmetic(NOWHERE, score, operator, other)

    # --- words

    def _leaves(self, kinds: set[Kind], extent: Extent) -> list[GrammarRule]:
        leaves = self.leaves_of(frozenset(kinds), extent)
        return [(leaf.weight, partial(_itself, leaf.expression)) for leaf in leaves]

    def _calls(self, kinds: set[Kind], extent: Extent, depth: int) -> list[GrammarRule]:
        """A rule for each word with arguments that gives one of these kinds."""
        rules: list[GrammarRule] = []
        for word in usable_words():
            if not word.slots or not self.may_read(word):
                continue
            forms = [slots for slots in (word.slots, word.elementwise) if slots]
            for slots in forms:
                type_ = _given_by(word, slots, kinds, extent, self.rng)
                if type_ is not None:
                    make = partial(self._call, word, slots, type_, extent, depth - 1)
                    rules.append((weight(word.name) / len(forms), make))
        return rules

    def call_of(self, word: Word, extent: Extent) -> syntax.Call:
        """A call of this word, which fixes the kind of its value."""
        assert word.gives is not None
        return self._call(word, word.slots, word.gives, extent, 1)

    def _call(
        self, word: Word, slots: Sequence[Slot], type_: Type, wanted: Extent, depth: int
    ) -> syntax.Call:
        chosen = self.rng.choice(word.one_of) if word.one_of else None
        arguments: list[Expression] = []
        named: dict[str, Expression] = {}
        for at, slot in enumerate(slots):
            if slot.name in word.one_of and slot.name != chosen:
                continue
            if slot.optional and slot.name != chosen and self.rng.random() < 0.75:
                continue
            if slot.kinds >= {Kind.GROUP} and wanted is not Extent.POSITION and not word.selects:
                continue  # one number for each group is one for each position
            of_kind = type_ if word.gives is None and (at == 0 or slot.kinds == NUMBERS) else None
            value = self._argument(word, slot, of_kind, type_, depth)
            if slot.named:
                named[slot.name] = value
            elif len(arguments) == at:
                arguments.append(value)
        result = call(word.name, *arguments)
        keywords = tuple(syntax.Keyword(NOWHERE, identifier(key), value) for key, value in named.items())
        return replace(result, keywords=keywords)

    def _argument(self, word: Word, slot: Slot, same: Type | None, type_: Type, depth: int) -> Expression:
        extent = min(slot.extent, type_.extent) if word.spread or same else slot.extent
        if slot.static:
            return number(number_of(Kind.INT, self.rng))
        if slot.score:
            return self.score(depth)
        if same is not None:
            if word.reduction and word.slots[0] is slot:
                return self._reduced(same.kind, depth)
            return self.of(same, depth)
        if Kind.MASK in slot.kinds and not slot.kinds & NUMBERS:
            if word.selects and not slot.named:
                return self._selected(depth)
            inside = replace(self.scope, ordered=self.scope.ordered or slot.name == "while")
            return Generator(self.rng, inside).mask(depth)
        return self._of_kinds(slot.kinds, extent, depth)

    def _reduced(self, kind: Kind, depth: int) -> Expression:
        """A number for each position, to be reduced. One for the row would stay as it is."""
        leaves = self.varying(frozenset({kind}))
        if leaves and (depth <= 0 or self.rng.random() < 0.8):
            return self.leaf(leaves).expression
        return self.number(kind, Extent.POSITION, depth)

    def _selected(self, depth: int) -> Expression:
        """The mask that a selector selects from: mostly all masked positions."""
        from_ = name(MASKED)
        return from_ if self.rng.random() < 0.75 else both(from_, self.mask(depth))

    def _of_kinds(self, kinds: frozenset[Kind], extent: Extent, depth: int) -> Expression:
        """An argument of one of these kinds."""
        if kinds >= NUMBERS:
            return self.number(self.rng.choice(sorted(UNITS | {Kind.REAL})), extent, depth)
        if Kind.GROUP in kinds or Kind.KERNEL in kinds:
            wanted = Kind.GROUP if Kind.GROUP in kinds else Kind.KERNEL
            makers = [w for w in usable_words() if w.gives is not None and w.gives.kind is wanted]
            return self._call(makers[0], makers[0].slots, Type(wanted, extent), extent, depth)
        if Kind.PREVIOUS in kinds:
            return name(BEFORE)
        if kinds == IDS or Kind.TOKEN in kinds:
            return self.id_(extent)
        if Kind.BOOL in kinds and not kinds & {Kind.MASK}:
            return syntax.Boolean(NOWHERE, self.rng.random() < 0.5)
        if kinds & CONDITIONS:
            return self.mask(depth)
        numbers = sorted(kinds & NUMBERS)
        if not numbers:
            raise CannotWrite(kinds)
        return self.number(self.rng.choice(numbers), extent, depth)

    # --- choices

    def _one(self, rules: Sequence[GrammarRule]) -> Expression:
        return self.one_of(rules)()


def _itself(expression: Expression) -> Expression:
    return expression


def _given_by(
    word: Word, slots: Sequence[Slot], kinds: set[Kind], extent: Extent, rng: random.Random
) -> Type | None:
    """The type that a call of the word has, with arguments that fit; `None` where it is no such kind."""
    if word.gives is not None:
        fits = word.gives.kind in kinds and (word.spread or word.gives.extent <= extent)
        return replace(word.gives, extent=min(word.gives.extent, extent)) if fits else None
    able = sorted(kinds & slots[0].kinds)
    reduces = bool(word.reduction) and slots is word.slots
    # A reduction of ints, for example, gives a real: only arithmetic on single numbers keeps them.
    if not able or (Kind.INT in able and (reduces or not word.rising)):
        return None
    return Type(rng.choice(able), Extent.POSITION if reduces else extent)
