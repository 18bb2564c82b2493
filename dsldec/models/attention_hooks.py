"""How is the attention of a model intercepted? A call receives the queries, keys and values of every layer.

transformers' own models look up their attention function, and their mask function, by a name in their
configuration. During a call the configuration holds our name. The model's mask function (a sliding window,
for example) is evaluated at the columns of the queries and keys in the canvas. Remote code mostly calls
torch's attention function. That function is intercepted where torch calls it. Remote code that takes no
position ids (LLaDA) rotates queries and keys itself. Hooks on its rotary embedding give each token its column
in the canvas.

Not here: the computation with queries, keys and values, and the choice of a hook for a model (`kv_cache`).

Shapes: R rows, H heads, W input tokens, C columns of the canvas, D head size.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .forward_hooks import SwitchedHooks

NAME = "dsldec_kept"
# arguments of attention functions in transformers that a mask cannot express
NOT_IN_A_MASK = ("softcap", "s_aux", "position_bias")


class AttentionCall(Protocol):
    """A call that computes the attention of every layer. The layers come in order."""

    columns: Tensor  # [R, W] the column of each input token
    seen: Tensor  # [R, 1, 1 or W, C] the keys that may be attended to

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None
    ) -> Tensor:
        """Attention output `[R, H, W, D]`. `query, key, value [R, H, W, D]` belong to the input tokens; `mask
        [R, 1, W, C]` covers the canvas.
        """
        ...


class AttentionHook(Protocol):
    """A way to intercept a model's attention. Outside `intercept` the model is unchanged, also after an
    error.
    """

    def arguments(self, call: AttentionCall, blocks: bool) -> dict[str, Any]:
        """Keyword arguments of the model's call beside its ids. `blocks`: the call decides that the model is
        block-causal; the model's own mask does not count.
        """
        ...

    def intercept(self, call: AttentionCall) -> Any:
        """A context manager. Inside it, this call computes the model's attention."""
        ...


class UnsupportedAttention(Exception):
    """The attention cannot be intercepted. The message says how the model computes it."""


class ByInterface:
    """Intercepts through the attention interface of transformers."""

    def __init__(self, model: Any) -> None:
        _register()
        configs: list[Any] = [getattr(module, "config", None) for module in model.modules()]
        self.configs = {id(one): one for one in configs if hasattr(one, "_attn_implementation")}.values()

    def arguments(self, call: AttentionCall, blocks: bool) -> dict[str, Any]:
        # transformers passes a mask of four dimensions to every layer and does not call the model's mask
        # function.
        return {"position_ids": call.columns} | ({"attention_mask": call.seen} if blocks else {})

    @contextmanager
    def intercept(self, call: AttentionCall) -> Iterator[None]:
        token = _CALL.set(call)
        try:
            with _named_ours(self.configs):
                yield
        finally:
            _CALL.reset(token)


class ByTorch:
    """Intercepts torch's attention function in remote code that takes position ids."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def arguments(self, call: AttentionCall, blocks: bool) -> dict[str, Any]:
        return {"position_ids": call.columns}

    @contextmanager
    def intercept(self, call: AttentionCall) -> Iterator[None]:
        with _Attentive(call):
            yield


class ByTorchAndRotary(ByTorch):
    """Intercepts torch's attention function in remote code whose rotary embedding takes the first query and
    key for those of column 0. The hooks on the rotary embeddings stay until this object is freed.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.hooks = SwitchedHooks()
        for module in model.modules():
            if _turns(module):
                self.hooks.before(module, _before_rotary)
                self.hooks.after(module, _after_rotary)

    def __getstate__(self) -> Any:
        return (self.model,)

    def __setstate__(self, state: Any) -> None:
        self.__init__(*state)  # type: ignore[misc]  # the hooks of the original do nothing in a copy

    def arguments(self, call: AttentionCall, blocks: bool) -> dict[str, Any]:
        return {}

    @contextmanager
    def intercept(self, call: AttentionCall) -> Iterator[None]:
        with super().intercept(call), self.hooks.on(call):
            yield


HOOKS: tuple[Callable[[Any], AttentionHook], ...] = (ByInterface, ByTorch, ByTorchAndRotary)

_CALL: ContextVar[AttentionCall | None] = ContextVar("_CALL", default=None)


@dataclass(slots=True)
class _Renamed:
    """The name that a configuration holds outside of our calls, and the number of calls."""

    name: str
    calls: int = 0


_LOCK = threading.Lock()
_RENAMED: dict[int, _Renamed] = {}  # by the id of the configuration, while calls hold it


@contextmanager
def _named_ours(configs: Collection[Any]) -> Iterator[None]:
    """Inside, the configurations hold our name. Other threads may be inside too: the last one to leave
    gives the former name back.
    """
    with _LOCK:
        for config in configs:
            _RENAMED.setdefault(id(config), _Renamed(config._attn_implementation)).calls += 1
        # After all names are known: a configuration also renames its parts.
        for config in configs:
            config._attn_implementation = NAME
    try:
        yield
    finally:
        with _LOCK:
            for config in configs:
                renamed = _RENAMED[id(config)]
                renamed.calls -= 1
                if not renamed.calls:
                    config._attn_implementation = _RENAMED.pop(id(config)).name


def _own_name(config: Any) -> str:
    """The name of the attention that a model has outside of our calls."""
    renamed = _RENAMED.get(id(config))
    return str(config._attn_implementation if renamed is None else renamed.name)


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(*_: Any, mask_function: Callable[..., Tensor], **how: Any) -> Tensor:
    """The keys that each query attends to. `mask_function` is the model's; it takes index tensors and
    broadcasts them.
    """
    call = _CALL.get()
    if call is None:  # a plain call of the model, while another thread is inside `intercept`
        from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

        own = ALL_MASK_ATTENTION_FUNCTIONS[_own_name(how["config"])]
        return own(*_, mask_function=mask_function, **how)  # type: ignore[no-any-return]
    rows, width = call.columns.shape
    device = call.columns.device
    at = torch.arange(call.seen.shape[-1], device=device)
    row = torch.arange(rows, device=device)
    head = torch.zeros(1, dtype=torch.int64, device=device)
    allowed = mask_function(row[:, None, None, None], head, call.columns[:, None, :, None], at)
    return (allowed & call.seen).expand(rows, -1, width, -1)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **how: Any,
) -> tuple[Tensor, Any]:
    call = _CALL.get()
    if call is None:  # as in `_mask`
        own = _own_attention(module)
        return own(module, query, key, value, attention_mask, scaling=scaling, **how)  # type: ignore[no-any-return]
    for name in NOT_IN_A_MASK:
        if how.get(name) is not None:
            raise UnsupportedAttention(f"passes `{name}` to attention")
    if attention_mask is None:
        raise UnsupportedAttention("passes no mask to attention")
    return call.attend(query, key, value, attention_mask, scaling).transpose(1, 2).contiguous(), None


def _own_attention(module: Any) -> Callable[..., Any]:
    """The attention function that a module of transformers uses outside of our calls."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    eager = getattr(sys.modules[type(module).__module__], "eager_attention_forward", None)
    return ALL_ATTENTION_FUNCTIONS.get(_own_name(module.config), eager)  # type: ignore[no-any-return]


class _Attentive(TorchFunctionMode):
    """Replaces torch's attention function and no other function."""

    def __init__(self, call: AttentionCall) -> None:
        super().__init__()
        self.call = call

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is not F.scaled_dot_product_attention:
            return function(*args, **(kwargs or {}))
        return self._attend(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
        **newer: Any,
    ) -> Tensor:
        if attn_mask is not None or is_causal:
            raise UnsupportedAttention("passes its own mask to attention")
        if unknown := [name for name, value in newer.items() if value is not None and value is not False]:
            raise UnsupportedAttention(f"passes `{unknown[0]}` to attention")
        if query.dim() != 4 or key.shape[2] != query.shape[2]:
            raise UnsupportedAttention("attends to other keys than those of its input")
        return self.call.attend(query, key, value, self.call.seen, scale)


def _before_rotary(call: AttentionCall, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
    return (*(_spread(one, call) for one in inputs[:2]), *inputs[2:])


def _after_rotary(call: AttentionCall, inputs: Any, turned: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return tuple(one.gather(2, _of_heads(call.columns, one)) for one in turned)


def _turns(module: Any) -> bool:
    """Whether the module is a rotary embedding: its first two parameters are queries and keys. Remote code
    mostly names them `q` and `k`.
    """
    try:
        return list(inspect.signature(module.forward).parameters)[:2] == ["q", "k"]
    # Compiled code may have no signature.
    except (TypeError, ValueError):
        return False


def _spread(one: Tensor, call: AttentionCall) -> Tensor:
    """`[R, H, W, D]` spread to `[R, H, C, D]`: each token at its column. The other columns hold values that
    nothing reads.
    """
    if one.dim() != 4 or one.shape[2] != call.columns.shape[1]:
        raise UnsupportedAttention("rotates other queries and keys than those of its input")
    at = torch.arange(call.seen.shape[-1], device=one.device)
    return one.gather(2, _of_heads((at - call.columns[:, :1]).clamp(0, one.shape[2] - 1), one))


def _of_heads(places: Tensor, one: Tensor) -> Tensor:
    """`places [R, N]` as an index of `one [R, H, W, D]` along W."""
    return places[:, None, :, None].expand(-1, one.shape[1], -1, one.shape[3])
