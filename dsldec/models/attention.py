"""Where a model's attention is met while it is called: queries, keys and values of every layer are handed to a call of ours.

transformers' own models look their attention up by a name that their configuration holds, and their masks likewise: during a call it
is our name. What a model says of who may hear whom (a sliding window) is asked at the columns where queries and keys really stand.

Not here: what is done with queries, keys and values (`kept`).

Shapes: R rows, H heads, W tokens fed, C columns of a canvas, D size of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import Tensor

NAME = "dsldec_kept"
BEYOND_A_MASK = ("softcap", "s_aux", "position_bias")  # of what attention functions of transformers are given


class Meets(Protocol):
    """A call that meets the attention of every layer, in the order in which they come."""

    columns: Tensor  # [R, W] where each token stands
    seen: Tensor  # [R, 1, 1 or W, C] which keys may be seen at all

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None) -> Tensor:
        """`query, key, value [R, H, W, D]` of the tokens fed and `mask [R, 1, W, C]` to what is heard, `[R, H, W, D]`."""
        ...


class OwnWayError(Exception):
    """Attention that cannot be met; the message says how the model computes it."""


_CALL: ContextVar[Meets] = ContextVar("_CALL")


class Attention:
    """The attention of a model of transformers' own. Nothing is changed outside `met`."""

    def __init__(self, model: Any) -> None:
        _register()
        found: list[Any] = [getattr(module, "config", None) for module in model.modules()]
        self.configs = {id(one): one for one in found if hasattr(one, "_attn_implementation")}.values()

    @contextmanager
    def met(self, call: Meets) -> Iterator[None]:
        """Inside, the model's attention is this call's."""
        before = [(config, config._attn_implementation) for config in self.configs]
        token = _CALL.set(call)
        try:
            for config, _ in before:
                config._attn_implementation = NAME
            yield
        finally:
            for config, name in before:
                config._attn_implementation = name
            _CALL.reset(token)


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(*_: Any, mask_function: Callable[..., Tensor], **how: Any) -> Tensor:
    """Which keys each query hears: `mask_function` is the model's, of index tensors that are broadcast."""
    call = _CALL.get()
    rows, width = call.columns.shape
    device = call.columns.device
    at = torch.arange(call.seen.shape[-1], device=device)
    row = torch.arange(rows, device=device)
    head = torch.zeros(1, dtype=torch.int64, device=device)
    own = mask_function(row[:, None, None, None], head, call.columns[:, None, :, None], at)
    return (own & call.seen).expand(rows, -1, width, -1)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float | None = None, **how: Any
) -> tuple[Tensor, None]:
    for name in BEYOND_A_MASK:
        if how.get(name) is not None:
            raise OwnWayError(f"gives its attention a `{name}`")
    if attention_mask is None:
        raise OwnWayError("gives its attention no mask")
    return _CALL.get().attend(query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None
