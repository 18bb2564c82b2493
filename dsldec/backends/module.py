"""A program as an `nn.Module`: one torch expression for each operation, over all rows and positions at once.

Shapes: B rows, T window positions, V vocabulary. A value per row has the shape `[B, 1]`, a value per run is a
0-d tensor, so every value broadcasts to `[B, T]`. No host sync and no Python branch on a tensor, so the step
compiles to one graph. No operation writes into a tensor (as `scatter` does): the Inductor of torch 2.13 may
read the result before it is written. Not here: the operations on numbers, orders and positions
(`module_numbers`, `module_orders`, `module_geometry`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..checks.values import Value
from ..ir.nodes import LoopCarried, Operation, Program
from ..ir.protocol import NOT_FINITE
from ..ir.signatures import over_positions
from ..language.words import Extent
from ..lru import LRUCache
from . import module_eager
from .broadcast import wanted
from .inputs import Inputs as Inputs
from .module_eager import EagerPlan, ParameterReader, Signature, planned
from .module_geometry import GEOMETRY, GEOMETRY_IN_FORM
from .module_groups import GROUPS_IN_FORM
from .module_network import learned
from .module_numbers import ELEMENTWISE, ELEMENTWISE_IN_FORM, ROWS, ROWS_IN_FORM
from .module_orders import ORDERS, ORDERS_IN_FORM, thin, thin_by_kernel
from .noise import uniform
from .numerics import EXACT, Numerics
from .paths import path
from .step import DTYPES, Events, StepOutput, StepState, reported
from .vocabulary import (
    Reader,
    banned,
    biased,
    biased_everywhere,
    cooled,
    divergence,
    jensen_shannon,
    log_probabilities,
    looked_up,
    observe,
    of_step,
    probability,
    sampled,
    statistics,
)
from .vocabulary_dispatch import reader


def _state(inputs: Inputs, name: str) -> Tensor:
    value = inputs.state[name]
    return value.unsqueeze(1) if value.dim() == 1 else value


def _observe(
    inputs: Inputs, method: str, wanted: frozenset[str], read: Reader, logits: Tensor, *given: Tensor
) -> dict[str, Tensor]:
    if isinstance(inputs.mask_id, Tensor) and logits.device.type != "cpu":  # the Triton kernel takes an int
        read = statistics
    if method == "argmax":
        return observe(logits, inputs.mask_id, wanted, read=read)
    if method == "given":
        (ids,) = given
        return observe(logits, inputs.mask_id, wanted, ids, read, raw=logits is inputs.logits)
    temperature, *limits, key, step, pos = given
    top_p, top_k = limits or (torch.ones_like(temperature), torch.zeros_like(temperature))
    place = (inputs.of_row(key), inputs.of_row(step), pos)
    return observe(
        logits,
        inputs.mask_id,
        wanted,
        sampled(logits, inputs.mask_id, method, temperature, top_p, top_k, *place),
        read,
        raw=logits is inputs.logits,
    )


def _is_end(inputs: Inputs, canvas: Tensor) -> Tensor:
    return torch.zeros_like(canvas, dtype=torch.bool) if inputs.eos_id is None else canvas == inputs.eos_id


def _is_word(inputs: Inputs, ids: Tensor) -> Tensor:
    return (ids >= 0) & (ids < inputs.logits.shape[-1]) & (ids != inputs.mask_id)


def _offset(inputs: Inputs) -> Tensor:
    return inputs.wide(torch.arange(inputs.canvas.shape[1], device=inputs.canvas.device))


# By name of the operation. Arguments: the inputs of the step, the operation's attribute and its operands.
IN_CONTEXT: Mapping[str, Callable[..., Any]] = {
    "parameter": lambda inputs, of: inputs.params[of],
    "special": lambda inputs, of: inputs.params[of],
    "state": _state,
    "logits": lambda inputs, of: inputs.logits,
    "canvas": lambda inputs, of: inputs.canvas,
    "editable": lambda inputs, of: inputs.editable,
    "offset": lambda inputs, of: _offset(inputs),
    "ban": lambda inputs, of, logits, *ids: banned(logits, ids),
    "bias": lambda inputs, of, logits, id_, amount: biased(logits, id_, amount),
    "bias_all": lambda inputs, of, logits, table: biased_everywhere(logits, table),
    "path": path,
    "temperature": lambda inputs, of, logits, x: cooled(logits, x),
    "lookup": lambda inputs, of, table, ids: looked_up(table, ids),
    "lookup_step": lambda inputs, of, table, index: of_step(table, index),
    "observation": lambda inputs, of, observations: observations[of],
    "probability": lambda inputs, of, logits, ids, *observations: probability(
        logits, ids, *observations, raw=logits is inputs.logits
    ),
    "log_probabilities": lambda inputs, of, logits, *observations: log_probabilities(
        logits, inputs.size(of), *observations
    ),
    "kl": lambda inputs, of, logits, before, *observations: divergence(
        logits, before, inputs.size(of), *observations
    ),
    "js": lambda inputs, of, logits, before, *observations: jensen_shannon(
        logits, before, inputs.size(of), *observations
    ),
    "learned": lambda inputs, of, weights, *operands: learned(
        inputs.form, inputs.network(of), weights, *operands
    ),
    "random": lambda inputs, of, key, step, pos: uniform(key, step, pos, inputs.size(of)),
    "thin": lambda inputs, of, *operands: thin(*operands, at_most=inputs.size(of)),
    "thin_by_kernel": lambda inputs, of, *operands: thin_by_kernel(
        inputs.form, *operands, at_most=inputs.size(of)
    ),
    "is_mask": lambda inputs, of, canvas: canvas == inputs.mask_id,
    "is_end": lambda inputs, of, canvas: _is_end(inputs, canvas),
    "is_word": lambda inputs, of, ids: _is_word(inputs, ids),
    "write": lambda inputs, of, canvas, mask, ids: torch.where(mask, ids, canvas),
    "erase": lambda inputs, of, canvas, mask: torch.where(mask, inputs.mask_id, canvas),
}
ON_VALUES: Mapping[str, Callable[..., Any]] = {**ROWS, **ORDERS, **GEOMETRY}
ON_VALUES_IN_FORM: Mapping[str, Callable[..., Any]] = {
    **ROWS_IN_FORM,
    **GROUPS_IN_FORM,
    **ORDERS_IN_FORM,
    **GEOMETRY_IN_FORM,
}
IMPLEMENTED = (
    *IN_CONTEXT,
    *ON_VALUES,
    *ON_VALUES_IN_FORM,
    *ELEMENTWISE,
    *ELEMENTWISE_IN_FORM,
    "number",
    "observe",
)


MOST_PLANS = 64  # of eager steps, by shape and parameters


class StepModule(nn.Module):
    """A program as a module; called like every step (see `step.Step`). `form`: see `numerics.Numerics`."""

    def __init__(
        self,
        program: Program,
        mask_id: int,
        eos_id: int | None = None,
        static: Mapping[str, Value] | None = None,
        form: Numerics = EXACT,
    ) -> None:
        super().__init__()
        self.program = program
        self.mask_id, self.eos_id = int(mask_id), None if eos_id is None else int(eos_id)
        self.static = dict(static or {})
        self.form = form
        self.operands = [_operands(program, index) for index in range(len(program.operations))]
        self.wide = [over_positions(operation) for operation in program.operations]
        self.reads, self.plans = ParameterReader(), LRUCache[Any, EagerPlan](MOST_PLANS)
        self.wanted: dict[int, frozenset[str]] = {}
        self.readers: dict[int, Reader] = {}
        for index, operation in enumerate(program.operations):
            if operation.name == "observe":
                self.wanted[index] = wanted(program, index)
                self.readers[index] = reader(
                    kernels=form.kernels, raw=program.operations[operation.inputs[0]].name == "logits"
                )
            if operation.name == "number":
                number = torch.tensor(operation.attribute, dtype=DTYPES.get(operation.kind, torch.float32))
                self.register_buffer(f"number_{index}", number, persistent=False)

    def forward(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        inputs = Inputs(
            logits, canvas, editable, state, params, self.mask_id, self.eos_id, self.static, self.form
        )
        if not torch.compiler.is_compiling() and self.form is EXACT:
            signature = self.reads.signature(params)
            if signature is not None:
                return self._plan(inputs, signature)(inputs)
        return self.computed(inputs)

    def _plan(self, inputs: Inputs, signature: Signature) -> EagerPlan:
        """The plan of an eager step for inputs of this shape and these parameters."""
        logits = inputs.logits

        def make() -> EagerPlan:
            return planned(self.program, self.operands, self._fallback, inputs, signature, on_host)

        on_host = module_eager.may_read(logits.device) and all(
            p.number is not None or p.dimensions for p in signature
        )
        if type(logits) is not Tensor:  # the constants of a plan belong to this call's kind of tensor
            return make()
        return self.plans.get_or_make(
            (inputs.canvas.shape, logits.device, on_host, tuple(inputs.params), signature), make
        )

    def _fallback(self, index: int) -> Callable[..., Any]:
        operation = self.program.operations[index]
        return lambda inputs, *operands: self._value(index, operation, inputs, list(operands))

    def computed(self, inputs: Inputs) -> StepOutput:
        """The results of all operations for these inputs, in the form that `forward` returns. A compiled step
        is made of this.
        """
        return self.output_of(self.values(inputs), inputs)

    def output_of(self, values: list[Any], inputs: Inputs) -> StepOutput:
        """The results among the values of all operations."""
        program = self.program
        # Copies: no result of a compiled step may share memory with an input. In the order of the input: for
        # another order of the names, torch would compile again.
        state = {
            name: _carried(values[program.next[name]], program.carried[name], inputs)
            if name in program.next
            else value.clone()
            for name, value in inputs.state.items()
        }
        return StepOutput(
            values[program.canvas].clone(),
            inputs.of_row(values[program.done]).clone(),
            state,
            self._events(values, inputs),
        )

    def values(self, inputs: Inputs) -> list[Any]:
        """The values of all operations for these inputs: `[]`, `[B, 1]` or `[B, T]` each."""
        values: list[Any] = []
        for index, operation in enumerate(self.program.operations):
            operands = [values[i] for i in self.operands[index]]
            wide = self.wide[index]
            operands = [inputs.wide(operand) if n in wide else operand for n, operand in enumerate(operands)]
            values.append(self._value(index, operation, inputs, operands))
        return values

    def value_of(self, needed: Sequence[int], inputs: Inputs) -> Any:
        """The value of the last of these operations; the others are its inputs."""
        values: dict[int, Any] = {}
        for index in needed:
            operands = [values[i] for i in self.operands[index]]
            wide = self.wide[index]
            operands = [inputs.wide(operand) if n in wide else operand for n, operand in enumerate(operands)]
            values[index] = self._value(index, self.program.operations[index], inputs, operands)
        return values[needed[-1]]

    def _events(self, values: list[Any], inputs: Inputs) -> Events:
        read = inputs.editable
        if not self.program.reads_written:
            read = (inputs.canvas == inputs.mask_id) & read
        events = {
            name: _copied(values[self.program.events[name]], dtype, extent, inputs)
            for name, (dtype, extent) in reported(self.program).items()
            if name != NOT_FINITE
        }
        return Events(read & ~values[self.program.finite], **events)

    def _value(self, index: int, operation: Operation, inputs: Inputs, operands: list[Any]) -> Any:
        """The value of an operation. Operands that it reads at every position are `[B, T]`."""
        name = operation.name
        if name == "number":
            return getattr(self, f"number_{index}")
        if name == "observe":
            return _observe(
                inputs, str(operation.attribute), self.wanted[index], self.readers[index], *operands
            )
        if name in IN_CONTEXT:
            return IN_CONTEXT[name](inputs, operation.attribute, *operands)
        if name in ON_VALUES:
            return ON_VALUES[name](*operands)
        if name in ON_VALUES_IN_FORM:
            return ON_VALUES_IN_FORM[name](self.form, *operands)
        dtype = DTYPES.get(operation.kind, torch.float32)
        if name == "where":  # an int among reals (`x if c else 1`) becomes a real
            operands = [operands[0], *(operand.to(dtype) for operand in operands[1:])]
        if name in ELEMENTWISE_IN_FORM:
            return ELEMENTWISE_IN_FORM[name](self.form, *operands).to(dtype)
        return ELEMENTWISE[name](*operands).to(dtype)


def _operands(program: Program, index: int) -> tuple[int, ...]:
    """The inputs of an operation.

    An operation on probabilities also reads the observations of the same logits, if an earlier operation made
    them.
    """
    operation = program.operations[index]
    if operation.name not in ("probability", "log_probabilities", "kl", "js"):
        return operation.inputs
    before = range(index)
    sights = [
        i
        for i in before
        if program.operations[i].name == "observe" and program.operations[i].inputs[0] == operation.inputs[0]
    ]
    return (*operation.inputs, *sights[:1])


def _carried(value: Tensor, carried: LoopCarried, inputs: Inputs) -> Tensor:
    """A value in the shape of the state: `[B]`, `[B, T]`, or `[B, T, N]` for a distribution."""
    if carried.distribution:
        return value.float().clone()
    return _copied(value, DTYPES.get(carried.kind, torch.float32), carried.extent, inputs)


def _copied(value: Tensor, dtype: torch.dtype, extent: Extent, inputs: Inputs) -> Tensor:
    """A copy of a value, as `[B]` or as `[B, T]`."""
    value = inputs.wide(value) if extent is Extent.POSITION else inputs.of_row(value)
    return value.to(dtype).clone(memory_format=torch.contiguous_format)
