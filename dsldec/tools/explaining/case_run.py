"""The steps of a case with their values, on the reference backend. Needs torch.

Not here: whether the case passes (`tools.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...backends.reference import ReferenceResult, ReferenceRow
from ...diagnostics import PolicyError
from ...explained.explained_policy import ExplainedPolicy
from ...explained.reasons import ExplainedStep
from ...explained.step_record import RecordedValue
from ...ir.nodes import Program
from ...ir.protocol import PHASE
from ...lru import LRUCache
from ...policy import Policy
from ..cases import Case
from ..replay import IDS, MASK_ID, CaseView, Missing, compute, replay
from ..verdict import with_values
from .explained_run import ExplainedRun


class ComputedValues(Mapping[int, RecordedValue | list[RecordedValue]]):
    """The values of a step of a case, computed at the first use. A value that the case does not give
    is not there.
    """

    def __init__(self, program: Program, row: ReferenceRow, known: dict[int, Any]) -> None:
        self.program, self.row, self.known = program, row, known

    def __getitem__(self, number: int) -> RecordedValue | list[RecordedValue]:
        if number not in self.known:
            try:
                compute(self.program, self.row, [number], self.known)
            except Missing:
                raise KeyError(number) from None
        value: RecordedValue | list[RecordedValue] = self.known[number]
        return value

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.program.operations)))

    def __len__(self) -> int:
        return len(self.program.operations)


def of_case(case: Case, policy: Policy) -> ExplainedRun:
    """The run of a case. Raises `PolicyError` for values that do not fit the policy, and for observations
    that the case does not give.
    """
    bound, wrong = with_values(case, policy)
    if wrong:
        raise PolicyError(wrong)
    explained = ExplainedPolicy.of(bound)
    program, records = explained.watched.program, list[ExplainedStep | None]()

    def see(row: ReferenceRow, values: dict[int, Any], result: ReferenceResult) -> None:
        assert isinstance(row.view, CaseView)
        phase = int(result.events.get(PHASE, 0))
        place = row.view.start, list(row.canvas), list(row.editable)
        computed = ComputedValues(program, row, dict(values))
        records.append(ExplainedStep(explained, len(records), phase, *place, computed, MASK_ID))

    watching = Policy(program, bound.parameters, LRUCache(1), bound.checked)
    canvases: list[list[int]] = []
    try:
        for step in replay(watching, case, see):
            canvases += [] if canvases else [_ids(step.before)]
            canvases.append(_ids(step.after))
    except Missing as missing:
        raise PolicyError([missing.diagnostic]) from None
    texts = {id_: word for word, id_ in IDS.items()}
    canvases = canvases or [[MASK_ID] * case.length]
    # A case has the first steps alone.
    return ExplainedRun(case.title, records, canvases, texts, MASK_ID, whole=False)


def _ids(ids: tuple[int | None, ...]) -> list[int]:
    return [MASK_ID if id_ is None else id_ for id_ in ids]
