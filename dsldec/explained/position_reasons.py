"""Why did a step write one position, or not: which statements touched it, and which ones did not.

Not here: the lines of a statement (`statement_reasons`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.watched import AFTER
from ..language import syntax
from .draft_reasons import refused_draft, taken_draft
from .part_values import PartValues
from .statement_reasons import StatementReasons, Writing
from .step_record import StepRecord
from .why import Why

COMMITTED, EDITED, REVOKED, UNCHANGED = "committed", "edited", "revoked", "unchanged"
WRITING = (syntax.Commit, syntax.Revoke, syntax.Edit, syntax.Fill)
OF_MASKED = (syntax.Commit, syntax.Fill)


def why_position(
    values: PartValues, position: int, texts: Mapping[int, str], earlier: Sequence[StepRecord | None] = ()
) -> Why:
    """The explanation of a position. `values`: of the step; `earlier`: the steps before it."""
    record = values.record
    at = position - record.start
    inside = 0 <= at < len(record.canvas)
    reasons = StatementReasons(values, at if inside else None, texts, earlier)
    touching = _touching(values, at) if inside else []
    outcome = _outcome(values, at, touching) if inside else UNCHANGED
    drafted = None if record.taken is None else record.taken.get(position)
    if inside and drafted is not None:
        outcome = outcome_of(record.canvas[at], drafted, record.mask_id)
    if inside and record.taken is not None:
        taken_draft(reasons, drafted, written=outcome != UNCHANGED)
    if not inside:
        _outside(reasons)
    elif touching:
        for statement in touching:
            reasons.writing(statement)
        if outcome == UNCHANGED and drafted is None:
            reasons.lines.add(0, "after these statements, the position is as before the step")
    else:
        _untouched(reasons, at)
    if record.recomputed:
        template = "the step was computed again for this explanation, and rounding gave other writes"
        reasons.lines.add(0, template)
    if position in record.refused:
        refused_draft(reasons, record.refused[position])
    phase = values.watched.program.phases[record.phase]
    return Why(position, record.step, phase, outcome, tuple(reasons.lines.lines))


def _touching(values: PartValues, at: int) -> list[Writing]:
    return [one for one in values.statements if isinstance(one, WRITING) and values.written(one, at)]


def _outcome(values: PartValues, at: int, touching: list[Writing]) -> str:
    """The outcome of a position. It is unchanged if it has the same id before and after the step."""
    mask, before = values.record.mask_id, values.record.canvas[at]
    after = values.value(values.watched.results.get(AFTER), at)
    if not touching:
        return UNCHANGED
    return outcome_of(before, after, mask)


def outcome_of(before: int, after: object, mask_id: int) -> str:
    """The outcome of a step at a position, by the ids before and after the step."""
    if before == after:
        return UNCHANGED
    return COMMITTED if before == mask_id else REVOKED if after == mask_id else EDITED


def _outside(reasons: StatementReasons) -> None:
    record = reasons.values.record
    template = "outside of the window, which has the positions {} to {}"
    reasons.lines.add(0, template, str(record.start), str(record.end - 1), holds=False, decides=True)


def _written_before(reasons: StatementReasons, at: int) -> int | None:
    """The earlier step that wrote the id of a position, `None` if its record is not known."""
    now = reasons.values.record
    for record in reasons.before():
        place = at + now.start - record.start
        if not 0 <= place < len(record.canvas):
            return None
        if record.canvas[place] != now.canvas[at]:
            return record.step
    return None


def _untouched(reasons: StatementReasons, at: int) -> None:
    """The lines of a position that no statement changed."""
    record, lines = reasons.values.record, reasons.lines
    masked = record.canvas[at] == record.mask_id
    writing: list[Writing] = [one for one in reasons.values.statements if isinstance(one, WRITING)]
    if not record.editable[at]:
        template = "no step may write here" if masked else "no step may write here: it has {}"
        arguments = [] if masked else [reasons.id(record.canvas[at])]
        lines.add(0, template, *arguments, holds=False, decides=True)
        return
    if not masked:
        changing = [one for one in writing if not isinstance(one, OF_MASKED)]
        written = _written_before(reasons, at)
        template = "written in an earlier step: {}" if written is None else "written in step {}: {}"
        if not changing:
            template += ", and no statement here changes what is written"
        step = [] if written is None else [str(written)]
        lines.add(0, template, *step, reasons.id(record.canvas[at]), holds=None, decides=not changing)
        writing = [*changing]
    elif not writing:
        lines.add(0, "no statement of this phase writes", holds=False, decides=True)
    for statement in writing:
        reasons.writing(statement)
