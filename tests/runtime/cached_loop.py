"""How does a decoder with the cache `prefix` or `dual` proceed? A loop over single canvases.

One row, one list of tokens a canvas; every forward is whole, and the keys and values of columns outside the
input are replaced by the cached ones (Fast-dLLM, arXiv:2505.22618). Positions count from 0 for the first
generated one. Not here: policies, batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..published import rules
from ..published.freedave_loop import Static
from ..published.rules import Canvas, Seen, best, blocks, masks, write
from .families import WIDTH
from .keeping import GRID, Layers, even

Views = tuple[int, int]  # the columns that are fed: from, to
Fed = tuple[bool, Views, list[int]]  # whether that is in a window that is new, which columns, and their ids


@dataclass
class Whole:
    """Every forward computes the whole canvas; keys and values of columns that are not fed are replaced by
    those that were kept.
    """

    denoiser: Any
    prompt: list[int]
    cache: str

    def ids(self, canvas: Canvas) -> list[int]:
        return [*self.prompt, *(self.denoiser.mask_id if id_ is None else id_ for id_ in canvas)]

    def fed(self, canvas: Canvas, window: range, kept: range | None) -> Views:
        """The columns fed for a canvas in a window, where keys and values were kept for some window."""
        first, length = len(self.prompt), len(self.prompt) + len(canvas)
        if window != kept:
            return 0, length
        return first + window.start, first + window.stop if self.cache == "dual" else length

    def see(self, canvas: Canvas, fed: Views, old: Any) -> tuple[Seen, Any]:
        logits, new = self.logits(canvas, fed, old)
        return rules.seen(logits[len(self.prompt) :], self.denoiser.mask_id), new

    def logits(self, canvas: Canvas, fed: Views, old: Layers) -> tuple[Tensor, Layers]:
        ids = self.ids(canvas)
        fresh = torch.tensor([[fed[0] <= column < fed[1]] for column in range(len(ids))])
        model, new = self.denoiser, []
        hidden = even(model.places[: len(ids)])
        for i, (query, key, value, out, up, down) in enumerate(model.layers):
            with_tokens = hidden + model.context * model.tokens[ids]
            keys, values = with_tokens @ key, with_tokens @ value
            if not fresh.all():
                keys, values = torch.where(fresh, keys, old[i][0]), torch.where(fresh, values, old[i][1])
            new.append((keys, values))
            attention = ((with_tokens @ query) @ keys.T / math.sqrt(WIDTH)).softmax(-1)
            hidden = even(hidden + attention @ values @ out)
            hidden = even(hidden + torch.nn.functional.gelu(hidden @ up) @ down)
        return (hidden @ model.head * GRID).round().float() / GRID, new


class Guided(Whole):
    """Away, by half, from what is said where the prompt is masked; that has keys and values of its own."""

    def logits(self, canvas: Canvas, fed: Views, old: Any) -> tuple[Tensor, Any]:
        views = (self, Whole(self.denoiser, [self.denoiser.mask_id] * len(self.prompt), self.cache))
        (said, new), (without, other) = (
            Whole.logits(view, canvas, fed, old[i] if old else []) for i, view in enumerate(views)
        )
        return without + 1.5 * (said - without), (new, other)


@dataclass(frozen=True)
class Threshold:
    """The masks of the first block that has any that are as sure as this, or the surest; the row ends when it
    is full, or with its text.
    """

    confidence: float
    block: int
    eos: int | None = None

    def after(self, canvas: Canvas, seen: Seen) -> Canvas:
        new = list(canvas)
        m = masks(canvas, next(window for window in blocks(len(canvas), self.block) if masks(canvas, window)))
        write(new, [i for i in m if seen.conf[i] >= self.confidence] or best(m, seen.conf), seen.token)
        return new

    is_finished = Static.is_finished


Rule = Static | Threshold


def window_of(canvas: Canvas, block: int) -> range:
    return next(window for window in blocks(len(canvas), block) if masks(canvas, window))


@dataclass
class Run:
    """What a loop came to: the canvas after each step, and what was fed in each forward."""

    canvas: Canvas
    path: list[Canvas] = field(default_factory=list)
    fed: list[list[Fed]] = field(default_factory=list)
    proposed: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)


def slow(whole: Whole, length: int, rule: Rule) -> Run:
    """Block by block: the first forward of a block is whole, those after it are of the block, and with
    `prefix` of all to its right.
    """
    run = Run([None] * length)
    for window in blocks(length, rule.block):
        kept, old = None, []
        while masks(run.canvas, window) and not rule.is_finished(run.canvas):
            fed = whole.fed(run.canvas, window, kept)
            run.fed.append([(kept is None, fed, whole.ids(run.canvas)[slice(*fed)])])
            seen, new = whole.see(run.canvas, fed, old)
            if kept is None:
                kept, old = window, new
            run.canvas = rule.after(run.canvas, seen)
            run.path.append(run.canvas)
    return run


def slow_ahead(whole: Whole, length: int, rule: Rule, drafts: int) -> Run:
    """With drafts, none of them behind the first canvas of a window that is not the one that keys and values
    were kept for.
    """
    run = Run([None] * length, proposed=[0] * (drafts - 1), accepted=[0] * (drafts - 1))
    kept, old, said = None, [], None
    while not rule.is_finished(run.canvas):
        ahead = [run.canvas]
        while (
            len(ahead) < drafts
            and said is not None
            and not rule.is_finished(ahead[-1])
            and window_of(ahead[-1], rule.block) == kept
        ):
            run.proposed[len(ahead) - 1] += 1
            ahead.append(rule.after(ahead[-1], said))
        windows = [window_of(canvas, rule.block) for canvas in ahead if not rule.is_finished(canvas)]
        fed = [whole.fed(canvas, window, kept) for canvas, window in zip(ahead, windows, strict=False)]
        run.fed.append(
            [(windows[i] != kept, one, whole.ids(ahead[i])[slice(*one)]) for i, one in enumerate(fed)]
        )
        heard = [whole.see(canvas, one, old) for one, canvas in zip(fed, ahead, strict=False)]
        for at, (said, new) in enumerate(heard):  # noqa: B007  # the last that was true goes on
            run.canvas = rule.after(ahead[at], said)
            run.path.append(run.canvas)
            if at + 1 == len(ahead) or run.canvas != ahead[at + 1]:
                break
            run.accepted[at] += 1
        if windows[at] != kept:
            kept, old = windows[at], new
    return run
