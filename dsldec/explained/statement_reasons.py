"""Why did a statement write a position, or not: its mask, its floor, its limit, its condition.

Not here: expressions (`expression_reasons`), the choice of the statements (`position_reasons`).
"""

from __future__ import annotations

from ..ir.watched import CHOSEN, FLOOR_RANK, LIMIT_RANK, LIMITED, MASKED, WatchedPart
from ..language import syntax
from .call_reasons import CallReasons
from .line_writer import YES
from .number_reasons import with_value
from .value_texts import text_of

Writing = syntax.Commit | syntax.Revoke | syntax.Edit | syntax.Fill
WithCondition = syntax.Fill | syntax.Stay | syntax.Refresh | syntax.Next | syntax.Finish


class StatementReasons(CallReasons):
    """Writes lines about the statements of a step."""

    def part(self, statement: syntax.Statement, node: syntax.Node | None) -> WatchedPart | None:
        """An expression of a statement."""
        parts = self.values.watched.parts.get((self.values.record.phase, statement), ())
        return next((part for part in parts if part.node is node), None)

    def did(self, statement: syntax.Statement, what: str) -> bool | None:
        """A result of a statement at the position."""
        return self.values.holds(self.values.of_statement(statement, what), self.at)

    def writing(self, statement: Writing, depth: int = 0) -> None:
        """The lines of a statement that writes."""
        done = self.values.written(statement, self.at)
        if self.line(depth, f"{text_of(statement)} {YES[done]}", statement, done, False):
            with self.read_by(statement):
                if isinstance(statement, syntax.Commit):
                    self._commit(statement, depth + 1)
                elif isinstance(statement, syntax.Fill):
                    self.when(statement, depth + 1)
                else:
                    self._of_written(statement, depth + 1)

    def when(self, statement: WithCondition, depth: int) -> None:
        """The lines of the condition of a statement."""
        part = self.part(statement, statement.condition)
        if part is not None:
            self.grouped(part, depth)
        elif statement.condition is None and not isinstance(statement, syntax.Fill | syntax.Stay):
            self.line(depth, "it has no condition", statement, True, True)

    # --- commit

    def _commit(self, commit: syntax.Commit, depth: int) -> None:
        mask, chosen = self.part(commit, commit.mask), self.did(commit, CHOSEN)
        if self.did(commit, MASKED) is False:
            masked = self.values.record.canvas[self.at or 0] == self.values.record.mask_id
            outside = masked and not self._written_above(commit)
            written = "`commit` writes only masked positions, and this one has a token"
            template = "outside of the window" if outside else written
            self.line(depth, template, commit.mask, False, True)
            return
        if mask is None:
            return
        passes = self.holds(mask)
        floor = bool(chosen) and not passes
        if floor and commit.at_least is not None:
            self._floor(commit, commit.at_least, True, depth)
        if (
            not floor
            and (chosen or not passes)
            and isinstance(mask.node, syntax.Conjunction | syntax.Disjunction)
        ):
            self.condition(mask, depth)
        else:
            self.grouped(mask, depth)
        if not chosen and passes:
            self._cannot_write(commit, commit.ids, depth)
        if not chosen and not passes and commit.at_least is not None:
            self._floor(commit, commit.at_least, False, depth)
        if chosen and commit.at_most is not None:
            self._limit(commit, commit.at_most, depth)

    def _cannot_write(
        self, statement: syntax.Commit | syntax.Edit, ids: syntax.Expression | None, depth: int
    ) -> None:
        """An id that cannot be written: none, MASK, or one that the pattern refuses."""
        part = self.part(statement, ids)
        if part is not None:
            template = f"{text_of(part.node)} {{}}: {self._refusal(part)}"
            self.line(depth, template, part.node, False, True, self.text(part))

    def _refusal(self, part: WatchedPart) -> str:
        """Why a step cannot write an id."""
        if self._is_word(part):
            return "the pattern of the request does not allow this id here"
        return "this is no id that a step can write"

    def _is_word(self, part: WatchedPart) -> bool:
        value = self.value(part)
        return value is not None and value >= 0 and value != self.values.record.mask_id

    def _floor(self, commit: syntax.Commit, floor: syntax.AtLeast, chosen: bool, depth: int) -> None:
        """`at least N by SCORE`: the best positions that the mask leaves out."""
        count, score = self.part(commit, floor.count), self.part(commit, floor.score)
        mask = self.part(commit, commit.mask)
        if count is None or score is None or mask is None:
            return
        # Of the positions that pass, those with an id that can be written.
        written = self.values.wide(self.values.of_statement(commit, CHOSEN))
        pass_mask = [at for at in self.values.chosen(mask.operation) if not written or written[at]]
        least = self.value(count)
        lacking = max(0, int(least or 0) - len(pass_mask))
        rank = self.values.value(self.values.of_statement(commit, FLOOR_RANK), self.at)
        text = f"{text_of(floor)} {YES[chosen]}"
        if not chosen and not lacking:
            passing = "other positions pass: {}" if pass_mask else "it asks for no position"
            template = f"{text}: not needed, because {passing}"
            arguments = [self.positions(pass_mask)] if pass_mask else []
        elif rank == 0:
            template, arguments = f"{text}: the position has no id that can be written", []
        else:
            template = f"{text}: {{}} pass, so it adds the best {{}} of the rest; rank {{}} by {with_value(score.node)}"
            arguments = [str(len(pass_mask)), str(lacking), str(rank), self.text(score)]
        if self.line(depth, template, floor, chosen, True, *arguments) and (chosen or lacking):
            self.number(score, depth + 1)
            self.number(count, depth + 1)

    def _limit(self, statement: Writing, limit: syntax.AtMost, depth: int) -> None:
        """`at most N by SCORE`: the best ones of the chosen positions."""
        count, score = self.part(statement, limit.count), self.part(statement, limit.score)
        holds = self.did(statement, LIMITED)
        rank = self.values.value(self.values.of_statement(statement, LIMIT_RANK), self.at)
        if count is None or rank is None:
            return
        by = " by position" if score is None else f" by {with_value(score.node)}"
        template = f"{text_of(limit)} {YES[holds]}: rank {{}}{by}, and the limit is {{}}"
        arguments = [str(rank), *([] if score is None else [self.text(score)]), self.text(count)]
        if self.line(depth, template, limit, holds, True, *arguments):
            self.number(count, depth + 1)
            if score is not None:
                self.number(score, depth + 1)

    # --- statements that change written positions

    def _of_written(self, statement: syntax.Revoke | syntax.Edit, depth: int) -> None:
        mask, chosen = self.part(statement, statement.mask), self.did(statement, CHOSEN)
        if mask is None:
            return
        passes, record, at = self.holds(mask), self.values.record, self.at or 0
        word = "revoke" if isinstance(statement, syntax.Revoke) else "edit"
        if not chosen and record.canvas[at] == record.mask_id and not self._written_above(statement):
            self.line(
                depth,
                f"`{word}` changes only written positions, and this one is masked",
                statement.mask,
                False,
                True,
            )
            return
        if isinstance(mask.node, syntax.Conjunction | syntax.Disjunction):
            self.condition(mask, depth)
        else:
            self.grouped(mask, depth)
        if isinstance(statement, syntax.Edit) and passes:
            self._new_id(statement, bool(chosen), depth)
        if chosen and statement.at_most is not None:
            self._limit(statement, statement.at_most, depth)

    def _written_above(self, statement: Writing) -> bool:
        """Whether an earlier statement of the step wrote the position."""
        place = self.values.places[statement]
        return any(self.values.written(one, self.at) for one in self.values.statements[:place])

    def _new_id(self, edit: syntax.Edit, chosen: bool, depth: int) -> None:
        """The id of an edit: it must be another one."""
        part, record, at = self.part(edit, edit.ids), self.values.record, self.at or 0
        if part is None:
            return
        above = self._written_above(edit)
        if chosen and above:
            template = f"{text_of(part.node)} {{}}: another id than an earlier statement of this step wrote"
            self.line(depth, template, part.node, True, True, self.text(part))
            return
        if above and self._is_word(part):
            template = f"{text_of(part.node)} {{}}: an earlier statement of this step wrote this id"
        elif self.value(part) == record.canvas[at]:
            template = f"{text_of(part.node)} {{}}: the position has this id already"
        elif chosen:
            template = f"{text_of(part.node)} {{}}: another id than {{}}"
            self.line(depth, template, part.node, True, True, self.text(part), self.id(record.canvas[at]))
            return
        else:
            template = f"{text_of(part.node)} {{}}: {self._refusal(part)}"
        self.line(depth, template, part.node, False, True, self.text(part))

    # --- statements of the row

    def of_row(self, statement: WithCondition, holds: bool | None, more: str = "", *arguments: str) -> None:
        """The lines of a statement with a condition for the row."""
        template = f"{text_of(statement)} {YES[holds]}{more}"
        if self.line(0, template, statement, holds, statement.condition is None, *arguments):
            with self.read_by(statement):
                if statement.condition is not None:
                    self.when(statement, 1)
