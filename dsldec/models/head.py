"""How are logits computed only for the columns that a step reads?

The language-model head is the one matrix that grows with the vocabulary, and a step reads only a window of
the canvas. A hook on the head selects the hidden states. Some models compute their logits elsewhere (a tied
weight without a module, a head that needs every position). Then all logits are computed and selected
afterwards: the same logits, in more time. One call with a few tokens shows which case holds.

Shapes: b rows, L positions of the canvas, W selected columns, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .forward_hooks import SwitchedHooks

PROBED = 8  # positions of the probe call
# Relative to the largest logit. A product of fewer rows may be summed in another order.
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-4}
ROUNDING_OF_HALVES = 3e-2

PickColumns = Callable[[Tensor], Tensor]


class Head:
    """A model, called for selected columns. `picks`: whether columns are selected before the head; None
    before the probe call. The hook on the head stays until this object is freed.
    """

    def __init__(self, model: Any, picks: bool | None = None) -> None:
        self.model, self.picks = model, picks
        self.hooks, self.layer = SwitchedHooks(), None

    def __getstate__(self) -> tuple[Any, bool | None]:
        return self.model, self.picks

    def __setstate__(self, state: tuple[Any, bool | None]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # the hooks of the original do nothing in a copy

    def __call__(self, ids: Tensor, at: Tensor, **how: Any) -> Tensor:
        """Logits `[b, W, V]` of `ids [b, L]` at the columns `at [b, W]`."""
        self.probe(ids)
        if self.picks:
            try:
                return self.pick_states(ids, lambda states: picked(states, at), **how)
            except HeadNotCalled:
                self.picks = False
        return picked(self.model(input_ids=ids, **how).logits, at)

    def pick_states(self, ids: Tensor, pick: PickColumns, **how: Any) -> Tensor:
        """Logits of `pick(hidden states [b, L, D])`. Raises `HeadNotCalled` where the logits do not come from
        the head.
        """
        layer, picking = _layer(self.model), _Picking(ids.shape, pick)
        if layer is None:
            raise HeadNotCalled
        if layer is not self.layer:
            self.hooks.remove()
            self.hooks.before(layer, _picked_inputs)
            self.layer = layer
        with self.hooks.on(picking):
            logits: Tensor = self.model(input_ids=ids, **how).logits
        if picking.calls != 1:
            raise HeadNotCalled
        return logits

    @torch.inference_mode()
    def probe(self, ids: Tensor) -> None:
        """Probe the head once with a few ids: the last column, then the first. The result shows whether the
        head is called, and whether it depends on the order.
        """
        if self.picks is not None or ids.shape[1] < 2:
            return
        ids = ids[:1, :PROBED]
        at = torch.tensor([[ids.shape[1] - 1, 0]], device=ids.device)[:, : ids.shape[1] - 1]
        expected = picked(self.model(input_ids=ids).logits, at)
        try:
            computed = self.pick_states(ids, lambda states: picked(states, at))
        # Code that needs all positions may raise any error. From now on it is called with all positions.
        except Exception:
            self.picks = False
        else:
            self.picks = computed.shape == expected.shape and near(computed, expected)


@dataclass(slots=True)
class _Picking:
    """One call of the model: the shape of its ids, the selection, and how often the head was called."""

    shape: torch.Size
    pick: PickColumns
    calls: int = 0


def _picked_inputs(picking: _Picking, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if (
        not inputs
        or not isinstance(inputs[0], Tensor)
        or inputs[0].dim() != 3
        or inputs[0].shape[:2] != picking.shape
    ):
        return None
    picking.calls += 1
    return (picking.pick(inputs[0]), *inputs[1:])


class HeadNotCalled(Exception):
    """The head was not called exactly once with the hidden states of the canvas."""


def picked(states: Tensor, at: Tensor) -> Tensor:
    """`states [b, L, D]` at the columns `at [b, W]`."""
    return states.gather(1, at.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def near(computed: Tensor, expected: Tensor) -> bool:
    """Whether two computations of the same logits differ only by rounding."""
    bound = ROUNDING.get(expected.dtype, ROUNDING_OF_HALVES) * float(expected.abs().max())
    return bool((computed - expected).abs().max() <= bound)


def _layer(model: Any) -> Any:
    try:
        return model.get_output_embeddings()
    # Remote code may lack the method, or leave it unimplemented.
    except (AttributeError, NotImplementedError):
        return None
