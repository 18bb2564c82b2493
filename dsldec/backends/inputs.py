"""The inputs of one call of a step.

Shapes: B rows, T window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..checks.values import Value
from .numerics import Numerics
from .step import StepState


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of the step, which operations may read.

    The two ids are ints or 0-d int64 tensors; as tensors, one graph serves all models.
    """

    logits: Tensor
    canvas: Tensor
    editable: Tensor
    state: StepState
    params: Mapping[str, Tensor]
    mask_id: int | Tensor
    eos_id: int | Tensor | None
    static: Mapping[str, Value]
    form: Numerics

    def wide(self, x: Tensor) -> Tensor:
        """A value repeated at every position, `[B, T]`."""
        return x.expand(self.canvas.shape)

    def of_row(self, x: Tensor) -> Tensor:
        """A value per row or per run, as `[B]`."""
        rows = self.canvas.shape[0]
        # Inductor cannot make a view of a constant that is expanded to a dynamic number of rows.
        return x.expand(rows, 1).squeeze(1) if x.dim() else x.expand(rows)

    def size(self, of: Any) -> int:
        """A static size: the number itself, or the value of the parameter with this name."""
        size = self.static[of] if isinstance(of, str) else of
        assert isinstance(size, int)
        return int(size)

    def network(self, name: str) -> str:
        """The sizes of the network that is bound to a parameter."""
        sizes = self.static[name]
        assert isinstance(sizes, str)
        return sizes
