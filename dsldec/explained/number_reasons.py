"""Where does a number come from? The values of its parts, and the lines of these.

Not here: conditions (`expression_reasons`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.watched import WatchedPart
from ..language import syntax
from ..language.words import ELEMENTWISE_WORDS
from .name_reasons import NameReasons
from .value_texts import text_of

MOST_ATOMS = 8  # named values in one line
LITERALS = (syntax.Number, syntax.Boolean)


class NumberReasons(NameReasons):
    """Writes lines about numbers."""

    def number(self, part: WatchedPart, depth: int) -> None:
        """The lines of where a number comes from; its value is in the line above."""
        if is_literal(part.node):
            return
        atoms = list({text_of(atom.node): atom for atom in self._atoms(part)}.values())
        for condition in self._conditions(part):
            self.grouped(condition, depth)
        if [one.node for one in atoms] != [part.node] and atoms:
            some = atoms[:MOST_ATOMS]
            words = ", ".join(f"{text_of(atom.node)} {{}}" for atom in some)
            more = ", ..." if len(atoms) > MOST_ATOMS else ""
            texts = [self.text(atom) for atom in some]
            if not self.line(depth, f"with {words}{more}", part.node, None, False, *texts):
                return
        for atom in atoms:
            self._atom(atom, depth)

    def _atom(self, atom: WatchedPart, depth: int) -> None:
        node = atom.node
        if isinstance(node, syntax.Call):
            self.number_of_call(atom, node, depth)
        elif isinstance(node, syntax.Name) and (statement := self.statement_of(node)) is not None:
            if self._known(statement):
                return
            parts = self.values.watched.parts.get((self.values.record.phase, statement), ())
            if not parts or is_literal(parts[0].node):
                return
            texts = (self.text(parts[0]),)
            template = f"{node.identifier} {{}} = {text_of(parts[0].node)}"
            if self.line(depth, template, parts[0].node, None, False, *texts):
                self.definition(node, depth + 1)

    def _atoms(self, part: WatchedPart) -> Iterator[WatchedPart]:
        """The named values and calls that a number is computed from, in the order of the text."""
        node = part.node
        if is_literal(node):
            return
        if isinstance(node, syntax.Conditional):
            _, taken = self.side(part, node)
            if taken is not None:
                yield from self._atoms(taken)
        elif isinstance(node, syntax.Name) or not (
            isinstance(node, syntax.Arithmetic | syntax.Negation) or _is_elementwise(part)
        ):
            yield part
        else:
            for one in part.parts:
                yield from self._atoms(one)

    def _conditions(self, part: WatchedPart) -> Iterator[WatchedPart]:
        """The conditions of the `x if c else y` inside a number."""
        node = part.node
        if isinstance(node, syntax.Conditional):
            condition, taken = self.side(part, node)
            if condition is not None:
                yield condition
            if taken is not None:
                yield from self._conditions(taken)
        elif isinstance(node, syntax.Arithmetic | syntax.Negation) or _is_elementwise(part):
            for one in part.parts:
                yield from self._conditions(one)

    def side(
        self, part: WatchedPart, node: syntax.Conditional
    ) -> tuple[WatchedPart | None, WatchedPart | None]:
        """The condition of `x if c else y`, and the side that counts."""
        condition = next((one for one in part.parts if one.node is node.condition), None)
        sides = [one for one in part.parts if one is not condition]
        if condition is None or len(sides) < 2:
            return condition, sides[0] if sides else None
        holds = self.holds(condition)
        return condition, None if holds is None else sides[0] if holds else sides[1]

    # --- the parts that are no numbers

    def grouped(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition, below a separate line if it has several parts."""
        raise NotImplementedError

    def number_of_call(self, part: WatchedPart, call: syntax.Call, depth: int) -> None:
        """The lines of where the value of a call comes from; the value is in the line above."""
        raise NotImplementedError


def is_literal(node: syntax.Node) -> bool:
    return isinstance(node, LITERALS) or (
        isinstance(node, syntax.Negation) and isinstance(node.operand, LITERALS)
    )


def with_value(node: syntax.Node) -> str:
    """An expression in a template, with room for its value."""
    is_short = isinstance(node, syntax.Name | syntax.Call)
    return f"{text_of(node)} {{}}" if is_short else f"{text_of(node)} = {{}}"


def _is_elementwise(part: WatchedPart) -> bool:
    """Whether a part computes one number from single numbers: `abs(x)`, `min(a, b)`."""
    node = part.node
    if not isinstance(node, syntax.Call) or node.keywords:
        return False
    pair = len(node.arguments) == 2
    word = node.function.text
    return word == "clamp" or (word in ELEMENTWISE_WORDS and (pair or word not in ("min", "max")))
