"""The smallest table of observations that still tells two policies apart.

Fewer forwards first, then fewer positions, then rounder numbers, then fewer digits. A change stays if the
policies still differ. Not here: whether they differ (`trial`), the text (`case_text`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .observations import xlogy
from .trial import Trial, play

ROUND = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.95, 0.99)
DECIMALS = (1, 2, 3, 4)
DIGITS = (1, 2, 3, 4, 6)


@dataclass(slots=True)
class Shrinker:
    """`holds`: whether a trial still tells the policies apart; `until`: when to stop, in seconds of
    `time.process_time`; `block`: the parameter of both policies that the search may set.
    """

    holds: Callable[[Trial], bool]
    until: float
    block: str | None = None
    tried: int = 0
    best: Trial | None = None

    def smallest(self, trial: Trial) -> Trial:
        """The smallest trial that is found in time, or before an interrupt."""
        self.best = trial
        try:
            return self._smallest(trial)
        except KeyboardInterrupt:
            return self.best or trial

    def _smallest(self, trial: Trial) -> Trial:
        passes = (
            self._shorter,
            self._narrower,
            self._blocks,
            self._usual_ids,
            self._rounder,
            self._fewer_digits,
        )
        while True:
            before = trial
            for one in passes:
                trial = one(trial)
            if trial is before or self._late():
                return trial

    def _late(self) -> bool:
        return time.process_time() > self.until

    def _first(self, trial: Trial, changes: Iterator[Trial]) -> Trial | None:
        """The first of some changed trials that holds."""
        for changed in changes:
            if self._late():
                return None
            self.tried += 1
            if self.holds(changed):
                self.best = changed
                return changed
        return None

    def _repeated(self, trial: Trial, changes: Callable[[Trial], Iterator[Trial]]) -> Trial:
        while (changed := self._first(trial, changes(trial))) is not None:
            trial = changed
        return trial

    def _shorter(self, trial: Trial) -> Trial:
        last = play(trial).differs_at
        if last is not None and last + 2 < trial.forwards:
            trial = replace(trial, p=trial.p[: last + 2], token=trial.token[: last + 2])

        def changes(trial: Trial) -> Iterator[Trial]:
            for forward in range(trial.forwards - 1):  # the last one is only for the case of the other side
                kept = [i for i in range(trial.forwards) if i != forward]
                yield replace(trial, p=trial.p[kept], token=trial.token[kept])

        return self._repeated(trial, changes)

    def _narrower(self, trial: Trial) -> Trial:
        def changes(trial: Trial) -> Iterator[Trial]:
            size = trial.length // 2
            while size >= 1:
                for begin in range(trial.length - size, -1, -size):
                    kept = [i for i in range(trial.length) if not begin <= i < begin + size]
                    if kept:
                        yield self._of_positions(trial, kept)
                size //= 2

        return self._repeated(trial, changes)

    def _of_positions(self, trial: Trial, kept: list[int]) -> Trial:
        """Some positions. A token that is its position stays so: the vocabulary turns with it."""
        p, token = trial.p[:, kept].clone(), trial.token[:, kept].clone()
        words = trial.ids.words
        for place, old in enumerate(kept):
            if place != old and bool((token[:, place] == old % words).all()):
                p[:, place] = p[:, place].roll(place - old, -1)
                token[:, place] = place
        return replace(trial, p=p, token=token)

    def _blocks(self, trial: Trial) -> Trial:
        """A block of all positions, if that still tells."""
        if self.block is None:
            return trial

        name, pair = self.block, trial.pair
        usual = {policy.program.parameters[name].default for policy in (pair.a, pair.b)}

        def changes() -> Iterator[Trial]:
            for size in dict.fromkeys((*(usual if len(usual) == 1 else ()), trial.length, 4)):
                if pair.a.parameters[name] == size:
                    return
                a, b = (policy.bind(**{name: size or 1}) for policy in (pair.a, pair.b))
                yield replace(trial, pair=replace(pair, a=a, b=b))

        return self._first(trial, changes()) or trial

    def _usual_ids(self, trial: Trial) -> Trial:
        """The token of a position is its place, where that still tells."""
        for position in range(trial.length):
            usual = position % trial.ids.words
            if bool((trial.token[:, position] == usual).all()):
                continue
            p, token = trial.p.clone(), trial.token.clone()
            for forward in range(trial.forwards):
                turn = usual - int(token[forward, position])
                p[forward, position] = p[forward, position].roll(turn, -1)
            token[:, position] = usual
            trial = self._first(trial, iter([replace(trial, p=p, token=token)])) or trial
        return trial

    def _rounder(self, trial: Trial) -> Trial:
        trial = self._rounder_together(trial)
        for forward in range(trial.forwards):
            for position in range(trial.length):
                trial = self._rounder_at(trial, forward, position)
        return trial

    def _rounder_together(self, trial: Trial) -> Trial:
        """All positions with one best probability get a rounder one: in a tie, they must stay equal."""
        best = trial.p.gather(-1, trial.token.unsqueeze(-1)).squeeze(-1)
        for value in best.unique().tolist():
            places = (best == value).nonzero().tolist()
            if len(places) == 1:
                continue
            cost = _cost(trial.p[tuple(places[0])])

            def changes(
                trial: Trial = trial, places: list[list[int]] = places, cost: float = cost
            ) -> Iterator[Trial]:
                for others in (1, trial.ids.vocabulary - 1):
                    for number in ROUND:
                        p = trial.p.clone()
                        for forward, position in places:
                            token = int(trial.token[forward, position])
                            p[forward, position] = spread(number, others, token, trial.ids.vocabulary)
                        if number >= 1 / (1 + others) and _cost(p[tuple(places[0])]) < cost:
                            yield replace(trial, p=p)

            trial = self._first(trial, changes()) or trial
        return trial

    def _rounder_at(self, trial: Trial, forward: int, position: int) -> Trial:
        now, token = trial.p[forward, position], int(trial.token[forward, position])
        cost = _cost(now)

        def changes() -> Iterator[Trial]:
            for probabilities in self._candidates(trial, forward, position, token):
                if _cost(probabilities) < cost and not torch.equal(probabilities, now):
                    p = trial.p.clone()
                    p[forward, position] = probabilities
                    yield replace(trial, p=p)

        return self._first(trial, changes()) or trial

    def _candidates(self, trial: Trial, forward: int, position: int, token: int) -> Iterator[Tensor]:
        now, size = trial.p[forward, position], trial.ids.vocabulary
        if forward:
            yield trial.p[forward - 1, position]
        compares = {"kl", "js"} & {*trial.pair.wanted}
        best = float(now[token])
        if "entropy" in trial.pair.wanted and not compares:
            yield from _of_round_entropies(now, token)
        rounds = [*ROUND, *(round(best, decimals) for decimals in DECIMALS)]
        for number in rounds:
            fewest = max(1, int(-(-(1 - number) // max(number, 1e-9)) if number < 1 else 1))
            for others in (fewest, size - 1) if not compares else (size - 1,):
                if fewest <= others < size and 0 < number <= 1 and not (compares and number == 1):
                    yield spread(number, others, token, size)

    def _fewer_digits(self, trial: Trial) -> Trial:
        return (
            self._first(
                trial,
                (replace(trial, digits=digits) for digits in DIGITS if digits < (trial.digits or 99)),
            )
            or trial
        )


def spread(best: float, others: int, token: int, size: int) -> Tensor:
    """A distribution `[V]`: one id with this probability, and the rest shared by the next ids."""
    rank = (torch.arange(size) - token) % size
    share = (rank <= others).double() * ((1 - best) / others)
    share[token] = best
    return share


def _of_round_entropies(now: Tensor, token: int) -> Iterator[Tensor]:
    """Distributions whose entropy is a rounder number near that of `now`."""
    entropy, size = float(-xlogy(now, now).sum()), len(now)
    for decimals in DECIMALS:
        unit = 10.0**-decimals
        for goal in (math.floor(entropy / unit) * unit, math.ceil(entropy / unit) * unit):
            others = next((n for n in range(1, size) if math.log(n + 1) > goal), None)
            if goal > 0 and others is not None:
                yield spread(_best_of_entropy(goal, others), others, token, size)


def _best_of_entropy(goal: float, others: int) -> float:
    """The best probability of the distribution with this entropy; some other ids share the rest."""
    low, high = 1 / (others + 1), 1.0
    for _ in range(60):
        best = (low + high) / 2
        rest = 1 - best
        entropy = -best * math.log(best) - (rest * math.log(rest / others) if rest else 0.0)
        low, high = (best, high) if entropy > goal else (low, best)
    return high


def _cost(p: Tensor) -> float:
    """The cost of reading a distribution: its digits, its different numbers, and the place in `ROUND`."""
    best = float(p.max())
    text = f"{best:.9g}"
    order = ROUND.index(best) / 100 if best in ROUND else 0.5
    uneven = len({f"{one:.6g}" for one in p.tolist()})
    entropy = f"{-float(xlogy(p, p).sum()):.9g}"
    return min(len(text), len(entropy)) + order + 0.6 * uneven
