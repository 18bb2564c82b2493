"""The record of a step: a line of the trace, an event for `on_step`.

A step's record is read from the device once: the changed positions, their ids and their observations.
Shapes: B rows, T window positions, N changed positions of all rows. Not here: the order of steps
(`decode_loop`), the value of a recorded step (`trace_step`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..backends.vocabulary import OBSERVATIONS, observe
from ..explained.reasons import ExplainedStep
from ..explained.recorded_run import end_of, link
from ..ir.protocol import STEP
from ..models.denoiser import other_ids
from ..options import VALUES, DecodeOptions
from ..trace_step import TraceStep, logprobs_of
from ..trajectory import Trajectory
from .drafter import DraftsAhead
from .id_texts import IdTexts
from .recorder import StepMade, StepRecorder
from .requests import Request
from .session import Session
from .step_runner import BatchState, StepResult, StepRunner

CONFIDENCE = "conf"


@dataclass(frozen=True, slots=True)
class StepEvent:
    """One step in one row, as `on_step` gets it.

    `index`: the prompt's place in the run; `step`, `forwards`: the row's counts so far; `generated`: the ids
    after the prompt, int64, MASK where nothing is written; `written`: positions that this step committed or
    edited, 0 the first after the prompt; `confidence`: the denoiser's probability of each, by position.
    """

    index: int
    step: int
    forwards: int
    generated: Tensor
    written: list[int]
    confidence: dict[int, float]


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes of a step on the host, N entries each, ordered by row: the row, the position, the ids
    before and after; and the observations at each. `steps`, `phases`: one for each row.
    """

    rows: list[int]
    positions: list[int]
    before: list[int]
    after: list[int]
    observed: Mapping[str, list[float]]
    steps: list[int]
    phases: list[int]

    def step(self, row: int, phase: str, mask_id: int, forward: int) -> TraceStep:
        """The record of one row."""
        here = slice(bisect_left(self.rows, row), bisect_right(self.rows, row))
        positions, before, after = self.positions[here], self.before[here], self.after[here]
        changes = list(zip(positions, before, after, strict=True))
        return TraceStep(
            phase,
            committed=[at for at, old, _ in changes if old == mask_id],
            revoked=[at for at, _, new in changes if new == mask_id],
            edited=[at for at, old, new in changes if mask_id not in (old, new)],
            forward=forward,
            observations={
                name: dict(zip(positions, values[here], strict=True))
                for name, values in self.observed.items()
            },
            ids={at: new for at, _, new in changes if new != mask_id},
            removed={at: old for at, old, _ in changes if old != mask_id},
        )


class StepObserver:
    """Records the steps of one batch. `trace`: store each row's steps; `on_step`: called after each step;
    `logprobs`: store the confidences of the written tokens; `recorder`: records the values of each step;
    `texts`: gives the texts of the ids in them.
    """

    def __init__(
        self,
        runner: StepRunner,
        trace: bool,
        on_step: Callable[[StepEvent], None] | None,
        logprobs: bool = False,
        recorder: StepRecorder | None = None,
        texts: IdTexts | None = None,
    ) -> None:
        self.recorder, self.texts = recorder, texts
        self.program, self.rows, self.on_step = runner.step.program, runner.rows, on_step
        self.trace, self.logprobs = trace, logprobs
        self.names = OBSERVATIONS if trace else (CONFIDENCE,)
        self.steps: dict[int, list[TraceStep]] = {}  # by the request's index

    @property
    def wanted(self) -> bool:
        """Whether steps are recorded at all."""
        return self.trace or self.logprobs or self.on_step is not None

    def recorded(self, request: Request, ids: Tensor) -> dict[str, Any]:
        """The fields of a finished `Row` that come from its steps. The steps are removed from the store.
        `ids`: those of the row.
        """
        if not (self.trace or self.logprobs):
            return {}  # without a read of the ids
        steps = self.steps.pop(request.index, [])
        generated = ids[request.begin :].tolist()
        record: dict[str, Any] = {}
        if self.trace:
            record |= {"trace": steps, "trajectory": self._trajectory(request, steps, generated)}
        if self.logprobs:
            record["logprobs"] = logprobs_of(steps, generated)
        return record

    def _trajectory(self, request: Request, steps: list[TraceStep], generated: list[int]) -> Trajectory:
        mask_id, eos_id = self.rows.mask_id, self.rows.eos_id
        canvas = request.canvas(mask_id)
        prompt, region = canvas[: request.begin], canvas[request.begin :]
        given = {at: id_ for at, id_ in enumerate(region) if id_ != mask_id}
        tokens = {} if self.texts is None else self.texts.of(steps, [*canvas, *generated])
        if self.recorder is not None:
            link(steps, tokens, end_of(generated, len(region), eos_id))
        return Trajectory(
            prompt,
            len(region),
            generated,
            mask_id,
            eos_id,
            steps,
            given,
            sample=request.sample,
            tokens=tokens,
        )

    def step(
        self,
        batch: BatchState,
        stepped: StepResult,
        following: BatchState,
        forwards: Mapping[int, int],
        branch: Tensor | None = None,
        scores: Tensor | None = None,
        ahead: DraftsAhead | None = None,
    ) -> None:
        """Records a step from `batch` to `following`. `forwards`: the count so far of each row that made the
        step; `branch [B]` int64: the number of the candidate that was picked; `scores [N, B]`: of the
        candidates; `ahead`: the drafts after the step.
        """
        if not self.wanted:
            return
        numbers = None if branch is None else branch.tolist()
        changes = self._changes(batch, stepped, following)
        records: Mapping[int, ExplainedStep] = {}
        if self.recorder is not None:
            made = StepMade(batch, stepped, following, branch, scores, ahead)
            done = {row: len(self.steps.get(self.rows.requests[row].index, ())) for row in forwards}
            records = self.recorder.records(made, done, changes.phases)
        for row, count in forwards.items():
            request = self.rows.requests[row]
            phase = self.program.phases[changes.phases[row]]
            step = changes.step(row, phase, self.rows.mask_id, count - 1)
            step.branch = 0 if numbers is None else numbers[row]
            step.record = records.get(row)
            if self.trace or self.logprobs:
                self.steps.setdefault(request.index, []).append(step)
            if self.on_step is not None:
                generated = following.canvas[row, request.begin : request.columns].cpu().clone()
                written = sorted(step.committed + step.edited)
                confidence = dict(step.confidence)
                self.on_step(
                    StepEvent(request.index, changes.steps[row], count, generated, written, confidence)
                )

    def _changes(self, batch: BatchState, stepped: StepResult, following: BatchState) -> Changes:
        """The changes of a step. The vocabulary is read only where the canvas changed."""
        mask_id = self.rows.mask_id
        placed = stepped.placed
        before, after = (one.canvas.gather(1, placed.columns) for one in (batch, following))
        rows, at = (before != after).nonzero(as_tuple=True)
        old, new = before[rows, at], after[rows, at]
        # The written id, or the one that was taken back. It need not be the likeliest one of these logits.
        shown = torch.where(new == mask_id, old, new)
        observed = observe(stepped.logits[rows, at].unsqueeze(0), mask_id, self.names, shown.unsqueeze(0))
        steps, ran = following.state[STEP], following.events.phase
        phases = torch.zeros_like(steps) if ran is None else ran
        ints, floats = _on_host(
            [rows, placed.start[rows] + at, old, new, steps, phases],
            [observed[name].squeeze(0) for name in self.names],
        )
        row, position, old_ids, new_ids, made, phase = ints
        values = dict(zip(self.names, floats, strict=True))
        return Changes(row, position, old_ids, new_ids, values, made, phase)


def observer_of(
    denoiser: object, session: Session, options: DecodeOptions, on_step: Callable[[StepEvent], None] | None
) -> StepObserver:
    """The observer of a session's steps."""
    recorder = texts = None
    if options.trace == VALUES:
        recorder = StepRecorder(session.policy, session.runner, other_ids(denoiser))
        texts = IdTexts(denoiser)
    return StepObserver(session.runner, bool(options.trace), on_step, options.logprobs, recorder, texts)


def _on_host(ints: Sequence[Tensor], floats: Sequence[Tensor]) -> tuple[list[list[int]], list[list[float]]]:
    """Several tensors `[...]` int and several `[...]` float as lists, copied from a device at once."""
    bits = [one.float().contiguous().view(torch.int32).long() for one in floats]
    sizes = [len(one) for one in (*ints, *bits)]
    parts = torch.cat([*(one.long() for one in ints), *bits]).cpu().split(sizes)
    whole, rest = parts[: len(ints)], parts[len(ints) :]
    return [one.tolist() for one in whole], [one.int().view(torch.float32).tolist() for one in rest]
