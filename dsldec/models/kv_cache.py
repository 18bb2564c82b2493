"""How are keys and values cached between calls of a model? Input tokens attend to cached keys and values of
the other positions.

A denoiser is called again and again with a canvas that has changed little. With a KV cache, the input of a
call is only the part that changes. The cache is an approximation where the input would have changed the keys
and values of other positions (dKV-Cache, arXiv:2505.15781; Fast-dLLM, arXiv:2505.22618). In a block-causal
model it is exact.

A probe shows whether a model can be called so: one call with a few tokens, compared with the plain call.

Not here: how a model's attention is intercepted (`attention_hooks`), the decision which rows are input and
cached when (`runtime`).

Shapes: R input rows, W tokens of each, C columns of a canvas, H key heads, D head size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diagnostics import Diagnostic, UsageError
from ..spelling import option
from .attention_hooks import HOOKS, AttentionHook, UnsupportedAttention
from .head import Head, near, picked
from .shifted import before

LENGTH = 24  # tokens of the canvas for the probe
# Reasons after which another hook may still fit the model.
NOT_INTERCEPTED, NO_POSITIONS = "computes attention in its own way", "takes no position ids"


@dataclass
class _CachedAttention:
    """One call. `places [R, W]`: the columns of the new keys, C for padding. `new` grows layer by layer."""

    columns: Tensor
    places: Tensor
    seen: Tensor
    rows: Tensor
    memory: KVCache
    new: list[tuple[Tensor, ...]] = field(default_factory=list)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None
    ) -> Tensor:
        cached = self.memory.layer(len(self.new), key, value)
        self.new.append((key, value))
        keys, values = (self._among(*pair) for pair in zip(cached, (key, value), strict=True))
        groups = query.shape[1] // key.shape[1]
        return F.scaled_dot_product_attention(
            query, _repeated(keys, groups), _repeated(values, groups), mask, scale=scaling
        )

    def _among(self, cached: Tensor, new: Tensor) -> Tensor:
        """The cached tensor of each row, `[R, H, C, D]`, with the new values in place of the old ones."""
        whole = cached.index_select(0, self.rows)
        return whole.scatter_(2, _along(self.places, new), new)[:, :, :-1]


class InputRows(NamedTuple):
    """The input rows of one call, each field `[R]` int64.

    Input row i holds `tokens[i]` tokens at the columns from `first[i]` on; the rest is padding. It attends to
    cached keys and values of row `rows[i]` at the columns c < `left[i]` and `right[i]` <= c < `lengths[i]`;
    in a block-causal model, only to its own block and the blocks before it.
    """

    first: Tensor
    tokens: Tensor
    rows: Tensor
    left: Tensor
    right: Tensor
    lengths: Tensor


class KVCache:
    """Keys and values of every layer, for `rows` rows of at most `length` columns.

    Columns count from the start of a row's canvas, prompt included. All arguments of the methods are int64
    tensors on the model's device. The host reads none of them.
    """

    def __init__(self, denoiser: Any, hook: AttentionHook, rows: int, length: int) -> None:
        self.denoiser, self.hook, self.rows, self.length = denoiser, hook, rows, length
        self.block_length: int | None = getattr(denoiser, "block_length", None)
        self._layers: list[tuple[Tensor, ...]] = []
        # The memory of the layers, `[N, rows, H, C + 1, D]` for N tensors of one form, and their places:
        # layer and place in the layer.
        self._memory: list[tuple[Tensor, list[tuple[int, int]]]] = []
        # Places and new keys and values of the last call. Not the call itself: it refers to this object, and
        # a circle would keep the memory until Python collects it.
        self._last: tuple[Tensor, list[tuple[Tensor, ...]]] | None = None

    @property
    def layers(self) -> int:
        """Number of layers, 0 before the first call. The input of the head is cached as one more layer with
        one tensor; it does not count.
        """
        return sum(len(layer) == 2 for layer in self._layers)

    @property
    def bytes(self) -> int:
        """Memory in bytes, 0 before the first call."""
        return sum(tensor.numel() * tensor.element_size() for layer in self._layers for tensor in layer)

    @torch.inference_mode()
    def __call__(
        self,
        ids: Tensor,
        inputs: InputRows,
        columns: Tensor | None = None,
    ) -> Tensor:
        """Logits `[R, W, V]` of `ids [R, W]`, or `[R, W', V]` at `columns [R, W']`, which are columns of the
        input. The tokens of an input row attend to one another and to cached columns of their row.
        """
        self._last = None
        call = self._call(ids.shape[1], inputs)
        with self.hook.intercept(call):
            logits = self._logits(
                ids,
                call,
                call.columns if columns is None else columns,
                self.hook.arguments(call, self.block_length is not None),
            )
        self._last = call.places, call.new
        possible: Tensor = self.denoiser.without_never(logits)
        return possible

    @torch.inference_mode()
    def store(self, source: Tensor, begin: Tensor, end: Tensor) -> None:
        """Cache the keys and values of the last call. Row r stores the columns `begin[r]` <= c < `end[r]` of
        input row `source[r]`. All arguments `[rows]`.
        """
        if self._last is None:
            raise RuntimeError("`store` needs a call before it")
        places, last = self._last[0].index_select(0, source), self._last[1]
        places = torch.where(
            (places >= begin.unsqueeze(1)) & (places < end.unsqueeze(1)), places, self.length
        )
        if not self._memory:
            self._allocate()
        # All layers at once: a GPU would launch hundreds of small kernels.
        for memory, members in self._memory:
            new = torch.stack([last[layer][place] for layer, place in members]).index_select(1, source)
            # A hidden column has the attention weight 0, but 0 times NaN is NaN.
            new = new.nan_to_num_(0.0, 0.0, 0.0)
            memory.scatter_(3, _along(places, new[0]).expand_as(new), new)

    def _allocate(self) -> None:
        forms: dict[tuple[object, ...], list[tuple[int, int]]] = {}
        for layer, tensors in enumerate(self._layers):
            for place, one in enumerate(tensors):
                forms.setdefault((one.shape, one.dtype), []).append((layer, place))
        layers = [list(tensors) for tensors in self._layers]
        for members in forms.values():
            one = self._layers[members[0][0]][members[0][1]]
            memory = one.new_zeros(len(members), *one.shape)
            self._memory.append((memory, members))
            for tensor, (layer, place) in zip(memory, members, strict=True):
                layers[layer][place] = tensor
        self._layers = [tuple(tensors) for tensors in layers]

    def layer(self, index: int, *new: Tensor) -> tuple[Tensor, ...]:
        """The cached tensors of a layer, `[rows, H, C + 1, D]` for each of `new [R, H, W, D]`. The last
        column takes values that are not stored. Before the first `store`, one zero stands for all values.
        """
        if index == len(self._layers):
            shapes = [(self.rows, one.shape[1], self.length + 1, one.shape[3]) for one in new]
            self._layers.append(
                tuple(one.new_zeros(()).expand(shape) for one, shape in zip(new, shapes, strict=True))
            )
        return self._layers[index]

    def _call(self, width: int, inputs: InputRows) -> _CachedAttention:
        rows = inputs.rows
        first, count, left, right, lengths = (
            each.unsqueeze(1)
            for each in (inputs.first, inputs.tokens, inputs.left, inputs.right, inputs.lengths)
        )
        at, step = (torch.arange(size, device=rows.device) for size in (self.length, width))
        # Padding gets the column of a real token, so that it has a valid position and something to attend to.
        columns = (first + torch.minimum(step, (count - 1).clamp(min=0))).clamp(max=self.length - 1)
        places = torch.where(step < count, columns, self.length)
        input_columns = (at >= columns[:, :1]) & (at <= columns[:, -1:])
        seen = (input_columns | (at < left) | ((at >= right) & (at < lengths)))[:, None, None]
        if self.block_length is not None:
            seen = seen & (at // self.block_length <= columns.unsqueeze(-1) // self.block_length).unsqueeze(1)
        return _CachedAttention(columns, places, seen, rows, self)

    def _logits(self, ids: Tensor, call: _CachedAttention, at: Tensor, how: dict[str, Any]) -> Tensor:
        head: Head = self.denoiser.head
        if self.denoiser.shift_logits:
            return head.pick_states(ids, lambda states: self._one_before(states, call, at), **how)
        places = (at - call.columns[:, :1]).clamp(0, ids.shape[1] - 1)
        if head.picks:
            return head.pick_states(ids, lambda states: picked(states, places), **how)
        return picked(self.denoiser.model(input_ids=ids, **how).logits, places)

    def _one_before(self, states: Tensor, call: _CachedAttention, at: Tensor) -> Tensor:
        """Hidden states that predict the columns `at`. The state before the first input column is cached as
        one more layer.
        """
        first = call.columns[:, :1]
        new = states.unsqueeze(1)
        (cached,) = self.layer(len(call.new), new)
        call.new.append((new,))
        earlier = cached[:, 0].index_select(0, call.rows)
        earlier = picked(earlier, (first - 1).clamp(min=0))
        return picked(torch.cat([earlier, states], dim=1), (before(at) - first + 1).clamp(0, states.shape[1]))


def attention_hook_of(denoiser: Any) -> AttentionHook:
    """The hook that intercepts this model's attention. Each hook is tried, and the results are compared.
    Raises `UsageError` (E0414) where none fits.
    """
    refusal = ""
    for kind in HOOKS:
        hook = kind(denoiser.model)
        reason = _why_not(denoiser, hook)
        if not reason:
            return hook
        refusal = refusal if refusal not in ("", NOT_INTERCEPTED) else reason
        if reason not in (NOT_INTERCEPTED, NO_POSITIONS):
            break
    message = (
        f"the keys and values of this model ({type(denoiser.model).__name__}) cannot be cached: it {refusal}"
    )
    raise UsageError(Diagnostic("E0414", message, help=f"decode without a cache: {option('cache', 'none')}"))


def _why_not(denoiser: Any, hook: AttentionHook) -> str:
    try:
        return _differs(denoiser, hook)
    except UnsupportedAttention as error:
        return str(error)
    # A model's own code may raise any error for arguments beside ids.
    except Exception as error:
        if isinstance(error, TypeError) and "position_ids" in str(error):
            return NO_POSITIONS
        why = (str(error).strip().splitlines() or [""])[0]
        return f"does not take the necessary arguments ({type(error).__name__}: {why})"


@torch.inference_mode()
def _differs(denoiser: Any, hook: AttentionHook) -> str:
    """Compare a plain call with cached calls: two whole canvases, then a third of each, in reverse order and
    one column apart.
    """
    ids = _canvases(denoiser)
    length = ids.shape[1]
    if length < 6:
        return f"takes only {length} tokens, too few for a cache"
    denoiser.head.probe(ids)
    if denoiser.shift_logits and not denoiser.head.picks:
        return "computes shifted logits outside of its head"
    memory = KVCache(denoiser, hook, 2, length)

    def all_of(value: int) -> Tensor:
        return torch.full((2,), value, device=ids.device)

    both, nothing, whole = torch.arange(2, device=ids.device), all_of(0), all_of(length)
    plain = denoiser(ids)
    full = memory(ids, InputRows(nothing, whole, both, nothing, whole, whole))
    if not memory.layers:
        return NOT_INTERCEPTED
    if not plain.isfinite().all():
        return "gives logits that are not finite"
    if not near(full, plain):
        return "does not use the given position ids"
    memory.store(both, nothing, whole)
    width, rows = length // 3, both.flip(0)
    first = torch.tensor([width, width + 1], device=ids.device)
    at = first.unsqueeze(1) + torch.arange(width, device=ids.device)
    part = memory(ids[rows].gather(1, at), InputRows(first, all_of(width), rows, first, first + width, whole))
    if not near(part, picked(full[rows], at)):
        return "depends on more of the canvas than its attention shows"
    return ""


def _canvases(denoiser: Any) -> Tensor:
    """Two canvases of ordinary ids. Some models derive positions from padding ids, so those are avoided."""
    avoid = {denoiser.mask_id, getattr(denoiser.model.config, "pad_token_id", None), *denoiser.stop_ids}
    ordinary = [one for one in range(min(denoiser.vocab_size, 64 + len(avoid))) if one not in avoid] or [0]
    length = max(LENGTH, 3 * (getattr(denoiser, "block_length", None) or 0))
    length = min(length, length if denoiser.max_length is None else denoiser.max_length)
    rows = [[ordinary[(at * 7 + row * 3) % len(ordinary)] for at in range(length)] for row in range(2)]
    return torch.tensor(rows, device=denoiser.device)


def _along(places: Tensor, new: Tensor) -> Tensor:
    """`places [R, W]` as an index into `new [R, H, W, D]`."""
    return places[:, None, :, None].expand_as(new)


def _repeated(one: Tensor, groups: int) -> Tensor:
    """`[R, H, C, D]` with each head repeated once per query of its group."""
    return one if groups == 1 else one.repeat_interleave(groups, dim=1)
