"""The fields of a step's state that only the recorded values read.

A step carries the fields that its results need. An expression that no result needs may read another field, as
`before(conf)` of a name that nothing uses. Its value is recorded too, so its field is carried here, from one
recorded step of a row to the next. Shapes: B rows, T window positions, V vocabulary. Not here: the state of a
step (`step_runner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..backends.on_device import on_device
from ..backends.step import StepState
from ..ir.nodes import Program
from ..ir.protocol import GENERATION_LENGTH, KEY
from .step_runner import StepRunner


class UnreadState:
    """The fields of the rows of a batch. `program`: the one whose values are recorded."""

    def __init__(self, program: Program, runner: StepRunner) -> None:
        self.runner = runner
        self.step = replace(runner.step, program=program)
        self.names = program.carried.keys() - runner.step.program.carried.keys()
        self.fields: StepState = {}

    def before(self, state: StepState, steps: Mapping[int, int], shape: torch.Size) -> StepState:
        """The state before a step, with these fields. `steps`: the number of the step in each row that makes
        it, 0 in a row with a new request; `shape`: of the logits, `[B, T, V]`.
        """
        if not self.names:
            return state
        rows = self.runner.rows
        device = rows.start.device
        start = self.step.start(shape[0], shape[1], device, vocab_size=shape[2])
        start |= {KEY: rows.keys, GENERATION_LENGTH: rows.lengths}
        anew = on_device([steps.get(row, 1) == 0 for row in range(shape[0])], device)
        for name in self.names:
            old = self.fields.get(name, start[name])
            self.fields[name] = (
                start[name] if name in (KEY, GENERATION_LENGTH) else _where(anew, start[name], old)
            )
        return state | self.fields

    def after(self, state: StepState, steps: Mapping[int, int]) -> None:
        """Takes the fields from the state after a step."""
        rows = len(next(iter(state.values())))
        made = on_device([row in steps for row in range(rows)], self.runner.rows.start.device)
        self.fields = {name: _where(made, state[name], old) for name, old in self.fields.items()}


def _where(rows: Tensor, this: Tensor, other: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *[1] * (this.dim() - 1)), this, other)
