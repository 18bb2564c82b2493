"""Records the values of a step: the numbers of every expression of the policy, at every position.

After a true step, the watched program of the policy runs on the inputs that the step had, with the eager
form of all operations. The step itself is not touched, and its results stay the answer. The values of all
rows come from the device in one copy. Shapes: B rows, T window positions, V vocabulary, R rows that made the
step, K columns. Not here: which operations are recorded (`explained.watched_operations`), the trace
(`trace`).
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..backends.inputs import Inputs
from ..backends.module import StepModule
from ..backends.on_device import on_device
from ..diagnostics import Diagnostic
from ..explained.explained_policy import ExplainedPolicy
from ..explained.reasons import ExplainedStep
from ..explained.recorded_values import BOOL, INT, REAL, SIZES, ColumnLayout, OfEachPosition, RecordedValues
from ..explained.step_record import Candidates
from ..explained.watched_operations import recorded_operations
from ..ir.protocol import BRANCH
from ..policy import Policy
from .drafter import DraftsAhead
from .requests import Request
from .step_runner import BatchState, StepResult, StepRunner, inputs_of_step

log = logging.getLogger("dsldec")

MOST_CANDIDATES = 4
CHUNK = 2**22  # logits that are copied at once for the candidates
# Columns beside the operations, with negative numbers: the inputs of the step, and what was compared.
CANVAS, EDITABLE, DIFFERS, START, END = -1, -2, -3, -4, -5
TORCH_TYPES = {BOOL: torch.bool, INT: torch.int64, REAL: torch.float32}


@dataclass(frozen=True, slots=True)
class StepMade:
    """A true step, as the loop made it. `following`: the state that went on; `branch [B]` int64: the
    candidate that was picked; `ahead`: the drafts after the step.
    """

    before: BatchState
    stepped: StepResult
    following: BatchState
    branch: Tensor | None = None
    ahead: DraftsAhead | None = None


class StepRecorder:
    """Records the steps of one batch."""

    def __init__(self, policy: Policy, runner: StepRunner) -> None:
        self.runner, self.explained = runner, ExplainedPolicy.of(policy)
        self.watched, step = self.explained.watched, runner.step
        device = runner.rows.start.device
        self.module = StepModule(self.watched.program, step.mask_id, step.eos_id, step.static).to(device)
        phases = range(len(self.watched.program.phases))
        of_phases = [recorded_operations(self.watched, phase) for phase in phases]
        self.layouts = [ColumnLayout.of(operations) for operations in of_phases]
        beside = [(CANVAS, INT, True), (EDITABLE, BOOL, True), (DIFFERS, BOOL, False)]
        beside += [(START, INT, False), (END, INT, False)]
        every = sorted({one for operations in of_phases for one in operations})
        self.layout = ColumnLayout.of([*beside, *every])
        self.own: dict[int, ExplainedPolicy] = {}  # by request, with its own parameter values
        self.warned = False

    def records(
        self, made: StepMade, rows: Sequence[int], steps: Sequence[int], phases: Sequence[int]
    ) -> Mapping[int, ExplainedStep]:
        """The record of each of these rows. `steps`: the number of the step in each of them; `phases`: one
        for each row of the batch. If recording fails, there is none, and a warning says why.
        """
        try:
            with torch.no_grad():
                return self._records(made, rows, steps, phases)
        # torch has many errors; none of them may cost an answer.
        except Exception as error:
            if not self.warned:
                self.warned = True
                why = (str(error).strip().splitlines() or [type(error).__name__])[0]
                message = f"the values of a step could not be recorded: {why}"
                help = 'the answers stay; decode in smaller batches, or without `trace="values"`'
                log.warning("%s", Diagnostic("W0560", message, help=help))
            return {}

    def _records(
        self, made: StepMade, rows: Sequence[int], steps: Sequence[int], phases: Sequence[int]
    ) -> dict[int, ExplainedStep]:
        values = self._values(made)
        places = None
        if len(rows) < len(made.before.canvas):
            places = on_device(list(rows), made.before.canvas.device, torch.int64)
        ids, shares = _candidates(made.stepped.logits, self.runner.rows.mask_id, places)
        segments = [*self._segments(values, places), ids, shares]
        parts = _on_host_at_once(segments)
        positions, most = made.stepped.placed.columns.shape[1], ids.shape[1]
        refused = self._refused(made, rows)
        records = {}
        for number, (row, step) in enumerate(zip(rows, steps, strict=True)):
            data = {form: (parts[2 * n], parts[2 * n + 1]) for n, form in enumerate(SIZES)}
            frame = _Frame(self.layout, data, number, positions)
            start, end = frame.single(START, INT), frame.single(END, INT)
            size = min(max(end - start, 0), positions)
            phase = phases[row]
            candidates = Candidates(
                _of_each(array("q"), parts[-2], number, most, positions, size),
                _of_each(array("f"), parts[-1], number, most, positions, size),
            )
            gone, dropped = refused.get(row, ({}, 0))
            records[row] = ExplainedStep(
                self._explained(row), step, phase, start,
                canvas=array("q", bytes(frame.bytes_of(CANVAS, size))),
                editable=tuple(memoryview(frame.bytes_of(EDITABLE, size)).cast("?").tolist()),
                values=RecordedValues(self.layouts[phase], size, frame.data_of(self.layouts[phase], size)),
                mask_id=self.runner.rows.mask_id, candidates=candidates,
                refused={at: id_ for at, id_ in gone.items() if start <= at < start + size}, dropped=dropped,
                recomputed=frame.single(DIFFERS, BOOL),
            )  # fmt: skip
        return records

    def _explained(self, row: int) -> ExplainedPolicy:
        request: Request = self.runner.rows.requests[row]
        if not request.parameters:
            return self.explained
        if request.index not in self.own:
            parameters = {**self.explained.parameters, **request.parameters}
            self.own[request.index] = replace(self.explained, parameters=parameters)
        return self.own[request.index]

    def _values(self, made: StepMade) -> dict[int, Tensor]:
        """The value of each recorded operation, `[]`, `[B, 1]` or `[B, T]` each."""
        before, stepped = made.before, made.stepped
        placed, step = stepped.placed, self.runner.step
        draft = made.ahead.drafts[0].state if made.ahead is not None else None
        state, params = inputs_of_step(self.runner, before, placed, draft)
        if made.branch is not None and BRANCH in state:
            state[BRANCH] = made.branch.to(state[BRANCH].dtype)
        canvas = before.canvas.gather(1, placed.columns)
        inputs = Inputs(
            stepped.logits, canvas, placed.inside, state, params, step.mask_id, step.eos_id, step.static,
            self.module.form,
        )  # fmt: skip
        values = self.module.values(inputs)
        went_on = made.following if made.branch is not None else stepped.after
        after = torch.where(placed.inside, values[self.watched.program.canvas], canvas)
        differs = (after != went_on.canvas.gather(1, placed.columns)).any(1) & ~went_on.failed
        beside = {CANVAS: canvas, EDITABLE: placed.inside, DIFFERS: differs.unsqueeze(1)}
        beside |= {START: placed.start.unsqueeze(1), END: placed.end.unsqueeze(1)}
        return beside | {index: values[index] for index in self.layout.columns if index >= 0}

    def _segments(self, values: Mapping[int, Tensor], places: Tensor | None) -> Iterable[Tensor]:
        """For each format the single values `[R, K]`, then the values for positions `[R, K, T]`."""
        batch, positions = values[CANVAS].shape
        for form in SIZES:
            for wide in (False, True):
                shape = (batch, positions) if wide else (batch, 1)
                columns = [
                    values[index].to(TORCH_TYPES[form]).expand(shape)
                    for index, column in self.layout.columns.items()
                    if (column.format, column.wide) == (form, wide)
                ]
                whole = (
                    torch.stack(columns, 1)
                    if columns
                    else torch.zeros(batch, 0, 1, device=values[CANVAS].device)
                )
                whole = whole.to(TORCH_TYPES[form])
                yield whole if places is None else whole.index_select(0, places)

    def _refused(self, made: StepMade, rows: Sequence[int]) -> dict[int, tuple[dict[int, int], int]]:
        """By row: the ids of the draft that the step refused, by position, and the number of further ones."""
        if made.ahead is None:
            return {}
        refused = {}
        for row in rows:
            count = made.ahead.refused(row)
            if count:
                drafted, written = made.ahead.drafts[0].state.canvas[row], made.following.canvas[row]
                at = (drafted != written).nonzero().squeeze(1).tolist()
                begin, ids = self.runner.rows.requests[row].begin, drafted.tolist()
                refused[row] = {column - begin: ids[column] for column in at}, count - 1
        return refused


class _Frame:
    """The bytes of one row. `data`: for each format the bytes of all rows, of single and of wide columns."""

    def __init__(
        self,
        layout: ColumnLayout,
        data: Mapping[str, tuple[memoryview, memoryview]],
        row: int,
        positions: int,
    ) -> None:
        self.layout, self.data, self.row, self.positions = layout, data, row, positions

    def single(self, operation: int, form: str) -> Any:
        return self.bytes_of(operation, 0).cast(form)[0]

    def bytes_of(self, operation: int, size: int) -> memoryview:
        """The bytes of a column: of `size` positions, or its single value."""
        column = self.layout.columns[operation]
        width = SIZES[column.format]
        count = self.layout.counts[column.format, column.wide]
        length = self.positions if column.wide else 1
        first = (self.row * count + column.place) * length * width
        return self.data[column.format][column.wide][first : first + (size if column.wide else 1) * width]

    def data_of(self, layout: ColumnLayout, size: int) -> dict[str, bytes]:
        """The bytes of the columns of a layout, by format."""
        data = {}
        for form in SIZES:
            columns = [
                (one.wide, one.place, index) for index, one in layout.columns.items() if one.format == form
            ]
            data[form] = b"".join(self.bytes_of(index, size) for _, _, index in sorted(columns))
        return data


def _of_each(
    into: array[Any], part: memoryview, row: int, most: int, positions: int, size: int
) -> OfEachPosition[Any]:
    """The candidates of one row from those of all rows, `[R, most, T]`."""
    width = into.itemsize
    for number in range(most):
        first = (row * most + number) * positions * width
        into.frombytes(part[first : first + size * width])
    return OfEachPosition(into, size)


def _candidates(logits: Tensor, mask_id: int, places: Tensor | None) -> tuple[Tensor, Tensor]:
    """The likeliest ids other than MASK `[R, 4, T]` int64, best first, and their probabilities in the whole
    vocabulary, float32.
    """
    rows = range(len(logits)) if places is None else places.tolist()
    positions, vocab = logits.shape[1:]
    most = min(MOST_CANDIDATES, vocab - (0 <= mask_id < vocab))
    step = max(1, CHUNK // vocab)
    ids, shares = [], []
    for row in rows:
        for first in range(0, positions, step):
            part = logits[row, first : first + step].float()
            total = part.logsumexp(1, keepdim=True)
            if 0 <= mask_id < vocab:
                part = part.index_fill(1, torch.tensor([mask_id], device=part.device), float("-inf"))
            best = part.topk(most, 1)
            ids.append(best.indices)
            shares.append((best.values - total).exp())
    shape = (len(rows), positions, most)
    return tuple(torch.cat(one).view(shape).transpose(1, 2) for one in (ids, shares))  # type: ignore[return-value]


def _on_host_at_once(tensors: Sequence[Tensor]) -> list[memoryview]:
    """The bytes of several tensors, copied from a device at once."""
    parts = [one.contiguous().view(-1).view(torch.uint8) for one in tensors]
    whole = memoryview(torch.cat(parts).cpu().numpy()).cast("B") if parts else memoryview(b"")
    views, first = [], 0
    for part in parts:
        views.append(whole[first : first + len(part)])
        first += len(part)
    return views
