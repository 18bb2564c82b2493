"""Records the values of a step: the number of every expression of the policy, at every position.

After a true step, the watched program of the policy runs on the inputs that the step had, with the eager
form of all operations. The step itself is not touched, and its results stay the answer. Shapes: B rows, T
window positions. Not here: which operations are recorded (`explained.watched_operations`), the copy from the
device (`recorded_rows`), the trace (`trace`).
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.inputs import Inputs
from ..backends.module import StepModule
from ..backends.on_device import on_device
from ..backends.step import parameter_tensors
from ..diagnostics import Diagnostic
from ..explained.explained_policy import ExplainedPolicy
from ..explained.reasons import ExplainedStep
from ..explained.recorded_values import BOOL, INT, ColumnLayout
from ..explained.watched_operations import layouts_of, recorded_operations
from ..ir.protocol import BRANCH
from ..policy import Policy
from .drafter import DraftsAhead
from .recorded_rows import RecordedRows, likeliest
from .step_runner import BatchState, StepResult, StepRunner, inputs_of_step
from .unread_state import UnreadState

log = logging.getLogger("dsldec")

# Columns beside the operations: the inputs of the step, and whether its writes differ from those here.
CANVAS, EDITABLE, DIFFERS, START, END = -1, -2, -3, -4, -5
BESIDE = (
    (CANVAS, INT, True), (EDITABLE, BOOL, True), (DIFFERS, BOOL, False), (START, INT, False), (END, INT, False)
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StepMade:
    """A true step, as the loop made it. `following`: the state that went on; `branch [B]` int64: the
    candidate that was picked; `scores [N, B]`: of the candidates; `ahead`: the drafts after the step.
    """

    before: BatchState
    stepped: StepResult
    following: BatchState
    branch: Tensor | None = None
    scores: Tensor | None = None
    ahead: DraftsAhead | None = None


@dataclass(frozen=True, slots=True)
class RefusedDraft:
    """The draft that a step refused: its ids where the step has others, by position; and the number of
    further drafts that were refused with it. `taken`: see `StepRecord`.
    """

    ids: Mapping[int, int]
    dropped: int
    taken: Mapping[int, int] | None = None


class StepRecorder:
    """Records the steps of one batch, under a policy that is bound to the values of the run. `special`: ids
    of the model by their words.
    """

    def __init__(self, policy: Policy, runner: StepRunner, special: Mapping[str, int | None]) -> None:
        self.runner, self.policy, self.special = runner, policy, special
        self.ready: _WatchedStep | None = None
        self.warned = False

    def records(
        self, made: StepMade, steps: Mapping[int, int], phases: Sequence[int]
    ) -> Mapping[int, ExplainedStep]:
        """The record of each of these rows. `steps`: the number of the step in each of them; `phases`: one
        for each row of the batch. If recording fails, there is none, and a warning (W0560) says why.
        """
        try:
            with torch.no_grad():
                if self.ready is None:
                    self.ready = _WatchedStep(self.policy, self.runner, self.special)
                return self.ready.records(made, steps, phases)
        # torch raises errors of many types. No error may lose the answer.
        except Exception as error:
            self._warn(error)
            return {}

    def _warn(self, error: Exception) -> None:
        if not self.warned:
            self.warned = True
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            message = f"the values of a step could not be recorded: {why}"
            help = "the answers do not change; decode in smaller batches, or record no values"
            log.warning("%s", Diagnostic("W0560", message, help=help))


class _WatchedStep:
    """The watched program of a policy, for the rows of a batch."""

    def __init__(self, policy: Policy, runner: StepRunner, special: Mapping[str, int | None]) -> None:
        self.runner, self.explained = runner, ExplainedPolicy.of(policy)
        self.watched, step, device = self.explained.watched, runner.step, runner.rows.start.device
        module = StepModule(self.watched.program, step.mask_id, step.eos_id, step.static)
        self.module = module.to(device)
        # An expression that no result needs may read another id of the model.
        self.params = parameter_tensors(
            self.watched.program, policy.parameters, device, {**special, "eos": step.eos_id}
        )
        self.layouts = layouts_of(self.watched)
        phases = range(len(self.layouts))
        every = {one for phase in phases for one in recorded_operations(self.watched, phase)}
        self.layout = ColumnLayout.of([*BESIDE, *sorted(every)])
        self.unread = UnreadState(self.watched.program, runner)
        self.own: dict[int, ExplainedPolicy] = {}  # by request, with its own parameter values

    def records(
        self, made: StepMade, steps: Mapping[int, int], phases: Sequence[int]
    ) -> dict[int, ExplainedStep]:
        canvas, mask_id = made.before.canvas, self.runner.rows.mask_id
        places = None
        if len(steps) < len(canvas):
            places = on_device(list(steps), canvas.device, torch.int64)
        shape = made.stepped.placed.columns.shape
        best = likeliest(made.stepped.logits, mask_id, list(steps))
        rows = RecordedRows(self.layout, self.values(made, steps), (shape[0], shape[1]), best, places)
        scores = [] if made.scores is None else made.scores.t().tolist()
        records = {}
        for place, (row, step) in enumerate(steps.items()):
            start, end = rows.single(place, START), rows.single(place, END)
            size = min(max(end - start, 0), shape[1])
            refused = self._refused(made, row)
            records[row] = ExplainedStep(
                self._explained(row), step, phases[row], start,
                canvas=array(INT, bytes(rows.bytes_of(place, CANVAS, size))),
                editable=[bool(one) for one in rows.bytes_of(place, EDITABLE, size)],
                values=rows.values(place, self.layouts[phases[row]], size),
                mask_id=mask_id, candidates=rows.candidates(place, size),
                refused=refused.ids, dropped=refused.dropped, taken=refused.taken,
                recomputed=rows.single(place, DIFFERS), scores=tuple(scores[row]) if scores else (),
            )  # fmt: skip
        return records

    def values(self, made: StepMade, steps: Mapping[int, int]) -> dict[int, Tensor]:
        """The value of each recorded operation, `[]`, `[B, 1]` or `[B, T]` each."""
        before, stepped = made.before, made.stepped
        placed, step = stepped.placed, self.runner.step
        draft = None if made.ahead is None else made.ahead.drafts[0].state
        state, given = inputs_of_step(self.runner, before, placed, draft)
        params = {**self.params, **given}
        if made.branch is not None and BRANCH in state:
            state[BRANCH] = made.branch.to(state[BRANCH].dtype)
        canvas = before.canvas.gather(1, placed.columns)
        state = self.unread.before(state, steps, stepped.logits.shape)
        inputs = Inputs(
            stepped.logits, canvas, placed.inside, state, params, step.mask_id, step.eos_id, step.static,
            self.module.form,
        )  # fmt: skip
        values = self.module.values(inputs)
        if self.unread.names:
            self.unread.after(self.module.output_of(values, inputs).state, steps)
        went_on = stepped.after if made.branch is None else made.following
        after = torch.where(placed.inside, values[self.watched.program.canvas], canvas)
        differs = (after != went_on.canvas.gather(1, placed.columns)).any(1) & ~went_on.failed
        beside = {CANVAS: canvas, EDITABLE: placed.inside, DIFFERS: differs.unsqueeze(1)}
        beside |= {START: placed.start.unsqueeze(1), END: placed.end.unsqueeze(1)}
        return beside | {number: values[number] for number in self.layout.columns if number >= 0}

    def _explained(self, row: int) -> ExplainedPolicy:
        """The policy with the values of a row's request."""
        request = self.runner.rows.requests[row]
        if not request.parameters:
            return self.explained
        if request.index not in self.own:
            parameters = {**self.explained.parameters, **request.parameters}
            self.own[request.index] = replace(self.explained, parameters=parameters)
        return self.own[request.index]

    def _refused(self, made: StepMade, row: int) -> RefusedDraft:
        count = 0 if made.ahead is None else made.ahead.refused(row)
        if made.ahead is None:
            return RefusedDraft({}, 0)
        taken = not count and made.following.events.accepted is not None
        if not (count or taken):
            return RefusedDraft({}, 0)
        drafted, written = made.ahead.drafts[0].state.canvas[row], made.stepped.after.canvas[row]
        begin = self.runner.rows.requests[row].begin
        columns = (drafted != written).nonzero().squeeze(1)
        ids = dict(zip((columns - begin).tolist(), drafted[columns].tolist(), strict=True))
        # Of two equal canvases, the one of the step counts.
        return RefusedDraft({}, 0, ids or None) if taken else RefusedDraft(ids, count - 1)
