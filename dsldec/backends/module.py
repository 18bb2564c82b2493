"""A program as an `nn.Module`: one torch expression an operation, over all rows and positions at once.

Shapes: B rows, T window positions. A value per row is held as `[B, 1]`, one per run as a 0-d tensor, so that every
value broadcasts to `[B, T]`. No host sync, no Python branch on a tensor: the step compiles to one graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..ir.nodes import Operation, Program
from ..language.words import Kind
from .step import DTYPES, State
from .vocabulary import observe


@dataclass(frozen=True, slots=True)
class Order:
    """Positions `[B, T]` from best to worst, those of the mask first; `member [B, T]`: which of them are in it."""

    positions: Tensor
    member: Tensor

    def sorted(self, x: Tensor) -> Tensor:
        """x in this order."""
        return x.expand_as(self.positions).gather(1, self.positions)

    def unsorted(self, x: Tensor) -> Tensor:
        """x, given in this order, back at its positions."""
        return torch.empty_like(x).scatter(1, self.positions, x)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What operations without inputs read."""

    observations: Mapping[str, Tensor]
    canvas: Tensor
    editable: Tensor
    state: State
    params: Mapping[str, Tensor]
    mask_id: int


def _order(mask: Tensor, score: Tensor) -> Order:
    if score.is_floating_point():
        score = torch.where(score.isnan(), float("-inf"), score)
    by_score = score.expand_as(mask).argsort(dim=1, descending=True, stable=True)
    # A second stable sort puts the mask's positions first, whatever score the others have.
    member, first = mask.gather(1, by_score).to(torch.uint8).sort(dim=1, descending=True, stable=True)
    return Order(by_score.gather(1, first), member.bool())


def _rank(order: Order) -> Tensor:
    ranks = torch.arange(1, order.positions.shape[1] + 1, device=order.positions.device)
    return order.unsorted(ranks.expand_as(order.positions))


def _prefix(order: Order, condition: Tensor) -> Tensor:
    fails = ~(order.sorted(condition) & order.member)
    return order.unsorted(fails.cumsum(1) == 0)


def _top(order: Order, k: Tensor) -> Tensor:
    ranks = torch.arange(1, order.positions.shape[1] + 1, device=order.positions.device)
    return order.unsorted((ranks <= k) & order.member)


def _sum(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, x, 0).sum(1, keepdim=True)


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    return torch.true_divide(_sum(x, mask), mask.sum(1, keepdim=True))  # 0 / 0 over nothing: no value


def _or_no_value(x: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask.any(1, keepdim=True), x, float("nan"))


def _positions(inputs: Inputs) -> Tensor:
    return inputs.state["window_start"].unsqueeze(1) + torch.arange(inputs.canvas.shape[1], device=inputs.canvas.device)


def _first(inputs: Inputs, mask: Tensor) -> Tensor:
    return _or_no_value(torch.where(mask, _positions(inputs).float(), float("inf")).amin(1, keepdim=True), mask)


def _last(inputs: Inputs, mask: Tensor) -> Tensor:
    return _or_no_value(torch.where(mask, _positions(inputs).float(), float("-inf")).amax(1, keepdim=True), mask)


COMPUTED: Mapping[str, Callable[..., Any]] = {
    "negate": torch.neg,
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "divide": torch.true_divide,
    "less": torch.lt,
    "less_equal": torch.le,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "equal": torch.eq,
    # What has no value (NaN) is not even different from anything.
    "not_equal": lambda a, b: (a < b) | (a > b),
    "absolute": torch.abs,
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "where": torch.where,
    "orelse": lambda a, b: torch.where(a.any(1, keepdim=True), a, b),
    "any": lambda mask: mask.any(1, keepdim=True),
    "sum": _sum,
    "mean": _mean,
    "std": lambda x, mask: _mean((x - _mean(x, mask)).square(), mask).sqrt(),
    "least": lambda x, mask: _or_no_value(torch.where(mask, x.float(), float("inf")).amin(1, keepdim=True), mask),
    "greatest": lambda x, mask: _or_no_value(torch.where(mask, x.float(), float("-inf")).amax(1, keepdim=True), mask),
    "not": torch.logical_not,
    "and": torch.logical_and,
    "or": torch.logical_or,
    "count": lambda mask: mask.sum(1, keepdim=True),
    "order": _order,
    "rank": _rank,
    "cumsum": lambda order, x: order.unsorted(torch.where(order.member, order.sorted(x), 0).cumsum(1)),
    "cummax": lambda order, x: order.unsorted(order.sorted(x).cummax(1).values),
    "prefix": _prefix,
    "top": _top,
}

READ: Mapping[str, Callable[..., Tensor]] = {
    "parameter": lambda inputs, name: inputs.params[name],
    "observation": lambda inputs, name: inputs.observations[name],
    "canvas": lambda inputs, _: inputs.canvas,
    "step": lambda inputs, _: inputs.state["step"].unsqueeze(1),
    "pos": lambda inputs, _: _positions(inputs),
    "window_start": lambda inputs, _: inputs.state["window_start"].unsqueeze(1),
    "window_length": lambda inputs, _: inputs.editable.sum(1, keepdim=True),
    "window_end": lambda inputs, _: inputs.state["window_start"].unsqueeze(1) + inputs.editable.sum(1, keepdim=True),
    "first": lambda inputs, _, mask: _first(inputs, mask),
    "last": lambda inputs, _, mask: _last(inputs, mask),
    "fraction": lambda inputs, _, mask: torch.true_divide(mask.sum(1, keepdim=True), inputs.editable.sum(1, keepdim=True).clamp(min=1)),
    "masked": lambda inputs, _, canvas: (canvas == inputs.mask_id) & inputs.editable,
    "committed": lambda inputs, _, canvas: (canvas != inputs.mask_id) & inputs.editable,
    "commit": lambda inputs, _, canvas, mask: torch.where(
        mask & (canvas == inputs.mask_id) & inputs.editable, inputs.observations["token"], canvas
    ),
}


class StepModule(nn.Module):
    """A program as a module; called like every step (see `step.Step`)."""

    def __init__(self, program: Program, mask_id: int) -> None:
        super().__init__()
        self.program = program
        self.mask_id = mask_id
        for index, operation in enumerate(program.operations):
            if operation.name == "number":
                dtype = torch.int64 if operation.kind is Kind.INT else DTYPES.get(operation.kind, torch.float32)
                self.register_buffer(f"number_{index}", torch.tensor(operation.of, dtype=dtype), persistent=False)

    def forward(
        self, logits: Tensor, canvas: Tensor, editable: Tensor, state: State, params: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, State]:
        observations = observe(logits, self.mask_id, self.program.observations)
        inputs = Inputs(observations, canvas, editable, state, params, self.mask_id)
        values: list[Any] = []
        for index, operation in enumerate(self.program.operations):
            values.append(self._value(index, operation, inputs, [values[i] for i in operation.inputs]))
        masked = (canvas == self.mask_id) & editable
        after = values[self.program.canvas]
        done = ~((after == self.mask_id) & editable).any(1)
        moved = {
            "step": state["step"] + masked.any(1).long(),
            "window_start": state["window_start"].clone(),
            "not_finite": masked & ~observations["finite"],
        }
        return after, done, moved

    def _value(self, index: int, operation: Operation, inputs: Inputs, operands: list[Any]) -> Any:
        if operation.name == "number":
            return getattr(self, f"number_{index}")
        if operation.name in READ:
            return READ[operation.name](inputs, operation.of, *operands)
        return COMPUTED[operation.name](*operands)
