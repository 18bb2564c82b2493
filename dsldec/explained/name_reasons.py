"""The lines of names: the value that a name of the step has, and where a state has its value from.

Not here: the expressions that names stand for (`expression_reasons`).
"""

from __future__ import annotations

from ..ir.watched import WatchedPart
from ..language import syntax
from ..language.words import CONDITIONS
from .line_writer import YES, LineWriter
from .part_values import statements_of
from .step_record import StepRecord


class NameReasons(LineWriter):
    """Writes lines about names."""

    def name(self, part: WatchedPart, node: syntax.Name, depth: int) -> None:
        holds = self.holds(part)
        text = f"{node.identifier} {YES[holds]}"
        meaning = self.values.resolved.bindings.get(node)
        if isinstance(meaning, syntax.Let | syntax.StateDeclaration):
            old = isinstance(meaning, syntax.StateDeclaration) and self.statement_of(node) is None
            record = (
                self._set_before(meaning) if isinstance(meaning, syntax.StateDeclaration) and old else None
            )
            if record is not None:
                text += ": set in step {}"
            more = [] if record is None else [str(record.step)]
            if not self.line(depth, text, node, holds, old, *more):
                return
            if record is None:
                self.definition(node, depth + 1)
            else:
                with self.step_of(record):
                    self.definition(node, depth + 1)
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

    def definition(self, node: syntax.Name, depth: int) -> None:
        """The lines of the expression behind a name, once for each place."""
        statement = self.statement_of(node)
        if statement is None or self._known(statement):
            return
        self.shown.add((statement, self.at, self.values.record.step))
        parts = self.values.watched.parts.get((self.values.record.phase, statement), ())
        if not parts:
            return
        with self.read_by(statement):
            if self.kind(parts[0]) in CONDITIONS:
                self.below(parts[0], depth)
            else:
                self.number(parts[0], depth)

    def _known(self, statement: syntax.Statement) -> bool:
        return (statement, self.at, self.values.record.step) in self.shown

    def _set_before(self, state: syntax.StateDeclaration) -> StepRecord | None:
        """The earlier step that gave a state its value, `None` if it has its start value."""
        now, name, scope = self.values.record, state.identifier.text, state.scope.text
        phases = self.values.watched.program.phases
        for record in self.before():
            entered = phases[now.phase] == scope != phases[record.phase]
            if entered or record.taken is not None or (record.start != now.start and scope != "sequence"):
                return None
            if any(
                isinstance(one, syntax.Set) and one.identifier.text == name for one in statements_of(record)
            ):
                return record
            now = record
        return None

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

    # --- the expressions behind names

    def below(self, part: WatchedPart, depth: int) -> None:
        """The lines of a condition whose value the line above has."""
        raise NotImplementedError

    def number(self, part: WatchedPart, depth: int) -> None:
        """The lines of a number whose value the line above has."""
        raise NotImplementedError
