"""One step of a policy as a pure function of tensors. Every backend makes such a function, and every engine
calls it.

Shapes: B rows, T window positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..calls import checks_arguments
from ..checks.values import Value, int_of, static_values
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import LoopCarried, Program
from ..ir.protocol import EVENTS, GENERATION_LENGTH, NOT_FINITE
from ..language.words import NO_ID, Extent, Kind
from ..networks.network import LearnedNetwork
from .pattern_inputs import no_pattern
from .vocabulary import numbers_kept

StepState = dict[str, Tensor]


class Events(NamedTuple):
    """The events that a step reports to its host. No step takes them as input; `ir.protocol.EVENTS` gives
    their meanings.

    `not_finite [B, T]` is bool. `phase [B]` int64, `finished [B]`, `accepted [B]`, `unmatched [B]` and
    `refresh [B]` bool are `None` if the policy has no phases, no `finish`, no `accept`, no pattern or no
    `refresh`; `temperature [B]` and `score [B]` float32 if it has no `logits temperature` or no `branch`.
    """

    not_finite: Tensor
    phase: Tensor | None = None
    finished: Tensor | None = None
    accepted: Tensor | None = None
    unmatched: Tensor | None = None
    refresh: Tensor | None = None
    temperature: Tensor | None = None
    score: Tensor | None = None

    def by_name(self) -> dict[str, Tensor]:
        """The events that the policy's step reports."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class StepOutput(NamedTuple):
    """The output of a step.

    `canvas [B, T]` int64: the next canvas. `done [B]` bool: the window needs no further step. `state`: the
    input state of the next step. `events`: the events for the host.
    """

    canvas: Tensor
    done: Tensor
    state: StepState
    events: Events


NO_SPECIAL: Mapping[str, int | None] = MappingProxyType({})
StepFunction = Callable[[Tensor, Tensor, Tensor, StepState, Mapping[str, Tensor]], StepOutput]

# The dtype of every other kind is float32.
DTYPES = {
    Kind.INT: torch.int64,
    Kind.TOKEN: torch.int64,
    Kind.CHOICE: torch.int64,
    Kind.GROUP: torch.int64,
    Kind.BOOL: torch.bool,
    Kind.MASK: torch.bool,
}


def parameter_tensors(
    program: Program,
    values: Mapping[str, Value],
    device: torch.device | str = "cpu",
    special: Mapping[str, int | None] = NO_SPECIAL,
) -> dict[str, Tensor]:
    """The parameters as inputs of the step, 0-d tensors: a new value needs no new compilation.

    The ids of the model that the policy reads are among them, by their words. `special`: the ids of the
    model (see `language.words.SPECIAL_IDS`).

    Static parameters are included, because the policy may compute with them. A new value here does not change
    the sizes of the step.
    """
    kinds = {
        name: DTYPES.get(parameter.kind, torch.float32) for name, parameter in program.parameters.items()
    }
    tensors: dict[str, Tensor] = {}
    for name, dtype in kinds.items():
        if program.parameters[name].kind is Kind.PATTERN:
            tensors |= no_pattern(name, device)
        else:
            numbers = _numbers_of(program, name, values[name])
            tensors[name] = torch.tensor(numbers, dtype=dtype, device=device)
    for name in program.special_ids:
        id_ = special.get(name)
        tensors[name] = torch.tensor(NO_ID if id_ is None else int(id_), device=device)
    return tensors


def _numbers_of(program: Program, name: str, value: Value) -> Any:
    """The value of a parameter as a number, or as numbers for a table or a network `[P]`. A named choice is
    its index.
    """
    if isinstance(value, LearnedNetwork):
        return value.numbers
    return program.parameters[name].choices.index(value) if isinstance(value, str) else value


def reported(program: Program) -> dict[str, tuple[torch.dtype, Extent]]:
    """The dtype and the extent of each event that a step reports, in the order of the protocol's table."""
    return {
        name: (DTYPES.get(event.kind, torch.float32), event.extent)
        for name, event in EVENTS.items()
        if name == NOT_FINITE or name in program.events
    }


def static_of(program: Program, values: Mapping[str, Value]) -> dict[str, Value]:
    """The values of the parameters that size the step."""
    return static_values(program.facts.static, values)


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

    `params`: the parameter values of the policy; a caller may pass other values with the same names.
    `static`: the values of the parameters that size the step, which are fixed.
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

        The state has all fields of the program: `[B]`, `[B, T]`, or `[B, T, N]` for distributions. They are 0
        or false, except `generation_length [B]`, which is the given length or the length of one window.
        `ir.protocol` describes the fields. The host sets the fields with the writer `host`: it advances
        `window_start [B]` (0 is the first generated position), and sets `key [B]` if the policy draws at
        random. A policy that compares distributions of two steps needs `vocab_size`; without it, `UsageError`
        (E0408) is raised.
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
        if GENERATION_LENGTH in state:
            state[GENERATION_LENGTH] += window_length if generation_length is None else generation_length
        return state

    def no_events(self, batch: int, window_length: int, device: torch.device | str = "cpu") -> Events:
        """The events of `batch` rows before their first step: 0 or false."""
        shapes = {Extent.ROW: (batch,), Extent.POSITION: (batch, window_length)}
        events = {
            name: torch.zeros(shapes[extent], dtype=dtype, device=device)
            for name, (dtype, extent) in reported(self.program).items()
        }
        return Events(**events)

    def __call__(
        self,
        logits: Tensor,
        canvas: Tensor,
        editable: Tensor,
        state: StepState,
        params: Mapping[str, Tensor] | None = None,
    ) -> StepOutput:
        """One step in every row.

        `logits [B, T, V]` of any float dtype; `canvas [B, T]` int64; `editable [B, T]` bool: the positions
        where the policy may write.
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
