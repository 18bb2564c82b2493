"""Searches for a table of observations under which two policies differ: many rows at once, step by step.

Both policies get the same observations until their canvases differ. Each batch has one length and one
manner; short lengths come first. Not here: one table (`trial`), the smallest one (`shrink`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ...policy import Policy
from .edges import edges_of
from .observations import observe
from .observed_step import ModelIds, ObservedRows
from .proposals import MANNERS, Manner, Proposer
from .trial import ComparedPair, Trial, tells_apart, tells_apart_on_paper

SHORT, MEDIUM, LONG = (1, 2, 3, 4, 5, 6, 8), (10, 13, 18), (24, 40, 70)
BLOCKS = (4, 2, 3, 8)
FEWEST_WORDS = 8
FIRST_ROWS, ROWS, LONG_ROWS = 64, 128, 48
MOST_STEPS = 40
CONFIRMED = 12  # rows of a batch whose difference is confirmed


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """When a search ends: after `tries` tables, or `seconds`. `rounding`: differences of rounding count,
    too.
    """

    tries: int
    seconds: float
    seed: int
    rounding: bool


@dataclass(slots=True)
class SearchResult:
    """The result of a search, and its tries. `rounded`: differences that float32 alone makes."""

    trial: Trial | None = None
    tries: int = 0
    forwards: int = 0
    seconds: float = 0.0
    rounded: int = 0
    unconfirmed: int = 0
    longest: int = 0
    interrupted: bool = False


def search(pair: ComparedPair, block: str | None, limits: SearchLimits) -> SearchResult:
    """Searches until a difference is confirmed, or the limits are reached, or an interrupt. `block`: the
    parameter of both that sizes their windows, if the search may set it.
    """
    found = SearchResult()
    try:
        _search(pair, block, limits, found)
    except KeyboardInterrupt:
        found.interrupted = True
    return found


def _search(pair: ComparedPair, block: str | None, limits: SearchLimits, found: SearchResult) -> None:
    started = time.monotonic()
    generator = torch.Generator().manual_seed(limits.seed)
    bound = {size: _with_block(pair, block, size) for size in (BLOCKS if block else (0,))}
    for length, size, manner, rows in _batches(bool(block)):
        found.seconds = time.monotonic() - started
        if found.tries >= limits.tries or found.seconds >= limits.seconds:
            break
        rows = min(rows, limits.tries - found.tries)
        batch = _Batch(bound[size], length, manner, rows, generator)
        found.tries += rows
        found.longest = max(found.longest, length)
        candidates = batch.run()
        found.forwards += batch.forwards
        for trial in candidates:
            if not tells_apart(trial):
                found.unconfirmed += 1
            elif limits.rounding or tells_apart_on_paper(trial):
                found.trial = trial
                found.seconds = time.monotonic() - started
                return
            else:
                found.rounded += 1


def _with_block(pair: ComparedPair, block: str | None, size: int) -> ComparedPair:
    if block is None:
        return pair
    return ComparedPair(pair.a.bind(**{block: size}), pair.b.bind(**{block: size}))


def _batches(sized: bool) -> Iterator[tuple[int, int, Manner, int]]:
    """Length, block size, manner and rows of each batch, without an end."""
    blocks = BLOCKS if sized else (0,)
    for length, manner in product((4, 2, 6), MANNERS):
        yield length, blocks[0], manner, FIRST_ROWS
    number = 0
    while True:
        for lengths, rows in ((SHORT, ROWS), (SHORT, ROWS), (MEDIUM, ROWS), (LONG, LONG_ROWS)):
            for manner in MANNERS:
                length = lengths[number % len(lengths)]
                yield length, blocks[number % len(blocks)], manner, rows
                number += 1


class _Batch:
    """N rows of one length, drawn in one manner."""

    def __init__(
        self, pair: ComparedPair, length: int, manner: Manner, rows: int, generator: torch.Generator
    ) -> None:
        self.pair, self.length, self.manner, self.rows = pair, length, manner, rows
        self.ids = ModelIds(max(FEWEST_WORDS, length))
        self.wanted = frozenset({*pair.wanted, "conf", "doubt", "likeliest", "token"})
        compares = bool(self.wanted & {"kl", "js"})
        edges = edges_of(pair.a, pair.b)
        self.proposer = Proposer(edges, self.ids, generator, compares=compares)
        self.sides = [ObservedRows(policy, rows, length, self.ids) for policy in (pair.a, pair.b)]
        self.forwards = 0
        self.history: list[tuple[Tensor, Tensor]] = []

    def run(self) -> list[Trial]:
        """The tables of the rows that differ first; none where no row differs."""
        before: Tensor | None = None
        for _ in range(self._most_steps()):
            if before is None:
                p, token = self.proposer.first(self.rows, self.length, self.manner)
            else:
                p, token = self.proposer.following(before, self.history[-1][1], self.manner)
            self.history.append((p, token))
            differs = self._step(p, token, before)
            before = p
            if differs.any():
                return [self._trial(row) for row in differs.nonzero().flatten().tolist()[:CONFIRMED]]
            if bool(self.sides[0].ended.all()):
                break
        return []

    def _most_steps(self) -> int:
        plans = (policy.plan(self.length).max_forwards for policy in (self.pair.a, self.pair.b))
        return min(MOST_STEPS, max(plans))

    def _step(self, p: Tensor, token: Tensor, before: Tensor | None) -> Tensor:
        """One step of both sides. The result: the rows `[N]` bool that differ after it."""
        a, b = self.sides
        open_ = ~a.ended
        observed = {
            name: values if values.dtype == torch.int64 else values.float()
            for name, values in observe(self.wanted, p, token, before).items()
        }
        logits = p.log().clamp(min=-100).float()
        for side in self.sides:
            side.step(observed, logits)
        self.forwards += int(open_.sum())
        differs = (a.canvas != b.canvas).any(1) | (a.ended != b.ended) | (a.refreshes != b.refreshes)
        return differs & open_

    def _trial(self, row: int) -> Trial:
        # One forward more: the case of a policy that goes on where the other ends needs it.
        steps = [*self.history, self.history[-1]]
        p, token = (torch.stack([step[part][row] for step in steps]) for part in (0, 1))
        return Trial(self.pair, self.ids, p, token)


def same_blocks(a: Policy, b: Policy, given: Callable[[str], bool]) -> str | None:
    """The parameter that sizes the windows of both policies, if no caller has set it."""
    names = {policy.plan(1).window_parameter for policy in (a, b)}
    name = names.pop()
    return name if name is not None and not names and not given(name) else None
