"""A step without its reading of the vocabulary: what a policy does with what it observed, the commit rule
alone.

Shapes: B rows, T window positions, V vocabulary. Not here: the whole step (`backends.module`), and timing
either (`bench_step`).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..backends.module import Inputs, StepModule
from ..backends.step import Step, StepState
from ..ir.nodes import Operation

# What reads or makes `[B, T, V]`.
READING = frozenset({"ban", "bias", "bias_all", "observe", "probability", "log_probabilities", "kl"})
MAKES_LOGITS = frozenset({"ban", "bias", "bias_all"})


class _Recorded(StepModule):
    """The step, keeping what it found out by reading."""

    found: dict[str, Tensor]

    def _value(self, index: int, operation: Operation, inputs: Inputs, operands: list[Any]) -> Any:
        value = super()._value(index, operation, inputs, operands)
        if operation.name == "observe":
            self.found |= {f"{index} {name}": seen for name, seen in value.items()}
        elif operation.name in READING - MAKES_LOGITS:
            self.found[str(index)] = value
        return value


class Rule(StepModule):
    """The step with all that it would read out of the logits among its `params`: see `found`."""

    def _value(self, index: int, operation: Operation, inputs: Inputs, operands: list[Any]) -> Any:
        if operation.name == "observe":
            of_this = f"{index} "
            return {
                name.removeprefix(of_this): seen
                for name, seen in inputs.params.items()
                if name.startswith(of_this)
            }
        if operation.name in READING:
            return inputs.params.get(str(index))
        return super()._value(index, operation, inputs, operands)


def found(
    module: StepModule, step: Step, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState
) -> dict[str, Tensor]:
    """The parameters of the step, and what reading these logits gives it, as `Rule` takes them."""
    recorded = _Recorded(module.program, module.mask_id, module.eos_id, module.static).to(logits.device)
    recorded.found = {}
    params = {name: value.to(logits.device) for name, value in step.params.items()}
    recorded(logits, canvas, editable, state, params)
    return params | {name: seen.clone() for name, seen in recorded.found.items()}
