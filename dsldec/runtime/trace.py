"""What is told of a step to those who asked: a line of the trace, an event for who watches.

Shapes: B rows, T window positions. Not here: when a step is made (`decode_loop`).
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
    """What one step did in one row, for those who watch.

    `index` is the prompt's, `step` and `forwards` the row's counts so far, `generated` what stands after the
    prompt now, `written` the positions this step wrote and `confidence` how sure the denoiser was of each.
    """

    index: int
    step: int
    forwards: int
    generated: Tensor
    written: list[int]
    confidence: dict[int, float]


class StepObserver:
    """Who asked, of one batch. `trace`: keep each row's steps; `on_step`: call this after each."""

    def __init__(self, runner: StepRunner, trace: bool, on_step: Callable[[StepEvent], None] | None) -> None:
        self.program, self.rows, self.on_step = runner.step.program, runner.rows, on_step
        self.trace: dict[int, list[TraceStep]] | None = {} if trace else None  # by the request's index

    @property
    def wanted(self) -> bool:
        """Whether anybody asked."""
        return self.trace is not None or self.on_step is not None

    def trace_of(self, index: int) -> list[TraceStep] | None:
        """The steps of a request, which are not kept any longer."""
        return None if self.trace is None else self.trace.pop(index, [])

    def step(
        self, moment: BatchState, stepped: StepResult, following: BatchState, forwards: Mapping[int, int]
    ) -> None:
        """What a step wrote, and what the denoiser had said there; `forwards`: the rows that made it, and how
        many each has had.
        """
        if not self.wanted:
            return
        mask_id = self.rows.mask_id
        before, after = (moment.canvas.gather(1, stepped.columns) for moment in (moment, following))
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
