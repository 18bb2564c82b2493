"""The program of a step as torch's exported program: one graph for fixed shapes. Packages are made from it.

Shapes: B rows, T window positions, V vocabulary. The MASK id and the end-of-text id are inputs, like the
parameters, so the graph is made without a model. Not here: compiling the graph (`aot`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export import ExportedProgram

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..ir.nodes import Program
from ..language.words import NO_ID
from ..spelling import option
from . import toolchain
from .module import Inputs, StepModule
from .step import Step, StepState, parameter_tensors, static_of

MASK_ID, EOS_ID = "mask_id", "eos_id"  # inputs among the parameters, 0-d int64
NO_EOS = NO_ID  # the end-of-text id of a model without one

MOST_LOGITS, MOST_ROWS = 2**40, 2**20

Arguments = tuple[Tensor, Tensor, Tensor, StepState, dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """The fixed sizes of a graph: B, T, V, the dtype of the logits, and the device.

    The device is `cpu`, or `cuda` (not measured on a GPU). `any_rows`: the graph is for every B of 2 or more,
    and `batch` is an example. `by_row`: the parameters with a value for each row, `[B, 1]`.
    """

    batch: int
    window: int
    vocab_size: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    any_rows: bool = False
    by_row: frozenset[str] = frozenset()


# Canvas, done, state, and the events by name. Plain types only, because the package runs without dsldec.
StepResults = tuple[Tensor, Tensor, StepState, dict[str, Tensor]]


class _AnyModel(nn.Module):
    """The step with the two ids among its parameters, and with plain dicts as results."""

    def __init__(self, module: StepModule) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepResults:
        mask_id, eos_id, module = params[MASK_ID], params[EOS_ID], self.module
        inputs = Inputs(logits, canvas, editable, state, params, mask_id, eos_id, module.static, module.form)
        canvas, done, state, events = module.computed(inputs)
        return canvas, done, state, events.by_name()


def start(program: Program, values: Mapping[str, Value], sizes: Sizes) -> StepState:
    """The state at the start of a window, sorted by name: a graph reads the entries of a dict by position."""
    step = _uncalled(program, static_of(program, values))
    state = step.start(sizes.batch, sizes.window, sizes.device, vocab_size=sizes.vocab_size)
    return dict(sorted(state.items()))


def example_events(program: Program, sizes: Sizes) -> dict[str, Tensor]:
    """The events of the graph, as fake tensors (without data)."""
    with FakeTensorMode():
        return _uncalled(program, {}).no_events(sizes.batch, sizes.window, sizes.device).by_name()


def _uncalled(program: Program, static: Mapping[str, Value]) -> Step:
    """A step that creates states and events, and that nothing calls."""
    return Step(program, "", 0, None, {}, StepModule(program, 0), static)


def example(program: Program, values: Mapping[str, Value], sizes: Sizes) -> Arguments:
    """Example inputs of the graph, as fake tensors (without data).

    These are logits, canvas, editable, state and params; the params are sorted by name, like the state.
    """
    shape, device = (sizes.batch, sizes.window), sizes.device
    toolchain.require_folder(writing=False)
    with FakeTensorMode():  # the logits of a batch can be larger than the memory of this machine
        ids = {MASK_ID: torch.tensor(0, device=device), EOS_ID: torch.tensor(NO_EOS, device=device)}
        params = parameter_tensors(program, values, device) | ids
        params |= {name: params[name].repeat(sizes.batch, 1) for name in sizes.by_row}
        logits = torch.zeros(*shape, sizes.vocab_size, dtype=sizes.dtype, device=device)
        canvas = torch.zeros(shape, dtype=torch.int64, device=device)
        return logits, canvas, canvas == 0, start(program, values, sizes), dict(sorted(params.items()))


def exported(program: Program, values: Mapping[str, Value], sizes: Sizes) -> ExportedProgram:
    """The graph of a step, with the call `canvas, done, state, events = step(logits, canvas, editable, state,
    params)`.

    `events` is a dict by name. `values`: the values of all parameters. Those of static parameters and the
    lengths of tables are fixed in the graph; the others are examples. Raises `UsageError` (E0404, E0412) if
    the device does not exist, the logits fit into no memory, or a parameter has the name `mask_id` or
    `eos_id`.
    """
    if sizes.device == "cuda" and not torch.cuda.is_available():
        help_ = "build for `cpu`, or on a machine with an NVIDIA GPU and a torch with CUDA"
        message = "torch finds no CUDA device on this machine, and a step for CUDA must be compiled on one"
        raise UsageError(Diagnostic("E0404", message, help=help_))
    if (logits := sizes.batch * sizes.window * sizes.vocab_size) > MOST_LOGITS:
        message = f"a step over {logits} logits (rows, times window, times vocabulary) does not fit into the memory of any machine"
        raise UsageError(
            Diagnostic("E0412", message, help=f"build it for fewer rows, for example {option('batch', 1)}")
        )
    if taken := {MASK_ID, EOS_ID} & program.parameters.keys():
        message = f"`{min(taken)}` is a parameter of the policy `{program.name}`, and a built step has an input of that name"
        raise UsageError(
            Diagnostic(
                "E0412", message, help=f"give the parameter another name, for example `my_{min(taken)}`"
            )
        )
    if any(one.name == "path" for one in program.operations):
        message = f"the policy `{program.name}` has a pattern, and a built step has none: patterns come with the requests"
        help_ = "run it with `decode` or a session, which also compiles its step"
        raise UsageError(Diagnostic("E0323", message, help=help_))
    module = _AnyModel(StepModule(program, 0, None, static_of(program, values))).to(sizes.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own code
        arguments = example(program, values, sizes)
        return torch.export.export(module, arguments, strict=False, dynamic_shapes=_dynamic(arguments, sizes))


def _dynamic(arguments: Arguments, sizes: Sizes) -> tuple[object, ...] | None:
    """The dimensions of the inputs without a fixed size, in the form of `torch.export`: the rows."""
    if not sizes.any_rows:
        return None
    *_, state, params = arguments
    rows = {0: torch.export.Dim("rows", min=2, max=MOST_ROWS)}
    of_state = dict.fromkeys(state, rows)
    return rows, rows, rows, of_state, {name: rows if name in sizes.by_row else {} for name in params}
