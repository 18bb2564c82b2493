"""The meaning of a program: one row at a time, one operation at a time, one number at a time.

Shapes: T window positions. Slow and simple; every other backend must equal it. A value is a number, or a list
with one number for each position. Not here: the operations on numbers, orders and positions
(`reference_numbers`, `reference_orders`, `reference_geometry`), reading the logits (`reference_vocabulary`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checks.values import Value
from ..ir.nodes import LoopCarried, Operation, Program
from ..ir.protocol import NO_PATH, NOT_FINITE
from ..ir.signatures import over_positions
from ..language.arithmetic import ELEMENTWISE, AnyNumber, float32
from ..language.words import NUMBERS, Extent, Kind
from .broadcast import wanted
from .noise import uniform_float
from .pattern_inputs import CLASSES, ENDS, FOLLOWING, patterns
from .reference_geometry import GEOMETRY
from .reference_groups import GROUPS
from .reference_network import learned
from .reference_numbers import ROWS
from .reference_orders import ORDERS, thin, thin_by_kernel
from .reference_paths import PatternOfRow, likeliest_path
from .reference_vocabulary import PlainLogitsView
from .step import DTYPES, Events, StepOutput, StepState, reported


class LogitsView(Protocol):
    """The logits of one row, with the reads and changes that a program may make."""

    def banned(self, ids: list[int]) -> LogitsView:
        """The logits with -inf at these ids."""

    def biased(self, id_: int, amount: float) -> LogitsView:
        """The logits with an amount added at one id."""

    def biased_everywhere(self, table: Any) -> LogitsView:
        """The logits with the numbers of a table added."""

    def cooled(self, temperature: float) -> LogitsView:
        """The logits divided by a temperature."""

    def observe(self, wanted: Collection[str], method: str, *given: Any) -> Mapping[str, list[AnyNumber]]:
        """The wanted observations by name, one number for each position.

        `given`: the arguments of the sampling method, see `nodes.LOGITS`.
        """

    def chosen(self, *draw: Any) -> list[int]:
        """The likeliest ids, or those drawn with these arguments of `gumbel` or `nucleus`."""

    def perturbed(self, *draw: Any) -> Any:
        """The scores of all ids at each position, from which `chosen` takes the best one."""

    def probability(self, ids: list[int]) -> list[float]:
        """The probability of an id at each position."""

    def log_probabilities(self, keep: int) -> Any:
        """The log probabilities of the `keep` likeliest ids, as `divergence` takes them in the next step."""

    def divergence(self, before: Any, keep: int) -> list[float]:
        """KL divergence from the log probabilities of the previous step, which stored `keep` ids."""

    def jensen_shannon(self, before: Any, keep: int) -> list[float]:
        """Jensen-Shannon divergence from the log probabilities of the previous step, as in `divergence`."""


@dataclass(frozen=True, slots=True)
class ReferenceRow:
    """One row of the inputs of a step.

    `state` and `parameters` hold numbers or lists by name; a distribution is a result of `log_probabilities`.
    """

    view: LogitsView
    canvas: list[int]
    editable: list[bool]
    state: Mapping[str, Any]
    parameters: Mapping[str, AnyNumber]
    mask_id: int
    vocab_size: int
    eos_id: int | None = None
    patterns: Mapping[str, PatternOfRow] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)  # the sizes of each network

    @property
    def length(self) -> int:
        return len(self.canvas)

    def wide(self, x: Any) -> list[AnyNumber]:
        """One number for each position; a single number is repeated."""
        return x if isinstance(x, list) else [x] * self.length

    def size(self, of: Any) -> int:
        """A static size: the number itself, or the value of the parameter with this name."""
        return int(self.parameters[of]) if isinstance(of, str) else int(of)


@dataclass(frozen=True, slots=True)
class ReferenceResult:
    """The output of a step for one row. `state` and `events` hold numbers or lists by name."""

    canvas: list[int]
    done: bool
    state: Mapping[str, Any]
    events: Mapping[str, Any]


def _number(row: ReferenceRow, of: Any, kind: Kind) -> AnyNumber:
    return (
        bool(of)
        if kind in (Kind.BOOL, Kind.MASK)
        else float32(of)
        if kind in NUMBERS - {Kind.INT}
        else int(of)
    )


def _looked_up(table: Any, id_: int) -> AnyNumber:
    """The number of a table for an id. A table is a list, or one number for all ids."""
    if not isinstance(table, list):
        return table if id_ >= 0 else math.nan
    return table[id_] if 0 <= id_ < len(table) else math.nan


def _path(row: ReferenceRow, operation: Operation, view: LogitsView, *inputs: Any) -> list[int]:
    canvas, pos, end, state, *draw = inputs
    draw = [*draw, pos] if draw else []
    if state < 0:
        return view.chosen(*draw)
    # Positions outside the window have their own id, and are no part of the path.
    path = [min(max(id_, 0), row.vocab_size - 1) for id_ in canvas]
    inside = [at for at, position in enumerate(pos) if 0 <= position < end]
    scores = view.perturbed(*draw)
    written = [None if canvas[at] == row.mask_id else canvas[at] for at in inside]
    pattern = row.patterns[str(operation.attribute)]
    found = likeliest_path(pattern, state, [scores[at] for at in inside], written)
    if found is None:
        return [NO_PATH] * len(canvas)
    for at, id_ in zip(inside, found, strict=True):
        path[at] = id_
    return path


def _of_step(table: Any, at: AnyNumber) -> AnyNumber:
    """The number of a table by step, a list or one number for all ints."""
    if at < 0:
        return math.nan
    return table[min(int(at), len(table) - 1)] if isinstance(table, list) else table


# By name of the operation. Arguments: the row, the operation and its inputs.
IN_CONTEXT: Mapping[str, Callable[..., Any]] = {
    "number": lambda row, self: _number(row, self.attribute, self.kind),
    "parameter": lambda row, self: row.parameters[self.attribute],
    "special": lambda row, self: row.parameters[self.attribute],
    "state": lambda row, self: row.state[self.attribute],
    "logits": lambda row, self: row.view,
    "canvas": lambda row, self: row.canvas,
    "editable": lambda row, self: row.editable,
    "offset": lambda row, self: list(range(row.length)),
    "ban": lambda row, self, view, *ids: view.banned(list(ids)),
    "bias": lambda row, self, view, id_, amount: view.biased(id_, amount),
    "bias_all": lambda row, self, view, table: view.biased_everywhere(table),
    "path": _path,
    "temperature": lambda row, self, view, temperature: view.cooled(temperature),
    "lookup": lambda row, self, table, ids: [_looked_up(table, id_) for id_ in ids],
    "lookup_step": lambda row, self, table, at: (
        [_of_step(table, one) for one in at] if isinstance(at, list) else _of_step(table, at)
    ),
    "observation": lambda row, self, observations: observations[self.attribute],
    "probability": lambda row, self, view, ids: view.probability(ids),
    "log_probabilities": lambda row, self, view: view.log_probabilities(row.size(self.attribute)),
    "kl": lambda row, self, view, before: view.divergence(before, row.size(self.attribute)),
    "js": lambda row, self, view, before: view.jensen_shannon(before, row.size(self.attribute)),
    "learned": lambda row, self, weights, *inputs: learned(row.networks[self.attribute], weights, *inputs),
    "thin": lambda row, self, *inputs: thin(*inputs, at_most=row.size(self.attribute)),
    "thin_by_kernel": lambda row, self, *inputs: thin_by_kernel(*inputs, at_most=row.size(self.attribute)),
    "is_mask": lambda row, self, canvas: [id_ == row.mask_id for id_ in canvas],
    "is_end": lambda row, self, canvas: [row.eos_id is not None and id_ == row.eos_id for id_ in canvas],
    "is_word": lambda row, self, ids: [0 <= id_ < row.vocab_size and id_ != row.mask_id for id_ in ids],
    "write": lambda row, self, canvas, mask, ids: [
        new if chosen else old for old, chosen, new in zip(canvas, mask, ids, strict=True)
    ],
    "erase": lambda row, self, canvas, mask: [
        row.mask_id if chosen else old for old, chosen in zip(canvas, mask, strict=True)
    ],
}
ON_VALUES: Mapping[str, Callable[..., Any]] = {**ROWS, **GROUPS, **ORDERS, **GEOMETRY}
IMPLEMENTED = (*IN_CONTEXT, *ON_VALUES, *ELEMENTWISE, "random", "observe")


def _of_kind(operation: Operation, value: Any) -> Any:
    """An int among reals (`x if c else 1`) becomes a real."""
    return float32(value) if isinstance(value, int) and operation.kind in NUMBERS - {Kind.INT} else value


def run_operation(
    program: Program, row: ReferenceRow, index: int, values: Sequence[Any] | Mapping[int, Any]
) -> Any:
    """The result of the operation at `index`. `values`: the results of earlier operations, at least of its
    inputs.
    """
    operation = program.operations[index]
    name, wide = operation.name, over_positions(operation)
    inputs: list[Any] = [
        row.wide(values[i]) if n in wide else values[i] for n, i in enumerate(operation.inputs)
    ]
    if name == "observe":
        view, *given = inputs
        return view.observe(wanted(program, index), operation.attribute, *given)
    if name in IN_CONTEXT:
        return IN_CONTEXT[name](row, operation, *inputs)
    if name in ON_VALUES:
        return _of_kind(operation, ON_VALUES[name](*inputs))
    return _elementwise(row, operation, inputs)


def _elementwise(row: ReferenceRow, operation: Operation, inputs: list[Any]) -> Any:
    if operation.name == "random":
        size = row.size(operation.attribute)
        function: Callable[..., AnyNumber] = lambda *parts: uniform_float(*parts, size)  # noqa: E731
    else:
        function = ELEMENTWISE[operation.name]
    if operation.extent is not Extent.POSITION:
        return _of_kind(operation, function(*inputs))
    return [_of_kind(operation, function(*numbers)) for numbers in zip(*map(row.wide, inputs), strict=True)]


def run_row(program: Program, row: ReferenceRow) -> ReferenceResult:
    """The output of one step for one row."""
    values: list[Any] = []
    for index in range(len(program.operations)):
        values.append(run_operation(program, row, index, values))
    finite = row.wide(values[program.finite])
    read = [
        may and (program.reads_written or id_ == row.mask_id)
        for may, id_ in zip(row.editable, row.canvas, strict=True)
    ]
    not_finite = [seen and not fine for seen, fine in zip(read, finite, strict=True)]
    return ReferenceResult(
        canvas=values[program.canvas],
        done=bool(values[program.done]),
        state={**row.state, **{name: values[index] for name, index in program.next.items()}},
        events={NOT_FINITE: not_finite, **{name: values[index] for name, index in program.events.items()}},
    )


class ReferenceStep:
    """A program as a slow loop over rows; called like every step (see `step.Step`)."""

    def __init__(
        self,
        program: Program,
        mask_id: int,
        eos_id: int | None = None,
        static: Mapping[str, Value] | None = None,
    ) -> None:
        self.program = program
        self.mask_id = mask_id
        self.eos_id = eos_id
        self.static = dict(static or {})
        self.patterns = patterns(program)
        self.networks = {
            name: str(self.static[name])
            for name, parameter in program.parameters.items()
            if parameter.kind is Kind.NETWORK and name in self.static
        }

    def __call__(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: StepState, params: Mapping[str, Tensor]
    ) -> StepOutput:
        after = [
            run_row(self.program, self._row(b, logits, canvas, editable, state, params))
            for b in range(len(canvas))
        ]
        device, length = canvas.device, canvas.shape[1]
        carried = {
            name: _as_tensor([row.state[name] for row in after], carried, length).to(device)
            for name, carried in self.program.carried.items()
        }
        events = {
            name: torch.tensor([row.events[name] for row in after], dtype=dtype, device=device)
            for name, (dtype, _) in reported(self.program).items()
        }
        return StepOutput(
            torch.tensor([row.canvas for row in after], dtype=torch.int64, device=device),
            torch.tensor([row.done for row in after], device=device),
            state | carried,
            Events(**events),
        )

    def _row(
        self,
        b: int,
        logits: Tensor,
        canvas: Tensor,
        editable: Tensor,
        state: StepState,
        params: Mapping[str, Tensor],
    ) -> ReferenceRow:
        carried, read = self.program.carried, {*self.program.parameters, *self.program.special_ids}
        return ReferenceRow(
            view=PlainLogitsView(logits[b].float().tolist(), self.mask_id),
            canvas=canvas[b].tolist(),
            editable=editable[b].tolist(),
            state={name: state[name][b].tolist() for name in carried},
            # A parameter with a value per request is `[B, 1]`.
            parameters={
                name: (value[b, 0] if value.dim() == 2 else value).tolist()
                for name, value in params.items()
                if name in read and name not in self.patterns
            }
            | {name: value for name, value in self.static.items() if not isinstance(value, str)},
            mask_id=self.mask_id,
            vocab_size=logits.shape[-1],
            eos_id=self.eos_id,
            patterns={name: _pattern(params, name, b) for name in self.patterns},
            networks=self.networks,
        )


def _pattern(params: Mapping[str, Tensor], name: str, b: int) -> PatternOfRow:
    """The pattern of a row; the other inputs of a pattern only make the search fast."""
    of_row, ends = params[name], params[name + ENDS]
    place = int(of_row[b, 0] if of_row.dim() else of_row)
    following, class_of = (params[name + part][place].tolist() for part in (FOLLOWING, CLASSES))
    return PatternOfRow(following, class_of, ends.expand(max(b + 1, len(ends)), -1)[b].tolist())


def _as_tensor(rows: list[Any], carried: LoopCarried, length: int) -> Tensor:
    if carried.extent is Extent.POSITION and not carried.distribution:
        rows = [row if isinstance(row, list) else [row] * length for row in rows]
    return torch.tensor(rows, dtype=DTYPES.get(carried.kind, torch.float32))
