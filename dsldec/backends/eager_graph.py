"""The graph of an eager step: each torch call once. Values that follow from constants are computed when the
graph is made.

Shapes: B rows, T window positions. Here a value per run is 0-d, a value per row is `[B]`, and a value per
position has the whole shape `[B, T]`. B and T are fixed. Not here: the calls of each operation
(`eager_values`, `eager_orders`, `eager_thin`), the order of the calls (`eager_schedule`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..language.words import Extent

TorchCall = Callable[..., Any]


@dataclass(slots=True, eq=False)
class EagerNode:
    """A value of the graph.

    `dtype`: `None` for a structure, such as all observations. `function` and `args`: the call that gives the
    value; an argument is a node or anything else. Without a function, the value is an input of the step, or
    `constant`: known when the graph is made. `number`: the constant as a number. `within`: masks that hold
    wherever this one does. `nonnegative`: the value is 0 or more, or NaN.
    """

    extent: Extent
    dtype: torch.dtype | None
    function: TorchCall | None = None
    args: tuple[Any, ...] = ()
    constant: Tensor | None = None
    number: bool | int | float | None = None
    within: frozenset[EagerNode] = frozenset()
    nonnegative: bool = False

    @property
    def inside(self) -> frozenset[EagerNode]:
        """The masks that hold wherever this one does, itself included."""
        return self.within | {self}

    @property
    def is_real(self) -> bool:
        assert self.dtype is not None
        return self.dtype.is_floating_point


def column(x: Tensor) -> Tensor:
    """A value per row as `[B, 1]`."""
    return x.unsqueeze(1)


def expanded(x: Tensor, *shape: int) -> Tensor:
    return x.expand(*shape)


class EagerGraph:
    """Makes nodes. Equal calls give the same node; a call whose arguments are all known gives a constant."""

    def __init__(
        self,
        shape: tuple[int, int],
        device: torch.device,
        mask_id: int,
        *,
        on_host: bool,
    ) -> None:
        (self.rows, self.length), self.device = shape, device
        self.mask_id = mask_id
        self.on_host = on_host  # whether the step may read tensors as numbers
        self.known: dict[tuple[Any, ...], EagerNode] = {}

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows, self.length

    def input(self, extent: Extent, dtype: torch.dtype | None) -> EagerNode:
        """A new input of the step."""
        return EagerNode(extent, dtype)

    def number(self, number: bool | int | float, dtype: torch.dtype) -> EagerNode:
        """A known number, 0-d."""
        key = (number.__class__, repr(number), dtype)
        if key not in self.known:
            # Not an inference tensor: it could not be used where gradients are computed.
            with torch.inference_mode(False):
                constant = torch.tensor(number, dtype=dtype, device=self.device)
            self.known[key] = EagerNode(Extent.RUN, dtype, constant=constant, number=number)
        return self.known[key]

    def places(self, dtype: torch.dtype = torch.int64) -> EagerNode:
        """The offset of each position, `[B, T]`."""
        key = ("places", dtype)
        if key not in self.known:
            with torch.inference_mode(False):
                places = torch.arange(self.length, device=self.device).to(dtype).repeat(self.rows, 1)
            self.known[key] = EagerNode(Extent.POSITION, dtype, constant=places)
        return self.known[key]

    def call(
        self,
        function: TorchCall,
        *args: Any,
        extent: Extent,
        dtype: torch.dtype | None,
        within: frozenset[EagerNode] = frozenset(),
    ) -> EagerNode:
        """The node of a call. A function gives the same result for the same arguments."""
        key = (function, *((a.__class__, a) for a in args), dtype)
        if key in self.known:
            return self.known[key]
        node = EagerNode(extent, dtype, function, args, within=within)
        given = [a for a in args if isinstance(a, EagerNode)]
        if dtype is not None and given and all(a.constant is not None for a in given):
            node = self._computed(node)
        self.known[key] = node
        return node

    def _computed(self, node: EagerNode) -> EagerNode:
        assert node.function is not None
        with torch.inference_mode(False), torch.no_grad():
            result = node.function(*(a.constant if isinstance(a, EagerNode) else a for a in node.args))
        if node.extent is Extent.RUN and self.on_host:
            assert node.dtype is not None
            return self.number(result.item(), node.dtype)
        return EagerNode(node.extent, node.dtype, constant=result.contiguous())

    def column(self, x: EagerNode) -> EagerNode:
        """A value per row beside values per position. One row broadcasts as it is."""
        if x.extent is not Extent.ROW or self.rows == 1:
            return x
        return self.call(column, x, extent=Extent.ROW, dtype=x.dtype)

    def beside(self, *values: EagerNode) -> tuple[Extent, list[EagerNode]]:
        """The widest extent of some values, and the values in shapes that broadcast."""
        extent = max(x.extent for x in values)
        if extent is Extent.POSITION:
            return extent, [self.column(x) for x in values]
        return extent, list(values)

    def elementwise(
        self, function: TorchCall, *values: EagerNode, dtype: torch.dtype, **more: Any
    ) -> EagerNode:
        extent, values_beside = self.beside(*values)
        return self.call(function, *values_beside, extent=extent, dtype=dtype, **more)

    def full(self, x: EagerNode) -> EagerNode:
        """A value at every position, `[B, T]`."""
        if x.extent is Extent.POSITION:
            return x
        if x.extent is Extent.ROW:
            x = self.call(column, x, extent=Extent.ROW, dtype=x.dtype)
        return self.call(expanded, x, *self.shape, extent=Extent.POSITION, dtype=x.dtype)

    def per_row(self, x: EagerNode) -> EagerNode:
        """A value per row, `[B]`, of a value per row or per run."""
        if x.extent is Extent.ROW:
            return x
        return self.call(expanded, x, self.rows, extent=Extent.ROW, dtype=x.dtype)

    def cast(self, x: EagerNode, dtype: torch.dtype) -> EagerNode:
        if x.dtype is dtype:
            return x
        if x.number is not None and x.constant is not None:
            return self.number(x.constant.to(dtype).item(), dtype)
        return self.call(Tensor.to, x, dtype, extent=x.extent, dtype=dtype)
