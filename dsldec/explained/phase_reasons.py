"""Why did a step run its phase, and which of `next`, `finish`, `stay` and `refresh` held after it?

Not here: the positions that it wrote (`position_reasons`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ..ir.watched import NAMED, RAN, STAYS, WHEN
from ..language import syntax
from .part_values import PartValues
from .position_reasons import WRITING
from .statement_reasons import StatementReasons
from .value_texts import number_text, text_of
from .why import WhyLine


def why_phase(values: PartValues, texts: Mapping[int, str]) -> tuple[WhyLine, ...]:
    """The lines of a step: why its phase ran, and how it ended."""
    reasons = StatementReasons(values, None, texts)
    _of_phase(reasons)
    moved = False
    for statement in values.statements:
        if isinstance(statement, syntax.Next | syntax.Finish):
            moved = _of_exit(reasons, statement, moved) or moved
        elif isinstance(statement, syntax.Stay | syntax.Refresh):
            what = STAYS if isinstance(statement, syntax.Stay) else WHEN
            reasons.of_row(statement, reasons.did(statement, what))
        elif isinstance(statement, syntax.Fill):
            reasons.of_row(statement, True if statement.condition is None else reasons.did(statement, WHEN))
    _of_window(reasons)
    _of_candidates(reasons)
    return tuple(reasons.lines.lines)


def _of_phase(reasons: StatementReasons) -> None:
    """The phase that ran, and the headers that led to it."""
    values = reasons.values
    program = values.watched.program
    ran, named = (values.value(values.watched.results.get(one), None) for one in (RAN, NAMED))
    if ran is None or named is None or len(program.phases) < 2:
        return
    phases, names = values.resolved.phases, dict(enumerate(program.phases))
    if ran not in names or named not in names:  # a trace file may have any number
        return
    at = phases[names[int(named)]]
    for _ in names:
        if at.identifier.text == names[int(ran)] or at.otherwise is None:
            break
        template = f"phase {at.identifier.text} -> no: its header leads to {at.otherwise.text}"
        reasons.line(0, template, at.identifier, False, True)
        _of_header(reasons, at)
        at = phases[at.otherwise.text]
    reasons.line(0, f"phase {at.identifier.text} -> yes", at.identifier, True, True)


def _of_header(reasons: StatementReasons, phase: syntax.Phase) -> None:
    """The values of its header, as the step begins."""
    for part in reasons.values.watched.headers.get(phase.identifier.text, ()):
        if part.node is phase.visits:
            template = f"at most {text_of(part.node)} visits: {{}}"
            reasons.line(1, template, part.node, None, False, reasons.text(part))
            reasons.number(part, 2)
        else:
            reasons.grouped(part, 1)


def _of_exit(reasons: StatementReasons, statement: syntax.Next | syntax.Finish, moved: bool) -> bool:
    """Whether this `next` fired."""
    holds = reasons.did(statement, WHEN)
    if moved:
        template = f"{text_of(statement)}: a `next` above it counts"
        reasons.line(0, template, statement, None, False)
        return False
    reasons.of_row(statement, holds)
    return bool(holds) and isinstance(statement, syntax.Next)


def _of_candidates(reasons: StatementReasons) -> None:
    """The scores of the candidates of a `branch`."""
    for number, score in enumerate(reasons.values.record.scores):
        reasons.lines.add(0, "candidate {} has the score {}", str(number), number_text(score))


def _of_window(reasons: StatementReasons) -> None:
    """Whether the window is full after the step, which overrides `next`."""
    values, record = reasons.values, reasons.values.record
    left = 0
    for at, id_ in enumerate(record.canvas):
        touching = [one for one in values.statements if isinstance(one, WRITING) and values.written(one, at)]
        masked = isinstance(touching[-1], syntax.Revoke) if touching else id_ == record.mask_id
        left += masked and record.editable[at]
    if left:
        reasons.lines.add(0, "masked positions left in the window: {}", str(left))
    else:
        stays = any(reasons.did(one, STAYS) for one in values.statements if isinstance(one, syntax.Stay))
        more = "`stay` keeps the row in it" if stays else "the row goes on behind it"
        reasons.lines.add(0, f"the window is full, and {more}", holds=True, decides=True)
