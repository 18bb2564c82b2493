"""Why does a condition hold at a position, or not, and where does a number come from?

Only the parts that decide have lines: the false parts of a false `and`, the true parts of a true `or`, the
side that `x if c else y` and `orelse` take. Not here: calls (`call_reasons`), statements (`statement_reasons`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..ir.watched import WatchedPart
from ..language import syntax
from ..language.words import CONDITIONS, ELEMENTWISE_WORDS, Kind
from .line_list import LineList
from .part_values import PartValues
from .step_record import RecordedValue
from .value_texts import compared_texts, id_text, number_text, positions_text, text_of

YES = {True: "-> yes", False: "-> no", None: "-> not recorded"}
MOST_ATOMS = 8  # named values in one line
Logic = syntax.Conjunction | syntax.Disjunction
LITERALS = (syntax.Number, syntax.Boolean)


class ExpressionReasons:
    """Writes lines about the expressions of a step. `at`: the place in the window that is explained, `None`
    for the row; `texts`: of ids.
    """

    def __init__(self, values: PartValues, at: int | None, texts: Mapping[int, str]) -> None:
        self.values, self.at, self.texts = values, at, texts
        self.lines = LineList()
        self.reader = len(values.statements)  # the place of the statement that reads the states
        self.shown: set[tuple[syntax.Statement, int | None]] = set()

    @contextmanager
    def elsewhere(self, at: int) -> Iterator[None]:
        """Explains another place of the window."""
        before, self.at = self.at, at
        yield
        self.at = before

    @contextmanager
    def read_by(self, statement: syntax.Statement) -> Iterator[None]:
        """Explains what this statement reads: states have the values that they have there."""
        before, self.reader = self.reader, self.values.places[statement]
        yield
        self.reader = before

    # --- values

    def holds(self, part: WatchedPart) -> bool | None:
        return self.values.holds(part.operation, self.at)

    def value(self, part: WatchedPart) -> RecordedValue | None:
        return self.values.value(part.operation, self.at)

    def kind(self, part: WatchedPart) -> Kind:
        return self.values.operation(part.operation).kind

    def position(self, at: int) -> str:
        return str(self.values.record.start + at)

    def positions(self, places: Sequence[int]) -> str:
        return positions_text([self.values.record.start + at for at in places])

    def text(self, part: WatchedPart) -> str:
        """The value of a part as text."""
        return self.texts_of([part])[0]

    def texts_of(self, parts: Sequence[WatchedPart]) -> list[str]:
        """The values of the sides of a comparison."""
        values = [self.value(part) for part in parts]
        if any(self.kind(part) is Kind.TOKEN for part in parts):
            return [self.id(value) for value in values]
        known = [value for value in values if value is not None]
        texts = iter(compared_texts(known))
        return ["not recorded" if value is None else next(texts) for value in values]

    def id(self, value: RecordedValue | None) -> str:
        if value is None or isinstance(value, float):
            return "not recorded" if value is None else number_text(value)
        return id_text(int(value), self.values.record.mask_id, self.texts)

    # --- calls

    def condition_of_call(self, part: WatchedPart, call: syntax.Call, depth: int) -> None:
        """The lines of a call that is a condition."""
        raise NotImplementedError

    def number_of_call(self, part: WatchedPart, call: syntax.Call, depth: int) -> None:
        """The lines of where the value of a call comes from; the value is in the line above."""
        raise NotImplementedError

    # --- conditions

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
                self._name(part, node, depth)
            case _:
                self.line(depth, f"{text_of(node)} {YES[holds]}", node, holds, True)

    def line(
        self, depth: int, template: str, node: syntax.Node, holds: bool | None, decides: bool, *arguments: str
    ) -> bool:
        return self.lines.add(depth, template, *arguments, holds=holds, span=node.span, decides=decides)

    def below(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition whose value the line above gives already."""
        if not isinstance(part.node, syntax.Name | syntax.Boolean):
            self.condition(part, depth)
        elif isinstance(part.node, syntax.Name):
            self._definition(part.node, depth)

    def grouped(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition, below a line of its own if it has several parts."""
        if not isinstance(part.node, Logic):
            return self.condition(part, depth)
        holds = self.holds(part)
        if self.line(depth, f"{text_of(part.node)} {YES[holds]}", part.node, holds, False):
            self.condition(part, depth + 1)

    def _logic(self, part: WatchedPart, node: Logic, depth: int) -> None:
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
            sides.append(_side(operand.node))
            arguments += [] if _is_literal(operand.node) else [text]
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
            template = f"{text_of(node)} {YES[holds]}: the left side counts, because it selects positions: {{}}"
            arguments, taken = [self.positions(chosen)], left
        else:
            template = f"{text_of(node)} {YES[holds]}: the right side counts, because the left side selects nothing"
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

    def _name(self, part: WatchedPart, node: syntax.Name, depth: int) -> None:
        holds = self.holds(part)
        text = f"{node.identifier} {YES[holds]}"
        meaning = self.values.resolved.bindings.get(node)
        if isinstance(meaning, syntax.Let | syntax.StateDeclaration):
            if self.line(depth, text, node, holds, isinstance(meaning, syntax.StateDeclaration)):
                self._definition(node, depth + 1)
            return
        arguments: list[str] = []
        if node.identifier in ("masked", "committed") and self.at is not None:
            text, arguments = self._of_canvas(text, node.identifier, bool(holds))
        self.line(depth, text, node, holds, True, *arguments)

    def _of_canvas(self, text: str, word: str, holds: bool) -> tuple[str, list[str]]:
        """The words `masked` and `committed`: a position that is not masked has an id."""
        record, at = self.values.record, self.at or 0
        if (word == "masked") is holds:
            return text, []
        if record.canvas[at] == record.mask_id:
            return f"{text}: this step has written it" if self.values.touched(at) else text, []
        return f"{text}: it has {{}}", [self.id(record.canvas[at])]

    def _definition(self, node: syntax.Name, depth: int) -> None:
        """The lines of what a name stands for, once for each place."""
        statement = self.statement_of(node)
        if statement is None or (statement, self.at) in self.shown:
            return
        self.shown.add((statement, self.at))
        parts = self.values.watched.parts.get((self.values.record.phase, statement), ())
        if not parts:
            return
        with self.read_by(statement):
            if self.kind(parts[0]) in CONDITIONS:
                self.below(parts[0], depth)
            else:
                self.number(parts[0], depth)

    def statement_of(self, node: syntax.Name) -> syntax.Let | syntax.Set | None:
        """The statement that gives a name its value in this step; `None` for a state that has the value from
        before the step.
        """
        meaning = self.values.resolved.bindings.get(node)
        if isinstance(meaning, syntax.Let):
            return meaning if meaning in self.values.places else None
        if isinstance(meaning, syntax.StateDeclaration):
            for statement in reversed(self.values.statements[: self.reader]):
                if isinstance(statement, syntax.Set) and statement.identifier.text == node.identifier:
                    return statement
        return None

    # --- numbers

    def number(self, part: WatchedPart, depth: int) -> None:
        """The lines of where a number comes from; its value is in the line above."""
        if _is_literal(part.node):
            return
        atoms = list({text_of(atom.node): atom for atom in self._atoms(part)}.values())
        conditions = [one for one in self._conditions(part)]
        for condition in conditions:
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
            if (statement, self.at) in self.shown:
                return
            parts = self.values.watched.parts.get((self.values.record.phase, statement), ())
            if not parts or _is_literal(parts[0].node):
                return
            texts = (self.text(parts[0]),)
            template = f"{node.identifier} {{}} = {text_of(parts[0].node)}"
            if self.line(depth, template, parts[0].node, None, False, *texts):
                self._definition(node, depth + 1)

    def _atoms(self, part: WatchedPart) -> Iterator[WatchedPart]:
        """The named values and calls that a number is computed from, in the order of the text."""
        node = part.node
        if _is_literal(node):
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


def _leaves(part: WatchedPart, connective: type[syntax.Node]) -> Iterator[WatchedPart]:
    for one in part.parts:
        if isinstance(one.node, connective):
            yield from _leaves(one, connective)
        else:
            yield one


def _is_literal(node: syntax.Node) -> bool:
    return isinstance(node, LITERALS) or (
        isinstance(node, syntax.Negation) and isinstance(node.operand, LITERALS)
    )


def _is_elementwise(part: WatchedPart) -> bool:
    """Whether a part computes one number from single numbers: `abs(x)`, `min(a, b)`."""
    node = part.node
    if not isinstance(node, syntax.Call) or node.keywords:
        return False
    pair = len(node.arguments) == 2
    word = node.function.text
    return word == "clamp" or (word in ELEMENTWISE_WORDS and (pair or word not in ("min", "max")))


def _side(node: syntax.Node) -> str:
    """A side of a comparison in a template, with room for its value."""
    if _is_literal(node):
        return text_of(node)
    return f"{text_of(node)} {{}}" if isinstance(node, syntax.Name | syntax.Call) else f"{text_of(node)} = {{}}"
