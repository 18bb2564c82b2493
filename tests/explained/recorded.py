"""Checks of recorded steps: what the statements wrote is what the trace says, and the values are those of the
reference.
"""

from __future__ import annotations

from dsldec.ir.watched import LIMITED, WRITTEN
from dsldec.language import syntax
from dsldec.language.walk import bodies
from dsldec.trace_step import TraceStep


def masks_after(record) -> tuple[list[bool], list[bool]]:
    """Where MASK is after the statements of the step, and which positions they touched."""
    explained = record.explained
    masked = [id_ == record.mask_id for id_ in record.canvas]
    touched = [False] * len(masked)
    for statement in bodies(explained.checked.resolved.policy)[record.phase].statements:
        named = explained.watched.statements.get((record.phase, statement), {})
        what = WRITTEN if isinstance(statement, syntax.Commit | syntax.Fill) else LIMITED
        if what not in named:
            continue
        chosen = record.values[named[what]]
        for at, one in enumerate(chosen):
            if one:
                masked[at], touched[at] = isinstance(statement, syntax.Revoke), True
    return masked, touched


def assert_told(step: TraceStep) -> None:
    """The masks of the statements are the positions of the trace."""
    record = step.record
    before = [id_ == record.mask_id for id_ in record.canvas]
    after, touched = masks_after(record)
    places = range(len(before))
    assert [at + record.start for at in places if before[at] and not after[at]] == step.committed
    assert [at + record.start for at in places if not before[at] and after[at]] == step.revoked
    assert {at - record.start for at in step.edited} <= {at for at in places if touched[at]}
