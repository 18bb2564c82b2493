"""Checks of recorded steps: what the statements wrote is what the trace says, and the values are those of the
reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from dsldec.backends.inputs import Inputs
from dsldec.backends.module import StepModule
from dsldec.backends.reference import ReferenceStep, run_operation
from dsldec.backends.step import DTYPES
from dsldec.explained.reasons import ExplainedStep
from dsldec.ir.nodes import Program
from dsldec.ir.watched import LIMITED, WRITTEN
from dsldec.language import syntax
from dsldec.language.walk import bodies
from dsldec.runtime import recorder
from dsldec.trace_step import TraceStep


def record_of(step: TraceStep) -> ExplainedStep:
    assert isinstance(step.record, ExplainedStep)
    return step.record


def masks_after(record: ExplainedStep) -> tuple[list[bool], list[bool]]:
    """Where MASK is after the statements of the step, and which positions they touched."""
    explained = record.explained
    masked = [id_ == record.mask_id for id_ in record.canvas]
    touched = [False] * len(masked)
    for statement in bodies(explained.checked.resolved.policy)[record.phase].statements:
        named = explained.watched.statements.get((record.phase, statement), {})
        what = WRITTEN if isinstance(statement, syntax.Commit | syntax.Fill) else LIMITED
        if what not in named:
            continue
        for at in range(len(masked)):
            if record.value(named[what], at + record.start):
                masked[at], touched[at] = isinstance(statement, syntax.Revoke), True
    return masked, touched


def assert_told(step: TraceStep) -> None:
    """The masks of the statements are the positions of the trace, but where the row went on from a draft."""
    record = record_of(step)
    before = [id_ == record.mask_id for id_ in record.canvas]
    after, touched = masks_after(record)
    for position, id_ in (record.taken or {}).items():
        at = position - record.start
        after[at], touched[at] = id_ == record.mask_id, True
    places = range(len(before))
    assert [at + record.start for at in places if before[at] and not after[at]] == step.committed
    assert [at + record.start for at in places if not before[at] and after[at]] == step.revoked
    assert {at - record.start for at in step.edited} <= {at for at in places if touched[at]}


def as_text(record: ExplainedStep) -> str:
    """Everything in a record but the policy. Texts, because no number equals NaN."""
    candidates = record.candidates
    return repr(
        (
            record.step, record.phase, record.start, list(record.canvas), list(record.editable),
            {number: record.values[number] for number in record.values}, record.mask_id,
            candidates and (list(candidates.ids), list(candidates.probabilities)),
            dict(record.refused), record.dropped, record.taken, record.recomputed, tuple(record.scores),
        )
    )  # fmt: skip


# The reference adds the probabilities of the vocabulary in another order, so their last digits differ.
OF_THE_VOCABULARY = frozenset({"observation", "probability", "kl", "js", "path"})


class ReferenceValues(StepModule):
    """The values of all operations, as the reference computes them from the same reads of the vocabulary."""

    def __init__(self, program: Program, mask_id: int, eos_id: int | None, static: Any) -> None:
        super().__init__(program, mask_id, eos_id, static)
        self.slow = ReferenceStep(program, mask_id, eos_id, static)

    def values(self, inputs: Inputs) -> list[Any]:
        given = (inputs.logits, inputs.canvas, inputs.editable, inputs.state, inputs.params)
        rows = [self.slow._row(row, *given) for row in range(len(inputs.canvas))]
        of_rows: list[list[Any]] = [[] for _ in rows]
        fast = super().values(inputs)
        for number, (row, values) in enumerate(zip(rows, of_rows, strict=True)):
            for index, operation in enumerate(self.program.operations):
                if operation.name in OF_THE_VOCABULARY:
                    values.append(fast[index].expand(inputs.canvas.shape)[number].tolist())
                elif operation.name == "log_probabilities":
                    values.append(fast[index][number].tolist())
                else:
                    values.append(run_operation(self.program, row, index, values))
        return [
            self._together(index, [values[index] for values in of_rows], inputs.canvas.shape[1])
            for index in range(len(self.program.operations))
        ]

    def _together(self, index: int, values: list[Any], positions: int) -> Tensor | None:
        operation = self.program.operations[index]
        dtype = DTYPES.get(operation.kind, torch.float32)
        if not all(isinstance(one, bool | int | float | list) for one in values):
            return None
        if any(isinstance(one, list) for one in values):
            values = [one if isinstance(one, list) else [one] * positions for one in values]
            return torch.tensor(values, dtype=dtype)
        return torch.tensor([[one] for one in values], dtype=dtype)


@contextmanager
def by_the_reference() -> Iterator[None]:
    """Values are recorded as the reference computes them."""
    with mock.patch.object(recorder, "StepModule", ReferenceValues):
        yield
