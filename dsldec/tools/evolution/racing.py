"""Measures candidates on few prompts first, and the better ones on more (successive halving, Jamieson and
Talwalkar 2016).

Not here: how prompts are decoded and scored (`measuring`), which policies stay in the population (`search`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...diagnostics import PolicyError, UsageError
from ..measuring.measurer import Measurer
from ..measuring.scores import PromptScore
from .candidates import Individual
from .selection import Fitness, ranked

# A policy stays if its accuracy may be at the floor: within this number of standard errors.
ERRORS = 2.0
STAYS = 0.5  # the share of the candidates that the next prompts are spent on


@dataclass(frozen=True, slots=True)
class Contestant:
    """A policy with its scores on the calibration prompts so far, in their order. `out`: why it has no more
    scores; empty for one with all of them.
    """

    individual: Individual
    scores: tuple[PromptScore, ...] = ()
    out: str = ""

    def accuracy(self, prompts: int | None = None) -> float:
        """The mean score of the first prompts."""
        chosen = self.scores[:prompts]
        return sum(one.right for one in chosen) / max(1, len(chosen))

    def forwards(self, prompts: int | None = None) -> float:
        """The mean number of forwards for the first prompts."""
        chosen = self.scores[:prompts]
        return sum(one.forwards for one in chosen) / max(1, len(chosen))

    def fitness(self, prompts: int | None = None) -> Fitness:
        return Fitness(self.accuracy(prompts), self.forwards(prompts), self.individual.size)


@dataclass(frozen=True, slots=True)
class Course:
    """The limits of a race. `floor`: the least accuracy; `budget`: the most forwards a prompt, on
    average.
    """

    floor: float = 0.0
    budget: float = math.inf

    def why_out(self, one: Contestant) -> str:
        """Why a candidate has lost already; empty for one that has not."""
        if failed := next((score.error for score in one.scores if score.error), ""):
            return f"not decoded: {failed}"
        if one.forwards() > self.budget:
            return "over the budget of forwards"
        accuracy, prompts = one.accuracy(), len(one.scores)
        error = math.sqrt(max(accuracy * (1 - accuracy), 1 / (4 * prompts)) / prompts)
        return "accuracy below the floor" if accuracy + ERRORS * error < self.floor else ""


NO_COURSE = Course()


class Race:
    """Runs races on the same prompts. `heats`: a measurer for the first few prompts, one for the next ones,
    and so on.
    """

    def __init__(self, heats: Sequence[Measurer], progress: Callable[[str], None]) -> None:
        self.heats, self.progress = heats, progress

    def all(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """The contestants with all scores. Raises the errors of the decoding."""
        for number, heat in enumerate(self.heats):
            contestants = [
                replace(one, scores=one.scores + heat.measure([one.individual.policy])[0].scores)
                for one in self._counted(contestants, number)
            ]
        return list(contestants)

    def run(
        self, contestants: Sequence[Contestant], rivals: Sequence[Contestant], course: Course
    ) -> list[Contestant]:
        """The contestants in their order: the best ones with all scores, the others with the reason why they
        are out. `rivals` have all scores, and are compared on the same prompts.
        """
        found = {one.individual.id: one for one in contestants}
        alive = list(contestants)
        for number, heat in enumerate(self.heats):
            room = math.ceil(len(alive) * STAYS)
            alive = [self._measured(one, heat, course) for one in self._counted(alive, number)]
            found |= {one.individual.id: one for one in alive}
            alive = [one for one in alive if not one.out]
            if number + 1 < len(self.heats):
                alive, lost = _best(alive, rivals, room)
                found |= {one.individual.id: one for one in lost}
        return list(found.values())

    def equal(self, one: Contestant, other: Contestant) -> Contestant | None:
        """The contestant with all scores if they and its forwards equal those of `other`; `None` at the first
        prompts where they do not.
        """
        for heat in self.heats:
            one = self._measured(one, heat, NO_COURSE)
            count = len(one.scores)
            if one.out or not count or _results(one.scores) != _results(other.scores[:count]):
                return None
        return one

    def _measured(self, one: Contestant, heat: Measurer, course: Course) -> Contestant:
        try:
            scores = one.scores + heat.measure([one.individual.policy])[0].scores
        except (UsageError, PolicyError) as wrong:
            why = wrong.diagnostic if isinstance(wrong, UsageError) else wrong.diagnostics[0]
            return replace(one, out=f"not decoded: {why.code}")
        measured = replace(one, scores=scores)
        return replace(measured, out=course.why_out(measured))

    def _counted(self, contestants: Sequence[Contestant], heat: int) -> list[Contestant]:
        """The contestants, after a line of progress."""
        self.progress(f"  heat {heat + 1} of {len(self.heats)}: {len(contestants)} policies")
        return list(contestants)


def _best(
    alive: Sequence[Contestant], rivals: Sequence[Contestant], room: int
) -> tuple[list[Contestant], list[Contestant]]:
    """The best candidates among themselves and all rivals, at most `room`; and the others with a reason."""
    if len(alive) <= room:
        return list(alive), []
    prompts = len(alive[0].scores)
    order = ranked([one.fitness(prompts) for one in (*alive, *rivals)])
    best = [at for at in order if at < len(alive)][:room]
    lost = [
        replace(one, out=f"behind after {prompts} prompts") for at, one in enumerate(alive) if at not in best
    ]
    return [one for at, one in enumerate(alive) if at in best], lost


def _results(scores: Sequence[PromptScore]) -> list[tuple[float, int, int]]:
    return [(one.right, one.forwards, one.tokens) for one in scores]
