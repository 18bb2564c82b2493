"""Which tokens does DiCo write at each forward? A loop over single positions.

DiCo: arXiv:2602.23792. Positions count from 0 for the first generated one; a span is a cluster's first and
last position. Scores and the numbers computed from them are float32, as in the release. For the paper's
ablations: `pull=0, pull_floor=1` for no guidance, `margin=False` for Finalize without the logit margin. Not
here: logits shifted right by one, for Dream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy import float32

from ..toy import ToyDenoiser
from .rules import Canvas, Seen, best, blocks, masks, seen, write, written

Span = tuple[int, int]
Spans = list[Span]
Step = tuple[str, list[int]]


@dataclass(frozen=True)
class Parameters:
    """What the caller chooses; the defaults are the paper's."""

    block: int
    seeds: int = 4
    rounds: int = 5
    gap: int = 2
    seed_conf: float = 0.3
    keep_conf: float = 0.6
    safe_conf: float = 0.98
    sure_margin: float = 3.0
    settled: float = 0.8
    pull: float = 0.5
    pull_floor: float = 0.05
    upstream: bool = False
    margin: bool = True


@dataclass
class Row:
    """One row on its way; `window` is the block being written."""

    see: Callable[[Canvas], Seen]
    canvas: Canvas
    par: Parameters
    window: range = range(0)
    steps: list[Step] = field(default_factory=list)

    @property
    def size(self) -> int:
        """B, where a rule needs its length; a last block that is shorter has its own. (The release takes no
        text of that kind.)
        """
        return len(self.window)

    def masks(self) -> list[int]:
        return masks(self.canvas, self.window)

    def inside(self, clusters: Spans) -> list[int]:
        """The masks of some clusters."""
        return [i for i in self.masks() if any(a <= i <= b for a, b in clusters)]

    def commit(self, phase: str, places: Iterable[int], s: Seen) -> None:
        chosen = sorted(set(places))
        write(self.canvas, chosen, s.token)
        self.steps.append((phase, chosen))


def grow(start: int, limit: int, gap: int, passes: Callable[[int], bool]) -> int:
    """Where a walk from `start` to `limit`, either way, last found a position that passes before it missed
    too often.
    """
    end, misses = start, 0
    for j in range(start + 1, limit + 1) if limit > start else range(start - 1, limit - 1, -1):
        misses = 0 if passes(j) else misses + 1
        if misses > gap:
            break
        if misses == 0:
            end = j
    return end


def merge(spans: Iterable[Span]) -> Spans:
    """Spans that overlap or touch as one, left to right."""
    merged: Spans = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def trim(canvas: Canvas, spans: Spans) -> Spans:
    """Spans without their written ends; without those that hold no mask."""
    left = [masks(canvas, range(first, last + 1)) for first, last in spans]
    return [(m[0], m[-1]) for m in left if m]


def enough(places: Sequence[int], score: Sequence[float], least: float) -> bool:
    """Whether there are places and their mean score is not below `least`."""
    return len(places) > 0 and bool(
        np.mean([float32(score[i]) for i in places], dtype=float32) >= float32(least)
    )


# Divide


def guided(row: Row, s: Seen) -> list[float]:
    """Confidence that falls from the first mask to the block's end, less so the more is written; 0 where no
    mask is.
    """
    m = row.masks()
    length = row.window.stop - m[0]
    share = float32(len(written(row.canvas, range(len(row.canvas))))) / float32(len(row.canvas))
    fall = min(float32(1), float32(row.par.pull_floor) + float32(row.par.pull) * share)
    weight = [0.0] * len(row.canvas)
    for i in m:
        far = float32(i - m[0]) / float32(max(1, length - 1))
        weight[i] = float(float32(s.conf[i]) * fall**far)
    return weight


def pick_seeds(row: Row, weight: Sequence[float]) -> list[int]:
    """Masks of much weight, each far from those before it."""
    seeds: list[int] = []
    q = list(weight)
    while len(seeds) < row.par.seeds:
        (i,) = best(row.masks(), q)
        if q[i] <= 0 or float32(weight[i]) < float32(row.par.seed_conf):
            break
        seeds.append(i)
        for j in row.masks():
            near = np.exp(-(float32(i - j) ** 2) / (float32(row.size) / float32(3)) ** 2)
            q[j] = float(float32(q[j]) * (float32(1) - near))
    return seeds


def grow_seeds(row: Row, weight: Sequence[float], seeds: Iterable[int], mem: Spans) -> tuple[Spans, bool]:
    """The clusters around the seeds and what is left of the remembered ones; and whether a seed lay outside
    all of those.
    """

    def passes(j: int) -> bool:
        return row.canvas[j] is None and bool(float32(weight[j]) >= float32(row.par.seed_conf))

    spans: Spans = []
    used: set[Span] = set()
    fresh = False
    for i in seeds:
        home = next((c for c in mem if c[0] <= i <= c[1]), None)
        fresh = fresh or home is None
        used |= {home} if home else set()
        first, last = home or (i, i)
        left = grow(first, row.window.start, row.par.gap, passes)
        right = grow(last, row.window.stop - 1, row.par.gap, passes)
        spans.append((left, right))
    return merge(spans + [c for c in mem if c not in used]), fresh


def moved(before: Spans, after: Spans) -> bool:
    """Whether there are more or fewer clusters, or one grew by a tenth."""
    if len(before) != len(after):
        return True
    return any(10 * (d - c + 1) >= 11 * (b - a + 1) for (a, b), (c, d) in zip(before, after, strict=True))


def divide(row: Row) -> Spans:
    """Write seeds until the clusters around them settle."""
    mem: Spans = []
    stale = 0
    # Not counted here, unlike in the release: a forward on a block that is already full.
    for round_ in range(min(row.par.rounds, len(row.canvas) - len(row.steps))):
        if not row.masks():
            break
        s = row.see(row.canvas)
        weight = guided(row, s)
        seeds = pick_seeds(row, weight)
        if not seeds:
            row.commit("divide", [], s)
            break
        clusters, fresh = grow_seeds(row, weight, seeds, mem)
        row.commit("divide", seeds, s)
        news = fresh or round_ == 0 or moved(mem, clusters)
        mem, stale = clusters, 0 if news else stale + 1
        if stale >= 2 or enough(row.inside(mem), weight, row.par.keep_conf):
            break
    return mem


# Conquer


def factor(m: list[int], conf: Sequence[float]) -> list[int]:
    """The most positions that can be taken at once, by Fast-dLLM's rule: k of them where (k + 1)(1 - the
    least) < 1.
    """
    order = best(m, conf, len(m))
    fit = [k for k, i in enumerate(order, 1) if float32(k + 1) * (float32(1) - float32(conf[i])) < 1]
    return order[: max(fit, default=0)]


def spread(row: Row, clusters: Spans, could: list[int], s: Seen) -> Spans:
    """The clusters grown to what could be written just before, none into another; then without written ends."""

    def passes(j: int) -> bool:
        return j in could and bool(float32(s.conf[j]) > float32(row.par.keep_conf))

    grown: Spans = []
    for n, (first, last) in enumerate(clusters):
        left = clusters[n - 1][1] + 1 if n > 0 else row.window.start
        right = clusters[n + 1][0] - 1 if n + 1 < len(clusters) else row.window.stop - 1
        right -= row.par.upstream  # the release never tests the last slot that it may take
        grown.append(
            (grow(first, left, row.par.gap, passes), grow(last, max(last, right), row.par.gap, passes))
        )
    return merge(trim(row.canvas, grown))


def conquer(row: Row, clusters: Spans) -> None:
    """Write many at once inside the clusters, and let these spread, while they are sure."""
    while clusters:
        s = row.see(row.canvas)
        m = row.masks()
        inside = [i for c in clusters for i in factor(row.inside([c]), s.conf)]
        chosen = inside + [i for i in m if float32(s.conf[i]) > float32(row.par.safe_conf)]
        if not inside:
            chosen += [i for i in best(m, s.conf) if float32(s.conf[i]) >= float32(row.par.keep_conf)]
        row.commit("conquer", chosen, s)
        clusters = spread(row, clusters, m, s)
        if not enough(row.inside(clusters), s.conf, row.par.keep_conf):
            break


# Finalize, and the whole


def finalize(row: Row) -> None:
    """Write what is sure, or else the best mask, until the block is full."""
    while m := row.masks():
        s = row.see(row.canvas)
        sure: list[int] = []
        if row.par.margin:
            sure = [
                i
                for i in m
                if s.logit_margin[i] > row.par.sure_margin or float32(s.conf[i]) > float32(row.par.safe_conf)
            ]
        row.commit("finalize", sure or best(m, s.conf), s)


def decode_block(row: Row) -> None:
    for _ in range(int(row.size * row.par.settled)):
        clusters = trim(row.canvas, divide(row))
        if not clusters:
            break
        conquer(row, clusters)
        # In float32, for else a share that equals 1 - R is below it where R is 0.7, and not where it is 0.8.
        if float32(len(row.masks()) / len(row.window)) < float32(1 - row.par.settled):
            break
    finalize(row)


def dico(
    denoiser: ToyDenoiser, prompt: list[int], gen_length: int, **chosen: Any
) -> tuple[list[int], list[Step]]:
    """The prompt and the generated tokens; and what each forward wrote, with its phase. `chosen`: see
    `Parameters`.
    """

    def see(canvas: Canvas) -> Seen:
        ids = [*prompt, *(denoiser.mask_id if token is None else token for token in canvas)]
        return seen(denoiser(torch.tensor([ids]))[0, len(prompt) :], denoiser.mask_id)

    row = Row(see, [None] * gen_length, Parameters(**chosen))
    for window in blocks(gen_length, row.par.block):
        row.window = window
        decode_block(row)
    return [*prompt, *(token for token in row.canvas if token is not None)], row.steps
