"""Naive loops on texts in which only some positions are masked: one row, one forward at a time.

Not here: published rules (`tests/published/rules.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..published.rules import Canvas, See, Seen, best, blocks, by_set, masks, seen, write

Rule = Callable[[See, Canvas], Iterator[Canvas]]


@dataclass
class Slow:
    """What a loop ended with: ids, and for each forward which columns it wrote."""

    ids: list[int]
    steps: list[list[int]]

    def counted_from(self, column: int) -> list[list[int]]:
        return [[one - column for one in step] for step in self.steps]


def slowly(denoiser: Any, text: Sequence[int], region: range, rule: Rule, scale: float = 0.0) -> Slow:
    """What a rule makes of a text: masks in the region are written, what is given stays.

    `scale`: of guidance, away from what is said of a text of which nothing is given.
    """
    mask_id, begin, end = denoiser.mask_id, region.start, region.stop
    given = [id_ != mask_id for id_ in text]

    def whole(canvas: Canvas) -> list[int]:
        return [*text[:begin], *[mask_id if id_ is None else id_ for id_ in canvas], *text[end:]]

    def see(canvas: Canvas) -> Seen:
        ids = whole(canvas)
        logits = denoiser(torch.tensor([ids]))[0]
        if scale:
            bare = denoiser(
                torch.tensor([[mask_id if was else id_ for was, id_ in zip(given, ids, strict=True)]])
            )[0]
            logits = bare + (scale + 1) * (logits - bare)
        return seen(logits[begin:end], mask_id)

    before: Canvas = [None if id_ == mask_id else id_ for id_ in text[begin:end]]
    steps = []
    for after in rule(see, list(before)):
        steps.append(
            [begin + i for i, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
        )
        before = list(after)
    return Slow(whole(before), steps)


def static(tokens: int, block: int) -> Rule:
    return lambda see, canvas: by_set(see, canvas, block, lambda s, m: best(m, s.conf, tokens))


def sliding(most: int, longest: int) -> Rule:
    """The surest position of a window from the first mask until it holds `most` masks or is so long; its end
    never moves back.
    """

    def steps(see: See, canvas: Canvas) -> Iterator[Canvas]:
        end = 0
        while left := masks(canvas, range(len(canvas))):
            filled = left[most - 1] + 1 if len(left) >= most else len(canvas)
            end = min(max(filled, end), left[0] + longest, len(canvas))
            s = see(canvas)
            write(canvas, best(masks(canvas, range(left[0], end)), s.conf), s.token)
            yield list(canvas)

    return steps


def until(ids: Sequence[int], least: int, most: int) -> Rule:
    """The surest position of a window up to the first of these ids that its first forward proposes at a mask,
    or else `most` long.
    """

    def steps(see: See, canvas: Canvas) -> Iterator[Canvas]:
        while left := masks(canvas, range(len(canvas))):
            start, length = left[0], 0
            while not length or masks(canvas, range(start, start + length)):
                s, end = see(canvas), min(start + most, len(canvas))
                if not length:
                    hits = [
                        i
                        for i in masks(canvas, range(start, end))
                        if s.token[i] in ids and i - start + 1 >= least
                    ]
                    length = min(hits, default=end - 1) - start + 1
                write(canvas, best(masks(canvas, range(start, start + length)), s.conf), s.token)
                yield list(canvas)
            assert not masks(canvas, range(start + length))

    return steps


def in_blocks(text: Sequence[int], mask_id: int, region: range, size: int) -> list[list[int]]:
    """The masked columns of each block that has some."""
    windows = [
        [region.start + i for i in block if text[region.start + i] == mask_id]
        for block in blocks(len(region), size)
    ]
    return [window for window in windows if window]
