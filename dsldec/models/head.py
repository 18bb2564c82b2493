"""Logits only where they are read: the language-model head of a model is fed some columns of the canvas, not
all.

The head is the one matrix that grows with the vocabulary; of a canvas a step reads a window. A hook on the
head picks the hidden states; where a model computes its logits elsewhere (a tied weight without a module, a
head that wants every position), all of them are computed and picked from: the same logits, later. Which of
both it is a call of a few tokens tells, once.

Shapes: b rows, L positions of the canvas, W of them chosen, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PROBED = 8  # positions of the call that tells
# Of the largest logit: a product of fewer rows may be summed in another order.
ROUNDING = {torch.float32: 1e-4, torch.float64: 1e-4}
ROUNDING_OF_HALVES = 3e-2

Pick = Callable[[Tensor], Tensor]


class Head:
    """A model, called for chosen columns. `picks`: whether they are picked before its head; None while that
    was not asked.
    """

    def __init__(self, model: Any, picks: bool | None = None) -> None:
        self.model, self.picks = model, picks

    def __call__(self, ids: Tensor, at: Tensor, **how: Any) -> Tensor:
        """Logits `[b, W, V]` of `ids [b, L]` at the columns `at [b, W]`."""
        self.ask(ids)
        if self.picks:
            try:
                return self.fed(ids, lambda states: picked(states, at), **how)
            except NotMetError:
                self.picks = False
        return picked(self.model(input_ids=ids, **how).logits, at)

    def fed(self, ids: Tensor, pick: Pick, **how: Any) -> Tensor:
        """Logits of what `pick` makes of the hidden states `[b, L, D]`. Raises `NotMetError` where the head
        is not what gives them.
        """
        layer, met = _layer(self.model), 0

        def hook(_: Any, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
            nonlocal met
            if (
                not given
                or not isinstance(given[0], Tensor)
                or given[0].dim() != 3
                or given[0].shape[:2] != ids.shape
            ):
                return None
            met += 1
            return (pick(given[0]), *given[1:])

        if layer is None:
            raise NotMetError
        handle = layer.register_forward_pre_hook(hook)
        try:
            logits: Tensor = self.model(input_ids=ids, **how).logits
        finally:
            handle.remove()
        if met != 1:
            raise NotMetError
        return logits

    @torch.inference_mode()
    def ask(self, ids: Tensor) -> None:
        """Feed some of these ids, once: the last column, then the first; a head that is not fed so, or minds
        the order, shows.
        """
        if self.picks is not None or ids.shape[1] < 2:
            return
        ids = ids[:1, :PROBED]
        at = torch.tensor([[ids.shape[1] - 1, 0]], device=ids.device)[:, : ids.shape[1] - 1]
        expected = picked(self.model(input_ids=ids).logits, at)
        try:
            given = self.fed(ids, lambda states: picked(states, at))
        # Code that wants all positions raises whatever it likes, and is called with all of them from now on.
        except Exception:
            self.picks = False
        else:
            self.picks = given.shape == expected.shape and near(given, expected)


class NotMetError(Exception):
    """The head was not called once with the hidden states of the canvas."""


def picked(states: Tensor, at: Tensor) -> Tensor:
    """`states [b, L, D]` at the columns `at [b, W]`."""
    return states.gather(1, at.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def near(given: Tensor, expected: Tensor) -> bool:
    """Whether two computations of the same logits differ by no more than rounding."""
    bound = ROUNDING.get(expected.dtype, ROUNDING_OF_HALVES) * float(expected.abs().max())
    return bool((given - expected).abs().max() <= bound)


def _layer(model: Any) -> Any:
    try:
        return model.get_output_embeddings()
    # Code of a model's own may lack it, or leave it to be written.
    except (AttributeError, NotImplementedError):
        return None
