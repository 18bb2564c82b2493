"""Why did a row go on from a draft, or not: the condition of `accept`.

Not here: the statements of the step (`statement_reasons`).
"""

from __future__ import annotations

from ..ir.watched import ACCEPT
from ..language import syntax
from .statement_reasons import StatementReasons


def taken_draft(reasons: StatementReasons, id_: int | None, *, written: bool) -> None:
    """The draft that the row went on from. `id_`: its id at the position, `None` if the step has the same;
    `written`: whether the draft wrote it.
    """
    template = "`accept` holds, so the ids of a draft count, and not those of the step. Here "
    if id_ is None:
        template += "they are equal"
    else:
        template += "the draft has {}, and the statements below do not count"
    arguments = [] if id_ is None else [reasons.id(id_)]
    head = reasons.values.resolved.policy.statements
    span = next((one.span for one in head if isinstance(one, syntax.Lookahead)), None)
    added = reasons.lines.add(0, template, *arguments, holds=True, span=span, decides=id_ is not None)
    if added and written:
        accepting(reasons)


def refused_draft(reasons: StatementReasons, id_: int) -> None:
    """The draft that the step refused."""
    template = "a draft had {} here, and this step refused it"
    if reasons.lines.add(0, template, reasons.id(id_)):
        accepting(reasons)


def accepting(reasons: StatementReasons) -> None:
    """The condition of `accept` at the position, if there is one."""
    if reasons.at is not None:
        for part in reasons.values.watched.accept.get(ACCEPT, ()):
            reasons.grouped(part, 1)
