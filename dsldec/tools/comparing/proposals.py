"""Distributions for a search: random ones, and those whose observations lie on a threshold.

Each position has a likeliest id with the probability c, a second one, and the rest on some other ids.
Shapes: N rows, G positions, V vocabulary. Not here: their observations (`observations`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .edges import Edges
from .observations import divergence, jensen_shannon, xlogy
from .observed_step import ModelIds

HALVINGS = 48


@dataclass(frozen=True, slots=True)
class Manner:
    """How a batch is drawn. `weights`: of the ways to choose a distribution, in the order of `Proposer.ways`;
    `ties`: the share of positions with a number of their row's few; `keeps`, `turns`: the shares of
    positions that keep their distribution in the next step, and that move to an edge of `kl` or `js`;
    `ends`, `renames`: the shares of positions that propose the end of text, and another id than before.
    """

    weights: tuple[float, ...]
    ties: float = 0.0
    keeps: float = 0.3
    turns: float = 0.0
    ends: float = 0.0
    renames: float = 0.1


MANNERS = (
    Manner((4, 2, 0, 0, 0, 0), keeps=0.3),
    Manner((1, 1, 4, 1, 3, 1), ties=0.3, keeps=0.3),
    Manner((1, 2, 2, 0, 1, 0), keeps=0.8, turns=0.15, ties=0.2),
    Manner((1, 1, 3, 2, 2, 2), ties=0.8, keeps=0.5),
    Manner((2, 2, 2, 0, 1, 0), ends=0.25, renames=0.3, ties=0.2),
    Manner((0.3, 6, 1, 0, 0, 0), keeps=0.7, turns=0.1, renames=0.02),
)


class Proposer:
    """Draws distributions `[N, G, V]` float64 with their likeliest ids `[N, G]`."""

    def __init__(self, edges: Edges, ids: ModelIds, generator: torch.Generator, *, compares: bool) -> None:
        self.edges, self.ids, self.generator = edges, ids, generator
        self.compares = compares  # whether distributions of two steps are compared: none may have a 0
        self.ways: tuple[Callable[[tuple[int, ...]], tuple[Tensor, Tensor]], ...] = (
            self._anywhere,
            self._sure,
            self._on_probability,
            self._on_margin,
            self._on_entropy,
            self._on_logit_margin,
        )

    def first(self, rows: int, positions: int, manner: Manner) -> tuple[Tensor, Tensor]:
        """The distributions of a first step."""
        return self._fresh((rows, positions), manner, self._usual(rows, positions))

    def following(self, p: Tensor, token: Tensor, manner: Manner) -> tuple[Tensor, Tensor]:
        """The distributions of the step after one."""
        shape = (p.shape[0], p.shape[1])
        keeps, turns = self._chance(shape, manner.keeps), self._chance(shape, manner.turns)
        usual = torch.where(self._chance(shape, 0.5), token, self._usual(*shape))
        fresh, _ = self._fresh(shape, manner, usual)
        near = 10 ** -self._uniform(shape, 0.0, 4.0)
        mixed = p.lerp(fresh, near.unsqueeze(-1))
        moved = torch.where(self._chance(shape, 0.5).unsqueeze(-1), fresh, mixed)
        if self.compares and manner.turns:
            moved = torch.where(turns.unsqueeze(-1), self._turned(p, fresh), moved)
        now = torch.where(keeps.unsqueeze(-1), p, moved)
        likeliest = now.argmax(-1)
        still = now.gather(-1, token.unsqueeze(-1)).squeeze(-1) == now.amax(-1)
        return now, torch.where(still, token, likeliest)

    def _usual(self, rows: int, positions: int) -> Tensor:
        """The id of each position is its place."""
        return (torch.arange(positions) % self.ids.words).expand(rows, positions)

    def _fresh(self, shape: tuple[int, int], manner: Manner, usual: Tensor) -> tuple[Tensor, Tensor]:
        best, others = self._shape_of(shape, manner)
        other = torch.randint(self.ids.words, shape, generator=self.generator)
        token = torch.where(self._chance(shape, manner.renames), other, usual)
        token = torch.where(self._chance(shape, manner.ends), self.ids.special["eos"], token)
        return self._spread(best, others, token), token

    def _shape_of(self, shape: tuple[int, int], manner: Manner) -> tuple[Tensor, Tensor]:
        """The probability of the best id, and the number of others, of each position."""
        weights = torch.tensor(manner.weights, dtype=torch.float32)
        way = torch.multinomial(weights, shape[0] * shape[1], True, generator=self.generator).view(shape)
        best, second = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)
        for number, draw in enumerate(self.ways):
            if manner.weights[number]:
                these, those = draw(shape)
                best, second = (
                    torch.where(way == number, these, best),
                    torch.where(way == number, those, second),
                )
        if manner.ties:
            pool = torch.randint(min(2, shape[1]), shape, generator=self.generator)
            shared = self._chance(shape, manner.ties)
            best = torch.where(shared, best.gather(1, pool), best)
            second = torch.where(shared, second.gather(1, pool), second)
        return best, second

    def _spread(self, best: Tensor, second: Tensor, token: Tensor) -> Tensor:
        """Distributions with these two numbers. A `second` below 0 is a number of ids that share the rest."""
        size = self.ids.vocabulary
        rank = (torch.arange(size) - token.unsqueeze(-1)) % size
        best, second = best.unsqueeze(-1), second.unsqueeze(-1)
        share = (1 - best) / (-second).clamp(min=1)
        rest = (1 - best - second).clamp(min=0) / (size - 2)
        shared = torch.where(rank <= -second, share, 0.0)
        given = torch.where(rank == 1, second, rest)
        return torch.where(rank == 0, best, torch.where(second < 0, shared, given))

    # --- the ways to choose a distribution: the best probability, and the second or a number of others

    def _anywhere(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return self._with_others(self._uniform(shape, 1.5 / self.ids.vocabulary, 1.0))

    def _sure(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return self._with_others(1 - 10 ** -self._uniform(shape, 0.3, 4.0))

    def _on_probability(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        return self._with_others(self._one_of(self.edges.probabilities, shape))

    def _on_margin(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The second probability is less than the best by the number."""
        margin = self._one_of(self.edges.probabilities, shape)
        size = self.ids.vocabulary
        best = self._uniform(shape, 0.0, 1.0) * (1 - 1 / size) * (1 - margin) / 2
        best = (1 + margin) / 2 - torch.where(self._chance(shape, 0.5), 0.0, best)
        return best.clamp(max=1), (best - margin).clamp(min=0)

    def _on_entropy(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        entropy, others = self._one_of(self.edges.nats, shape), self._others(shape)
        others = torch.where(entropy < torch.log(others + 1), others, float(self.ids.vocabulary - 1))

        def too_high(best: Tensor) -> Tensor:
            rest = 1 - best
            return -xlogy(best, best) - xlogy(rest, rest / others) > entropy

        return _halved(1 / (others + 1), torch.ones_like(others), too_high), -others

    def _on_logit_margin(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        margin, others = self._one_of(self.edges.logits, shape), self._others(shape)
        return margin.exp() / (others + margin.exp()), -others

    def _with_others(self, best: Tensor) -> tuple[Tensor, Tensor]:
        """The number of other ids is high enough that none is likelier than the best one."""
        fewest = torch.ceil((1 - best) / best - 1e-9)
        others = torch.maximum(self._others(best.shape), fewest).clamp(min=1, max=self.ids.vocabulary - 1)
        return best.clamp(min=1 / self.ids.vocabulary), -others

    def _others(self, shape: tuple[int, ...]) -> Tensor:
        most = self.ids.vocabulary - 1
        if self.compares:
            return torch.full(shape, float(most), dtype=torch.float64)
        few = torch.randint(1, most + 1, shape, generator=self.generator).double()
        return torch.where(self._chance(shape, 0.4), 1.0, few)

    def _turned(self, p: Tensor, fresh: Tensor) -> Tensor:
        """Distributions between two, whose divergence from the first is a threshold."""
        goal = self._one_of(self.edges.nats, p.shape[:2])
        measure = divergence if self._chance((1,), 0.6).item() else jensen_shannon
        part = _halved(
            torch.zeros_like(goal),
            torch.ones_like(goal),
            lambda part: measure(p.lerp(fresh, part.unsqueeze(-1)), p) < goal,
        )
        return p.lerp(fresh, part.unsqueeze(-1))

    # --- draws

    def _uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64)

    def _chance(self, shape: tuple[int, ...], share: float) -> Tensor:
        return torch.rand(shape, generator=self.generator) < share

    def _one_of(self, numbers: Tensor, shape: tuple[int, ...]) -> Tensor:
        return numbers[torch.randint(len(numbers), shape, generator=self.generator)]


def _halved(low: Tensor, high: Tensor, is_low: Callable[[Tensor], Tensor]) -> Tensor:
    """The place between `low` and `high` where `is_low` becomes false."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        goes_up = is_low(middle)
        low, high = torch.where(goes_up, middle, low), torch.where(goes_up, high, middle)
    return high
