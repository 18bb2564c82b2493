"""The backend `inductor`: which compiled form of a step runs?

On a GPU it is a traced step (`compiled`). Shapes: B rows, T window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .compiled import TracedStep
from .module import StepModule
from .step import StepOutput, StepState


class CompiledStep:
    """A step's module, compiled for each shape of its inputs. It is called like every step."""

    def __init__(self, module: StepModule) -> None:
        self.module, self.traced = module, TracedStep(module)

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        return self.traced(logits, canvas, editable, state, params)
