"""A program as torch's exported program: one graph of the step for fixed shapes, that every form which
outlives dsldec is made of.

Shapes: B rows, T window positions, V vocabulary. MASK and the end-of-text token are inputs like the
parameters, so that a graph is made without a model. Not here: what a graph is compiled to (`aot`).
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
from ..spelling import option
from . import toolchain
from .module import Inputs, StepModule
from .step import Step, StepState, parameter_tensors, static_of

MASK_ID, EOS_ID = "mask_id", "eos_id"  # among the parameters, 0-d int64
NO_EOS = -1  # the end-of-text id of a model without one: no id of a canvas

MOST_LOGITS = 2**40

Arguments = tuple[Tensor, Tensor, Tensor, StepState, dict[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a graph is fixed to: B, T, V, the dtype of the logits, and the device: `cpu`, or `cuda` (not
    measured on a GPU).
    """

    batch: int
    window: int
    vocab_size: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"


# Canvas, done, state, and the events by name: torch alone knows no class of dsldec.
StepResults = tuple[Tensor, Tensor, StepState, dict[str, Tensor]]


class _AnyModel(nn.Module):
    """The step with the two ids taken from its parameters, and with plain dicts as results."""

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
    """The state at a window's start, in alphabetical order: a graph reads the entries of a dict in their order,
    and no names.
    """
    step = _uncalled(program, static_of(program, values))
    state = step.start(sizes.batch, sizes.window, sizes.device, vocab_size=sizes.vocab_size)
    return dict(sorted(state.items()))


def example_events(program: Program, sizes: Sizes) -> dict[str, Tensor]:
    """The events of the graph, as tensors that hold nothing."""
    with FakeTensorMode():
        return _uncalled(program, {}).no_events(sizes.batch, sizes.window, sizes.device).by_name()


def _uncalled(program: Program, static: Mapping[str, Value]) -> Step:
    """A step that makes states and events and is never called."""
    return Step(program, "", 0, None, {}, StepModule(program, 0), static)


def example(program: Program, values: Mapping[str, Value], sizes: Sizes) -> Arguments:
    """What the graph is called with, as tensors that hold nothing: logits, canvas, editable, state, params
    (ordered like the state).
    """
    shape, device = (sizes.batch, sizes.window), sizes.device
    toolchain.require_folder(writing=False)
    with FakeTensorMode():  # a batch of logits can be larger than this machine's memory
        ids = {MASK_ID: torch.tensor(0, device=device), EOS_ID: torch.tensor(NO_EOS, device=device)}
        params = parameter_tensors(program, values, device) | ids
        logits = torch.zeros(*shape, sizes.vocab_size, dtype=sizes.dtype, device=device)
        canvas = torch.zeros(shape, dtype=torch.int64, device=device)
        return logits, canvas, canvas == 0, start(program, values, sizes), dict(sorted(params.items()))


def exported(program: Program, values: Mapping[str, Value], sizes: Sizes) -> ExportedProgram:
    """The graph of a step called as `canvas, done, state, events = step(logits, canvas, editable, state,
    params)`; `events` is a dict by name.

    `values` are those of all parameters: of the static ones for good, of the others as an example (a table's
    length is for good). Raises `UsageError` (E0404, E0412) where there is no such device, or a parameter has
    the name of an id.
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
    module = _AnyModel(StepModule(program, 0, None, static_of(program, values))).to(sizes.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own about its own
        return torch.export.export(module, example(program, values, sizes), strict=False)
