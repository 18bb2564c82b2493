"""A program as a list of torch calls for an eager step, made once for each shape and each set of parameters.

Shapes: B rows, T window positions. On a CPU the parameters are known numbers here, so a new value needs a new
list; that costs about as much as five steps. On other devices parameters stay tensors, because the host
would wait for the device to read one. Not here: the calls of each operation (`eager_values`, `eager_orders`,
`eager_thin`), compiled steps (`module`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..checks.values import Scalar, Value
from ..ir.nodes import Operation, Program
from ..ir.protocol import NOT_FINITE
from ..ir.signatures import over_positions
from ..language.words import Extent, Kind
from . import module_numbers
from .eager_graph import EagerGraph, EagerNode, column
from .eager_orders import ORDERS_EAGER, EagerOrder, at_least_one
from .eager_schedule import Schedule, scheduled
from .eager_thin import thin
from .eager_values import BOOL, INT, REAL, VALUES, and_, dtype_of, not_
from .inputs import Inputs
from .numerics import EXACT
from .step import DTYPES, Events, StepOutput, reported
from .vocabulary import OBSERVATIONS

# By index of an operation: its value from the inputs of the step and its operands, as `module` computes it.
# Values per row are `[B, 1]` there.
Fallback = Callable[[int], Callable[..., Any]]

IN_FORM = {name: partial(function, EXACT) for name, function in module_numbers.ELEMENTWISE_IN_FORM.items()}
STRUCTURES = frozenset({"logits", "observe", "ban", "bias", "bias_all", "temperature", "order"})
BROADCASTING = frozenset({"random", "is_word"})  # the result may have a lower extent than the operation


@dataclass(frozen=True, slots=True)
class GivenParameter:
    """A parameter as an eager step gets it: a known number, or a tensor of this dtype and number of
    dimensions.
    """

    number: Scalar | None
    dtype: torch.dtype
    dimensions: int


DTYPES_OF_PARAMETERS = frozenset({BOOL, INT, REAL})
Signature = tuple[GivenParameter, ...]


def may_read(device: torch.device) -> bool:
    """Whether the host may read tensors of a device as numbers within a step, because it never waits there."""
    return device.type == "cpu"


class ParameterReader:
    """Reads parameters on a CPU as numbers."""

    def signature(self, params: Mapping[str, Tensor]) -> Signature | None:
        """The parameters as a plan needs them, in the order of their names; `None` if one has a dtype that no
        parameter of a policy has.
        """
        signature = []
        for value in params.values():
            given = self._read(value)
            if given.dtype not in DTYPES_OF_PARAMETERS:
                return None
            signature.append(given)
        return tuple(signature)

    def _read(self, value: Tensor) -> GivenParameter:
        number = None if value.dim() or not may_read(value.device) else value.item()
        return GivenParameter(number, value.dtype, value.dim())


@dataclass(slots=True)
class EagerPlan:
    """The list of calls of one program, with the slots of its inputs and results."""

    schedule: Schedule
    sources: list[tuple[int, str, str]] = field(default_factory=list)  # slot, part of the inputs, name
    canvas: int = -1
    done: int = -1
    state: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    constants: frozenset[int] = frozenset()  # ids of tensors that belong to the plan

    def __call__(self, inputs: Inputs) -> StepOutput:
        values = self.schedule.template.copy()
        for slot, part, name in self.sources:
            given: Any = getattr(inputs, part) if part else inputs
            values[slot] = given[name] if name else given
        self.schedule.run(values)
        # No result shares memory with an input, another result or the plan.
        taken = {*self.constants, id(inputs.canvas), id(inputs.editable), *map(id, inputs.state.values())}

        def own(value: Tensor) -> Tensor:
            if id(value) in taken or value._is_view() or value.is_inference() or not value.is_contiguous():
                value = value.clone(memory_format=torch.contiguous_format)
            taken.add(id(value))
            return value

        following, state = self.state, inputs.state
        return StepOutput(
            own(values[self.canvas]),
            own(values[self.done]),
            {name: own(values[following[name]] if name in following else old) for name, old in state.items()},
            Events(**{name: own(values[slot]) for name, slot in self.events.items()}),
        )


def planned(
    program: Program,
    operands: Sequence[tuple[int, ...]],
    fallback: Fallback,
    inputs: Inputs,
    signature: Signature,
    on_host: bool,
) -> EagerPlan:
    """The plan for inputs of this shape. `operands`: see `module`."""
    assert isinstance(inputs.mask_id, int)
    B, T = inputs.canvas.shape
    graph = EagerGraph((B, T), inputs.canvas.device, inputs.mask_id, on_host=on_host)
    given = dict(zip(inputs.params, signature, strict=True))
    planner = _Planner(program, operands, fallback, graph, given, inputs.static)
    for index in range(len(program.operations)):
        planner.made.append(planner.value(index))
    return planner.plan()


class _Planner:
    """Makes the graph of a program, operation by operation."""

    def __init__(
        self,
        program: Program,
        operands: Sequence[tuple[int, ...]],
        fallback: Fallback,
        graph: EagerGraph,
        given: Mapping[str, GivenParameter],
        static: Mapping[str, Value],
    ) -> None:
        self.program, self.operands, self.fallback = program, operands, fallback
        self.graph, self.given, self.static = graph, given, static
        self.made: list[Any] = []  # a node or an `EagerOrder` for each operation
        self.sources: dict[tuple[str, str], EagerNode] = {}
        self.inputs = self.source("", "", Extent.RUN, None)

    def source(self, part: str, name: str, extent: Extent, dtype: torch.dtype | None) -> EagerNode:
        return self.sources.setdefault((part, name), self.graph.input(extent, dtype))

    def value(self, index: int) -> Any:
        operation = self.program.operations[index]
        read = _READ.get(operation.name)
        if read is not None:
            return read(self, operation)
        operands = [self.made[i] for i in self.operands[index]]
        made = self._by_few_calls(index, operation, operands)
        return self.by_fallback(index, operands) if made is None else made

    def _by_few_calls(self, index: int, operation: Operation, operands: list[Any]) -> Any:
        name, graph = operation.name, self.graph
        if name in ("thin", "thin_by_kernel") and graph.on_host:
            return thin(graph, name, self.size(operation.attribute), *operands)
        if name == "order":
            return self._order(index, operands)
        if name in ORDERS_EAGER:
            return ORDERS_EAGER[name](graph, *operands)
        if operation.name == "or" and (made := self._at_least_one(operation)) is not None:
            return made
        if name in VALUES:
            return VALUES[name](graph, operation, *operands)
        if name in IN_FORM:
            return graph.elementwise(IN_FORM[name], *operands, dtype=dtype_of(operation))
        return None

    def size(self, of: object) -> int:
        """A static size: the number itself, or the value of the parameter with this name."""
        size = self.static[of] if isinstance(of, str) else of
        assert isinstance(size, int)
        return size

    def _order(self, index: int, operands: list[EagerNode]) -> EagerOrder:
        mask, score, *run = operands
        whole = partial(self.by_fallback, index, operands)
        return EagerOrder(self.graph.full(mask), score, run[0] if run else None, whole)

    def _at_least_one(self, operation: Operation) -> EagerNode | None:
        """`chosen or top(order(free and not chosen, score), 1 - count(chosen))`, which `at least 1` gives."""
        operations = self.program.operations
        chosen, best = operation.inputs
        if operations[best].name != "top":
            return None
        order, lacking = (operations[i] for i in operations[best].inputs)
        if lacking.name != "subtract" or self.made[lacking.inputs[0]].number != 1:
            return None
        counted, rest = operations[lacking.inputs[1]], operations[order.inputs[0]]
        if counted.name != "count" or counted.inputs != (chosen,) or rest.name != "and":
            return None
        for free, other in (rest.inputs, rest.inputs[::-1]):
            if operations[other].name == "not" and operations[other].inputs == (chosen,):
                made: EagerOrder = self.made[operations[best].inputs[0]]
                of_free = EagerOrder(self.graph.full(self.made[free]), made.score, made.run, made.whole)
                return at_least_one(self.graph, self.graph.full(self.made[chosen]), of_free)
        return None

    def by_fallback(self, index: int, operands: Sequence[Any]) -> EagerNode:
        """The value as `module` computes it, with its operands and its result in the shapes there."""
        operation, graph, extent = (
            self.program.operations[index],
            self.graph,
            self.program.operations[index].extent,
        )
        wide = over_positions(operation)
        given = [self._as_in_module(x, n in wide) for n, x in enumerate(operands)]
        dtype = None if operation.name in STRUCTURES else dtype_of(operation)
        if operation.name in ("cumsum", "cummax"):
            dtype = operands[1].dtype
        value = graph.call(self.fallback(index), self.inputs, *given, extent=extent, dtype=dtype)
        if extent is Extent.ROW:
            return graph.call(_of_rows, value, graph.rows, extent=extent, dtype=dtype)
        if operation.name in BROADCASTING and extent is Extent.POSITION:
            return graph.call(_of_positions, value, *graph.shape, extent=extent, dtype=dtype)
        return value

    def _as_in_module(self, x: Any, wide: bool) -> EagerNode:
        if isinstance(x, EagerOrder):
            return x.whole()
        node: EagerNode = x
        if node.dtype is None:
            return node
        if wide:
            return self.graph.full(node)
        if node.extent is Extent.ROW:
            return self.graph.call(column, node, extent=Extent.ROW, dtype=node.dtype)
        return node

    # --- the results

    def plan(self) -> EagerPlan:
        program, graph = self.program, self.graph
        read = _editable(self, None)
        if not program.reads_written:
            read = and_(graph, VALUES["is_mask"](graph, None, _canvas(self, None)), read)
        bad = and_(graph, read, not_(graph, graph.full(self.made[program.finite])))
        events = {
            name: bad if name == NOT_FINITE else self._shaped(program.events[name], dtype, extent)
            for name, (dtype, extent) in reported(program).items()
        }
        state = {name: self._next(name, index) for name, index in program.next.items()}
        canvas = self._shaped(program.canvas, INT, Extent.POSITION)
        done = self._shaped(program.done, BOOL, Extent.ROW)
        inputs = list(self.sources.values())
        schedule = scheduled(graph, inputs, [canvas, done, *state.values(), *events.values()])
        slots = schedule.slots
        return EagerPlan(
            schedule,
            [(slots[node], *source) for source, node in self.sources.items()],
            slots[canvas],
            slots[done],
            {name: slots[node] for name, node in state.items()},
            {name: slots[node] for name, node in events.items()},
            frozenset(id(value) for value in schedule.template if isinstance(value, Tensor)),
        )

    def _next(self, name: str, index: int) -> EagerNode:
        carried = self.program.carried[name]
        if carried.distribution:
            return self.graph.cast(self.made[index], REAL)
        return self._shaped(index, DTYPES.get(carried.kind, REAL), carried.extent)

    def _shaped(self, index: int, dtype: torch.dtype, extent: Extent) -> EagerNode:
        value = self.made[index]
        value = self.graph.full(value) if extent is Extent.POSITION else self.graph.per_row(value)
        return self.graph.cast(value, dtype)


def _of_rows(x: Tensor, rows: int) -> Tensor:
    return (x if x.dim() == 2 and len(x) == rows else x.expand(rows, 1)).squeeze(1)


def _of_positions(x: Tensor, *shape: int) -> Tensor:
    return x if x.shape == shape else x.expand(*shape)


# --- operations that read the inputs of the step


def _number(planner: _Planner, operation: Operation) -> EagerNode:
    assert isinstance(operation.attribute, bool | int | float)
    return planner.graph.number(operation.attribute, dtype_of(operation))


def _parameter(planner: _Planner, operation: Operation) -> EagerNode:
    name, graph = str(operation.attribute), planner.graph
    given = planner.given[name]
    if given.number is not None:
        return graph.number(given.number, given.dtype)
    if given.dimensions < 2:
        return planner.source("params", name, Extent.RUN, given.dtype)
    value = planner.source("params", name, Extent.ROW, given.dtype)
    return graph.call(_of_rows, value, graph.rows, extent=Extent.ROW, dtype=given.dtype)


def _state(planner: _Planner, operation: Operation) -> EagerNode:
    name = str(operation.attribute)
    dtype = DTYPES.get(operation.kind, REAL)
    return planner.source("state", name, operation.extent, dtype)


def _canvas(planner: _Planner, operation: Operation | None) -> EagerNode:
    return planner.source("canvas", "", Extent.POSITION, INT)


def _editable(planner: _Planner, operation: Operation | None) -> EagerNode:
    return planner.source("editable", "", Extent.POSITION, BOOL)


def _observation(planner: _Planner, operation: Operation) -> EagerNode:
    (observations,) = (planner.made[i] for i in operation.inputs)
    dtype = BOOL if operation.attribute == "finite" else INT if operation.kind is Kind.TOKEN else REAL
    graph, name = planner.graph, operation.attribute
    node = graph.call(_item, observations, name, extent=Extent.POSITION, dtype=dtype)
    node.nonnegative = name in OBSERVATIONS and dtype is REAL
    return node


def _item(observations: Mapping[str, Tensor], name: str) -> Tensor:
    return observations[name]


_READ: Mapping[str, Callable[[_Planner, Operation], Any]] = {
    "number": _number,
    "parameter": _parameter,
    "special": _parameter,
    "state": _state,
    "logits": lambda planner, operation: planner.source("logits", "", Extent.POSITION, None),
    "canvas": _canvas,
    "editable": _editable,
    "offset": lambda planner, operation: planner.graph.places(),
    "observation": _observation,
}
