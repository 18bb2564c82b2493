"""The record of a step: a line of the trace, an event for `on_step`.

Shapes: B rows, T window positions. Not here: the order of steps (`decode_loop`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..backends.vocabulary import OBSERVATIONS, observe
from ..ir.protocol import STEP
from .rows import TraceStep
from .step_runner import BatchState, StepResult, StepRunner


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


class StepObserver:
    """Records the steps of one batch. `trace`: store each row's steps; `on_step`: called after each step."""

    def __init__(self, runner: StepRunner, trace: bool, on_step: Callable[[StepEvent], None] | None) -> None:
        self.program, self.rows, self.on_step = runner.step.program, runner.rows, on_step
        self.trace: dict[int, list[TraceStep]] | None = {} if trace else None  # by the request's index

    @property
    def wanted(self) -> bool:
        """Whether steps are recorded at all."""
        return self.trace is not None or self.on_step is not None

    def trace_of(self, index: int) -> list[TraceStep] | None:
        """The steps of a request. They are removed from the store."""
        return None if self.trace is None else self.trace.pop(index, [])

    def step(
        self, batch: BatchState, stepped: StepResult, following: BatchState, forwards: Mapping[int, int]
    ) -> None:
        """Records a step from `batch` to `following`. `forwards`: the count so far of each row that made the
        step.
        """
        if not self.wanted:
            return
        mask_id = self.rows.mask_id
        before, after = (batch.canvas.gather(1, stepped.columns) for batch in (batch, following))
        token = None if self.program.facts.deterministic else torch.where(after == mask_id, before, after)
        observed = {
            name: value.tolist()
            for name, value in observe(stepped.logits, mask_id, OBSERVATIONS, token).items()
        }
        steps = following.state[STEP].tolist()
        ran = following.events.phase
        phases = [0] * len(steps) if ran is None else ran.tolist()
        starts = stepped.window_start.tolist()
        was, is_, changed = (x.tolist() for x in (before == mask_id, after == mask_id, before != after))
        for row, count in forwards.items():
            request = self.rows.requests[row]
            places = [i for i, new in enumerate(changed[row]) if new]
            kinds: dict[tuple[bool, bool], list[int]] = {
                (True, False): [],
                (False, True): [],
                (False, False): [],
            }
            for place in places:
                kinds[was[row][place], is_[row][place]].append(starts[row] + place)
            values = {
                name: {starts[row] + i: observed[name][row][i] for i in places} for name in OBSERVATIONS
            }
            written, revoked, edited = kinds.values()
            if self.trace is not None:
                line = TraceStep(
                    self.program.phases[phases[row]], written, revoked, edited, count - 1, values
                )
                self.trace.setdefault(request.index, []).append(line)
            if self.on_step is not None:
                generated = following.canvas[row, request.begin : request.columns].cpu().clone()
                self.on_step(
                    StepEvent(
                        request.index, steps[row], count, generated, sorted(written + edited), values["conf"]
                    )
                )
