"""What every backend makes and every engine hosts: one step as a pure function of tensors.

Shapes: B rows, T window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks.facts import Value
from ..ir.nodes import Program
from ..language.words import Kind

State = dict[str, Tensor]
Function = Callable[[Tensor, Tensor, Tensor, State, Mapping[str, Tensor]], tuple[Tensor, Tensor, State]]

DTYPES = {Kind.INT: torch.int64, Kind.BOOL: torch.bool}


def parameter_tensors(program: Program, values: Mapping[str, Value], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The parameters as inputs of the step, 0-d tensors: changing one never compiles again.

    A static parameter is among them too, for where the policy computes with it; what it sizes is not changed by this.
    """
    kinds = {name: DTYPES.get(parameter.kind, torch.float32) for name, parameter in program.parameters.items()}
    return {name: torch.tensor(values[name], dtype=dtype, device=device) for name, dtype in kinds.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """A policy's step on one backend.

    `params` holds the parameter values the policy was bound to; a caller may pass others of the same names.
    """

    program: Program
    backend: str
    mask_id: int
    params: Mapping[str, Tensor]
    function: Function

    def start(self, batch: int, window_length: int, device: torch.device | str = "cpu") -> State:
        """The state of `batch` rows at the start of their first window of `window_length` positions.

        `step [B]`: the row's steps so far. `window_start [B]`: first position of its window, 0 for the first generated
        one; the caller moves it on. `not_finite [B, T]`: masked positions whose logits of the last step were no numbers;
        what that step wrote in such a row must not be used.
        """
        rows = torch.zeros(batch, dtype=torch.int64, device=device)
        unusable = torch.zeros(batch, window_length, dtype=torch.bool, device=device)
        return {"step": rows, "window_start": rows.clone(), "not_finite": unusable}

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: State, params: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """One step: the next canvas `[B, T]` int64, `done [B]` bool (no mask left in the window), the next state.

        `logits [B, T, V]` of any float dtype, `canvas [B, T]` int64, `editable [B, T]` bool: where the policy may write.
        """
        return self.function(logits, canvas, editable, state, self.params if params is None else params)
