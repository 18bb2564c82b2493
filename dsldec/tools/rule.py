"""The commit rule alone: a step whose reductions over the vocabulary are precomputed inputs.

Shapes: B rows, T window positions, V vocabulary. Not here: the whole step (`backends.module`), timing
(`bench_step`).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..backends.module import Inputs, StepModule
from ..backends.step import Step, StepState
from ..ir.nodes import Operation

# Operations that read or create `[B, T, V]`.
READING = frozenset({"ban", "bias", "bias_all", "observe", "probability", "log_probabilities", "kl", "js"})
MAKES_LOGITS = frozenset({"ban", "bias", "bias_all"})


class _Recorded(StepModule):
    """The step, recording the results of its reductions over the vocabulary."""

    results: dict[str, Tensor]

    def _value(self, index: int, operation: Operation, inputs: Inputs, operands: list[Any]) -> Any:
        value = super()._value(index, operation, inputs, operands)
        if operation.name == "observe":
            self.results |= {f"{index} {name}": seen for name, seen in value.items()}
        elif operation.name in READING - MAKES_LOGITS:
            self.results[str(index)] = value
        return value


class Rule(StepModule):
    """The step with the results of all its reductions over the vocabulary among its `params`: see
    `reduction_results`.
    """

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


def reduction_results(
    module: StepModule, step: Step, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState
) -> dict[str, Tensor]:
    """The parameters of the step and the results of its reductions on these logits, as `Rule` takes them."""
    recorded = _Recorded(module.program, module.mask_id, module.eos_id, module.static).to(logits.device)
    recorded.results = {}
    params = {name: value.to(logits.device) for name, value in step.params.items()}
    recorded(logits, canvas, editable, state, params)
    return params | {name: seen.clone() for name, seen in recorded.results.items()}
