"""What every backend makes and every engine hosts: one step as a pure function of tensors.

Shapes: B rows, T window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..calls import checks_arguments
from ..checks.values import Value, int_of
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import LoopCarried, Program
from ..language.words import Extent, Kind
from .vocabulary import numbers_kept

StepState = dict[str, Tensor]
StepFunction = Callable[
    [Tensor, Tensor, Tensor, StepState, Mapping[str, Tensor]], tuple[Tensor, Tensor, StepState]
]

# Every other kind is held as float32.
DTYPES = {
    Kind.INT: torch.int64,
    Kind.TOKEN: torch.int64,
    Kind.GROUP: torch.int64,
    Kind.BOOL: torch.bool,
    Kind.MASK: torch.bool,
}


def parameter_tensors(
    program: Program, values: Mapping[str, Value], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """The parameters as inputs of the step, 0-d tensors: changing one never compiles again.

    A static parameter is among them too, for where the policy computes with it; what it sizes is not changed
    by this.
    """
    kinds = {
        name: DTYPES.get(parameter.kind, torch.float32) for name, parameter in program.parameters.items()
    }
    return {name: torch.tensor(values[name], dtype=dtype, device=device) for name, dtype in kinds.items()}


def static_of(program: Program, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of the parameters that size the step."""
    return {name: values[name] for name in program.facts.static}


def _require_sizes(sizes: Mapping[str, object]) -> None:
    for name, size in sizes.items():
        if not hasattr(size, "__index__") or isinstance(size, bool) or int(size) < 1:
            message = f"`{name}` must be a whole number of 1 or more, not `{size}`"
            raise UsageError(
                Diagnostic(
                    "E0448", message, help="for example `step.start(2, 32, vocab_size=denoiser.vocab_size)`"
                )
            )


@dataclass(frozen=True, slots=True)
class Step:
    """A policy's step on one backend.

    `params` holds the parameter values the policy was bound to; a caller may pass others of the same names.
    `static` are those that size the step, which no other values change.
    """

    program: Program
    backend: str
    mask_id: int
    eos_id: int | None
    params: Mapping[str, Tensor]
    function: StepFunction
    static: Mapping[str, Value] = field(default_factory=dict)

    @checks_arguments("step.start(batch, window_length)")
    def start(
        self,
        batch: int,
        window_length: int,
        device: torch.device | str = "cpu",
        *,
        generation_length: int | None = None,
        vocab_size: int | None = None,
    ) -> StepState:
        """The state of `batch` rows at the start of their first window of `window_length` positions.

        All that the program carries, `[B]`, `[B, T]` or, of distributions, `[B, T, N]`: 0 or false, but for
        `generation_length [B]`, one window long unless given. The caller moves `window_start [B]` on, 0 for
        the first generated position, and sets `key [B]` where random numbers are used. `not_finite [B, T]`:
        masked positions whose logits of the last step were no numbers; what that step wrote in such a row
        must not be used. `vocab_size` is needed by a policy that compares distributions of two steps; raises
        `UsageError` (E0408) where it is missing.
        """
        sizes = {
            "batch": batch,
            "window_length": window_length,
            "generation_length": generation_length,
            "vocab_size": vocab_size,
        }
        _require_sizes(
            {
                name: size
                for name, size in sizes.items()
                if size is not None or name in ("batch", "window_length")
            }
        )
        try:
            torch.device(device)
        except (RuntimeError, TypeError):
            raise UsageError(
                Diagnostic(
                    "E0448", f"there is no device `{device}`", help="use `cpu`, `cuda`, `cuda:1` or `mps`"
                )
            ) from None
        shape = (batch, window_length)
        state = {
            name: self._zeros(carried, shape, vocab_size, device)
            for name, carried in self.program.carried.items()
        }
        state["not_finite"] = torch.zeros(shape, dtype=torch.bool, device=device)
        if "generation_length" in state:
            state["generation_length"] += window_length if generation_length is None else generation_length
        return state

    def __call__(
        self,
        logits: Tensor,
        canvas: Tensor,
        editable: Tensor,
        state: StepState,
        params: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, StepState]:
        """One step: the next canvas `[B, T]` int64, `done [B]` bool (nothing left to do in the window), the
        next state.

        `logits [B, T, V]` of any float dtype, `canvas [B, T]` int64, `editable [B, T]` bool: where the policy
        may write.
        """
        return self.function(logits, canvas, editable, state, self.params if params is None else params)

    def _zeros(
        self, carried: LoopCarried, shape: tuple[int, int], vocab_size: int | None, device: torch.device | str
    ) -> Tensor:
        size: tuple[int, ...] = shape if carried.extent is Extent.POSITION else shape[:1]
        if carried.keep is not None:
            if vocab_size is None:
                message = f"the policy `{self.program.name}` stores distributions between steps, and the vocabulary size is unknown"
                help_ = "write `step.start(batch, window_length, vocab_size=denoiser.vocab_size)`"
                raise UsageError(Diagnostic("E0408", message, help=help_))
            keep = int_of(carried.keep, self.static) or 0
            size = (*shape, numbers_kept(vocab_size, keep))
        return torch.zeros(size, dtype=DTYPES.get(carried.kind, torch.float32), device=device)
