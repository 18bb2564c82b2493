"""Why does a condition hold at a position, or not?

Only the parts that decide have lines: the false parts of a false `and`, the true parts of a true `or`, the
side that `x if c else y` and `orelse` take. Not here: numbers (`number_reasons`), calls (`call_reasons`),
statements (`statement_reasons`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from ..ir.watched import WatchedPart
from ..language import syntax
from ..language.words import ELEMENTWISE_WORDS
from .line_writer import YES
from .number_reasons import NumberReasons, is_literal, with_value
from .value_texts import text_of

Connective = syntax.Conjunction | syntax.Disjunction


class ExpressionReasons(NumberReasons):
    """Writes lines about the expressions of a step."""

    def condition(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition."""
        node, holds = part.node, self.holds(part)
        match node:
            case syntax.Conjunction() | syntax.Disjunction():
                self._logic(part, node, depth)
            case syntax.Inversion():
                inside = part.parts[0] if part.parts else None
                simple = inside is None or isinstance(inside.node, syntax.Name | syntax.Boolean)
                if self.line(depth, f"{text_of(node)} {YES[holds]}", node, holds, simple) and inside:
                    self.below(inside, depth + 1)
            case syntax.Comparison():
                self._comparison(part, node, depth)
            case syntax.Alternative():
                self._alternative(part, depth)
            case syntax.Conditional():
                self._conditional(part, node, depth)
            case syntax.Call() if node.function.text not in ELEMENTWISE_WORDS:
                self.condition_of_call(part, node, depth)
            case syntax.Name():
                self.name(part, node, depth)
            case syntax.Number() | syntax.Boolean() | syntax.Call() | syntax.Negation() | syntax.Arithmetic():
                self.line(depth, f"{text_of(node)} {YES[holds]}", node, holds, True)
            case _:
                assert_never(node)

    def below(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition whose value the line above gives already."""
        if not isinstance(part.node, syntax.Name | syntax.Boolean):
            self.condition(part, depth)
        elif isinstance(part.node, syntax.Name):
            self.definition(part.node, depth)

    def grouped(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition, below a separate line if it has several parts."""
        if not isinstance(part.node, Connective):
            return self.condition(part, depth)
        holds = self.holds(part)
        if self.line(depth, f"{text_of(part.node)} {YES[holds]}", part.node, holds, False):
            self.condition(part, depth + 1)

    def _logic(self, part: WatchedPart, node: Connective, depth: int) -> None:
        holds = self.holds(part)
        leaves = list(_leaves(part, type(node)))
        decides_alone = isinstance(node, syntax.Disjunction)  # a true part of `or`, a false one of `and`
        if holds is decides_alone:
            deciding = [leaf for leaf in leaves if self.holds(leaf) is holds]
            leaves = deciding or leaves
        for leaf in leaves:
            self.grouped(leaf, depth)

    def _comparison(self, part: WatchedPart, node: syntax.Comparison, depth: int) -> None:
        holds = self.holds(part)
        if len(part.parts) != len(node.operands):  # the choice of a parameter decides
            self.line(depth, f"{text_of(node)} {YES[holds]}", node, holds, True)
            return
        given = iter(self.texts_of(part.parts))
        arguments, sides = [], []
        for operand in part.parts:
            text = next(given)
            sides.append(text_of(operand.node) if is_literal(operand.node) else with_value(operand.node))
            arguments += [] if is_literal(operand.node) else [text]
        words = [sides[0]]
        for operator, side in zip(node.operators, sides[1:], strict=True):
            words += [operator, side]
        if self.line(depth, f"{' '.join(words)} {YES[holds]}", node, holds, True, *arguments):
            for operand in part.parts:
                self.number(operand, depth + 1)

    def _alternative(self, part: WatchedPart, depth: int) -> None:
        left, right = part.parts
        chosen = self.values.chosen(left.operation)
        node, holds = part.node, self.holds(part)
        if chosen:
            template = (
                f"{text_of(node)} {YES[holds]}: the left side counts, because it selects positions: {{}}"
            )
            arguments, taken = [self.positions(chosen)], left
        else:
            template = (
                f"{text_of(node)} {YES[holds]}: the right side counts, because the left side selects nothing"
            )
            arguments, taken = [], right
        if self.line(depth, template, node, holds, False, *arguments):
            self.grouped(taken, depth + 1)

    def _conditional(self, part: WatchedPart, node: syntax.Conditional, depth: int) -> None:
        holds = self.holds(part)
        condition, taken = self.side(part, node)
        if taken is None:
            self.line(depth, f"{text_of(node)} {YES[holds]}", node, holds, True)
            return
        if self.line(depth, f"{text_of(node)} {YES[holds]}", node, holds, False):
            if condition is not None:
                self.grouped(condition, depth + 1)
            self.grouped(taken, depth + 1)

    def condition_of_call(self, part: WatchedPart, call: syntax.Call, depth: int) -> None:
        """The lines of a call that is a condition."""
        raise NotImplementedError


def _leaves(part: WatchedPart, connective: type[syntax.Node]) -> Iterator[WatchedPart]:
    for one in part.parts:
        if isinstance(one.node, connective):
            yield from _leaves(one, connective)
        else:
            yield one
