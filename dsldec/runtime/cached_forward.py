"""Forwards that reuse keys and values: which columns are input, which cached keys and values they attend to,
and which are stored afterwards.

`prefix` and `dual` are for models that attend to the whole canvas (Fast-dLLM, arXiv:2505.22618). When a row's
window is new, the input is the whole canvas, and the keys and values outside the window are stored until the
next window, or until the policy's `refresh`: left of it (`prefix`), or on both sides (`dual`). From then on
the input is the window alone, with `prefix` also all columns to its right. Cached values grow stale while the
window is written: an approximation. `exact` is for block-causal models. No column left of a block attends to
it, so keys and values of blocks that are written never change. They are stored in the forward after the
block's last token. The input of that forward contains the block anyway, so no extra forward is needed. The
whole blocks of a prompt are computed once, before the first forward.

Drafts use the cache of their row. Where a draft is the first one in a new window or after a `refresh`, its
input is the whole canvas, as without drafts. No further draft follows it in that forward: it would need keys
and values that are not stored yet. So drafts change no result with a cache either. Shapes: B rows, L canvas
length, W columns of logits, V vocabulary, R rows of the input. Not here: attention (`models.kv_cache`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..backends.on_device import on_device
from ..diagnostics import Diagnostic, UsageError
from ..models.denoiser import capability, kv_cache_of
from ..models.kv_cache import InputRows
from ..plan import Plan
from ..spelling import option
from .forward import Forward, WindowBounds, called
from .logits import as_logits
from .rows import Rows

NOWHERE = -1  # where the first column of a window would be


@dataclass(frozen=True, slots=True)
class RowInput:
    """The input of one row: columns `begin` to `end`, of its request's `length`. They attend to cached keys
    and values of columns before `left` and from `right` on. `keeps`: ranges of columns, from and to, whose
    keys and values may be stored; `window`: the first column of the window.
    """

    row: int
    begin: int
    end: int
    left: int
    right: int
    length: int
    window: int
    keeps: tuple[tuple[int, int], ...]


class CachedForward(Forward):
    """A forward that attends to keys and values of earlier forwards. `kind`: `prefix`, `dual` or `exact`."""

    waits = True  # the host reads the places of the windows once in each forward: the input has their width

    def __init__(self, denoiser: Any, rows: Rows, guidance: float | None, drafts: int, kind: str) -> None:
        super().__init__(denoiser, rows, guidance, "batch", drafts)
        self.refreshes = kind != "exact"  # `exact` keys and values are never stale
        self.kind, self.block_length = kind, getattr(denoiser, "block_length", None) or 1
        self.looks = min(rows.longest, self.ahead if kind == "exact" else rows.positions)
        self.views = [
            called(kv_cache_of, denoiser, len(rows.start), rows.longest) for _ in range(self.rows_per_draft)
        ]
        self.window = [NOWHERE] * len(
            rows.start
        )  # first column of the window that each row's keys and values were stored for
        self.edge = [0] * len(rows.start)  # `exact`: the column after the last stored one
        self.refresh: Callable[[], Tensor] | None = None  # of the next forward, see `compute_anew`
        self.inputs: list[RowInput] = []  # of the last forward
        self.place: dict[int, int] = {}  # in the last call, of the inputs that may be stored

    def __call__(
        self, canvases: Tensor, which: Sequence[int], index: Tensor, windows: WindowBounds
    ) -> tuple[Tensor, Tensor | None]:
        """See `Forward`. Rows that may store keys and values are the input of a second call, after the other
        rows.
        """
        start, end = windows()
        # One read, and so one wait on a GPU: the width of the input follows from it.
        anew = torch.zeros_like(start) if self.refresh is None else self.refresh().to(start)
        places = torch.stack([start, end, anew], 1).tolist()
        self.inputs = [
            self._whole(row, *window) if refresh else self._input(row, *window)
            for row, (*window, refresh) in zip(which, places, strict=True)
        ]
        at = start.unsqueeze(1) + torch.arange(self.looks, device=start.device)
        parts = [list(range(len(which)))]
        if self.kind != "exact":
            parts = [
                part
                for part in (
                    [i for i, row_input in enumerate(self.inputs) if bool(row_input.keeps) is new]
                    for new in (False, True)
                )
                if part
            ]
        self.place = {i: n for n, i in enumerate(parts[-1])}
        if len(parts) == 1:
            return self._call(self.inputs, canvases, index, at), start
        order = [i for part in parts for i in part]
        numbers = on_device(order, start.device)
        chosen, back = numbers.split([len(part) for part in parts]), numbers.argsort()
        logits = [
            self._call([self.inputs[i] for i in part], canvases[here], index[here], at[here])
            for part, here in zip(parts, chosen, strict=True)
        ]
        return torch.cat(logits)[back], start

    def may_draft(self, start: Tensor, refresh: Tensor | None) -> Tensor | None:
        if self.kind == "exact":
            return None
        stored = self.rows.begin + start == on_device(self.window, start.device)
        return stored if refresh is None else stored & ~refresh

    def compute_anew(self, rows: Callable[[], Tensor] | None) -> None:
        self.refresh = rows if self.refreshes else None

    def keep(self, source: Tensor) -> None:
        if not any(one.keeps for one in self.inputs):
            return
        stored = {one.row: i for i, one in enumerate(self.inputs)}
        # Of several drafts of a row, the host reads which one goes on.
        if len(stored) < len(self.inputs) or source.device.type == "cpu":
            stored = {
                row: i
                for row, i in enumerate(source.tolist())
                if i < len(self.inputs) and self.inputs[i].row == row
            }
        self._keep(
            {row: (self.place[i], self.inputs[i]) for row, i in stored.items() if self.inputs[i].keeps}
        )

    def admit(self, rows: Sequence[int]) -> None:
        """Empties the cache of these rows; `exact`: computes the whole blocks of their prompts."""
        for row in rows:
            self.window[row], self.edge[row] = NOWHERE, 0
        begins = {row: self.rows.requests[row].begin // self.block_length * self.block_length for row in rows}
        inputs = [
            RowInput(row, 0, begin, 0, begin, begin, begin, ((0, begin),))
            for row, begin in begins.items()
            if self.kind == "exact" and begin
        ]
        if not inputs:
            return
        index = on_device([one.row for one in inputs], self.rows.device)
        self._call(inputs, self.rows.start[index], index, torch.zeros_like(index).unsqueeze(1))
        self._keep({one.row: (n, one) for n, one in enumerate(inputs)})

    def _input(self, row: int, start: int, end: int) -> RowInput:
        """The input of a row with a window from column `start` to `end`."""
        length = self.rows.requests[row].columns
        if self.kind == "exact":
            edge, final = self.edge[row], start - start % self.block_length
            until = min(start + self.looks, self.rows.requests[row].region.stop)
            until = min(length, -(-until // self.block_length) * self.block_length)
            return RowInput(row, edge, until, edge, length, length, start, ((edge, final),))
        if self.window[row] != start:
            return self._whole(row, start, end)
        return RowInput(
            row,
            start,
            *((end, start, end) if self.kind == "dual" else (length, start, length)),
            length,
            start,
            (),
        )

    def _whole(self, row: int, start: int, end: int) -> RowInput:
        """The whole canvas of a row. Keys and values outside the window are stored."""
        length = self.rows.requests[row].columns
        keeps = ((0, start), (end, length)) if self.kind == "dual" else ((0, start),)
        return RowInput(row, 0, length, 0, length, length, start, keeps)

    def _call(self, inputs: Sequence[RowInput], canvases: Tensor, index: Tensor, at: Tensor) -> Tensor:
        """Logits `[R, W, V]` of some rows at columns `[R, W]`. Columns after the input get the logits of its
        last column.
        """
        numbers = [[one.begin, one.end - one.begin, one.left, one.right, one.length] for one in inputs]
        begin, tokens, left, right, length = on_device(numbers, canvases.device).unbind(1)
        rows = InputRows(begin, tokens, index, left, right, length)
        width = max(one.end - one.begin for one in inputs)
        return self._logits_of(canvases, rows, width, at.minimum((begin + tokens).unsqueeze(1) - 1))

    def _logits_of(self, canvases: Tensor, rows: InputRows, width: int, places: Tensor) -> Tensor:
        """Logits `[R, W, V]` at columns `[R, W]` of inputs of `width` columns."""
        device, index = canvases.device, rows.rows
        at = rows.first.unsqueeze(1) + torch.arange(width, device=device)
        columns = at.clamp(max=canvases.shape[1] - 1)
        views = [canvases] if self.guidance is None else [canvases, self.without_prompt(canvases, index)]
        logits_of_views = []
        for view, cache in zip(views, self.views, strict=True):
            logits = called(cache, view.gather(1, columns), rows, columns=places)
            logits_of_views.append(
                as_logits(logits, places.shape[0], places.shape[1], self.denoiser.vocab_size, device)
            )
        return logits_of_views[0] if self.guidance is None else self.guided(*logits_of_views)

    def _keep(self, stored: Mapping[int, tuple[int, RowInput]]) -> None:
        """Stores keys and values of the last call. `stored`: for some rows of the batch, the place in the
        call and the input.
        """
        everywhere = range(len(self.rows.start))
        source = [stored[row][0] if row in stored else 0 for row in everywhere]
        for side in range(max((len(row_input.keeps) for _, row_input in stored.values()), default=0)):
            ranges = [stored[row][1].keeps[side] if row in stored else (0, 0) for row in everywhere]
            begin, end = ([one[which] for one in ranges] for which in (0, 1))
            if begin != end:
                numbers = on_device([source, begin, end], self.rows.device)
                for cache in self.views:
                    called(cache.store, *numbers)
        for row, (_, row_input) in stored.items():
            self.window[row], self.edge[row] = row_input.window, row_input.keeps[0][1]


def resolve_cache(name: str, denoiser: Any, plan: Plan, packing: str) -> str:
    """The cache for a model and a policy. `auto` is `exact` where the model supports it, else `none`.

    Raises `UsageError` (E0414) for a cache that the model or the policy does not support.
    """
    in_blocks = getattr(denoiser, "block_length", None) is not None
    if name == "auto":
        return "exact" if in_blocks and packing == "batch" and _has_cache(denoiser) else "none"
    if name != "none" and (problem := _refused(name, denoiser, plan, packing, in_blocks)):
        message, help = problem
        raise UsageError(Diagnostic("E0414", f"the cache `{name}` cannot be used: {message}", help=help))
    if name != "none":
        kv_cache_of(denoiser, 1, 1)  # raises where the model's code does not allow it
    return name


def _has_cache(denoiser: Any) -> bool:
    try:
        return kv_cache_of(denoiser, 1, 1) is not None
    except UsageError:
        return False


def _refused(name: str, denoiser: Any, plan: Plan, packing: str, in_blocks: bool) -> tuple[str, str] | None:
    """Why a cache cannot be used, and the correction."""
    if capability(denoiser, "kv_cache") is None:
        return (
            "this denoiser has no KV cache",
            f"load the model with `from_pretrained`, or decode without: {option('cache', 'none')}",
        )
    if name == "exact" and not in_blocks:
        return (
            "the model sees the whole canvas, so keys and values change with every written token",
            f"{option('cache', 'prefix')} or {option('cache', 'dual')} use those of the last window: an approximation",
        )
    if name != "exact" and in_blocks:
        return (
            "the model is block-causal, so that an exact cache is possible",
            f"write {option('cache', 'exact')}",
        )
    if name not in plan.caches and plan.noise and plan.window != "sliding":
        return (
            "the positions to the right of the window show other random ids in each step (`noise uniform`)",
            f"write {option('cache', 'prefix')}",
        )
    if name not in plan.caches:
        return (
            "the policy's window slides at every step, so that the cache would be recomputed at every step",
            f"{option('cache', 'none')}, or a policy that writes in `window blocks(n)`",
        )
    if packing != "batch":
        return (
            f"{option('verify_rows', 'sequential')} forwards each row alone, without a cache",
            f"write {option('verify_rows', 'batch')}",
        )
    return None
