"""The generations of a search: new policies are made, raced, and the best of all stay.

Not here: how policies are made (`breeding`) and measured (`racing`), the files (`journal`), the options of
the command (`verb`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .breeding import Breeder, KnownPolicies
from .candidates import Individual, SizeLimits
from .journal import GenerationRecord, Journal
from .racing import Contestant, Course, Race
from .selection import fronts, ranked


@dataclass(frozen=True, slots=True)
class SearchSize:
    """`population`: the new policies of a generation, and the policies that go on; `share`: the least
    accuracy, as a share of that of the best start; `budget`: the most forwards a prompt, on average.
    """

    generations: int
    population: int
    seed: int
    share: float
    budget: float


class EvolutionSearch:
    """One search. After `run`, `generations` has everything that was measured."""

    def __init__(
        self, journal: Journal, race: Race, size: SearchSize, limits: SizeLimits, say: Callable[[str], None]
    ) -> None:
        self.journal, self.race, self.size, self.say = journal, race, size, say
        self.known = KnownPolicies()
        self.breeder = Breeder(limits, self.known)
        self.limits = limits
        self.generations: list[GenerationRecord] = []
        self.all: dict[str, Contestant] = {}  # those with all scores, by their ids

    def run(self, starts: Sequence[Individual]) -> None:
        """Go on with the search from its last finished generation. Every generation is written when it is
        finished, so an interruption loses one generation at most, and none of its scores.
        """
        for generation in self.journal.read():
            self._take(generation)
        if not self.generations:
            self._finish(self.race.all([Contestant(one) for one in starts]), 0)
        for number in range(len(self.generations), self.size.generations + 1):
            population = self.population()
            order = ranked([one.fitness() for one in population])
            rng = random.Random(f"{self.size.seed}/{number}")
            individuals = [one.individual for one in population]
            donors = [*individuals, *(one.individual for one in self.generations[0].contestants)]
            made = self.breeder.offspring(individuals, order, donors, self.size.population, number, rng)
            raced = self.race.run([Contestant(one) for one in made], population, self.course())
            self._finish(raced, number)

    def course(self) -> Course:
        starts = [one.accuracy() for one in self.generations[0].contestants]
        return Course(max(starts) * self.size.share, self.size.budget)

    def population(self) -> list[Contestant]:
        """The policies that go on, in the order of their generation's file."""
        return [self.all[id_] for id_ in self.generations[-1].population]

    def everyone(self) -> dict[str, Contestant]:
        """All policies that were made, by their ids."""
        return {one.individual.id: one for each in self.generations for one in each.contestants}

    def front(self) -> list[Contestant]:
        """The policies that no other one beats, those with few forwards first. A policy that is smaller, and
        has no better figures than another one, is none of them.
        """
        able = self._within(list(self.all.values()))
        figures = [replace(one.fitness(), size=0) for one in able]
        best = [able[at] for at in fronts(figures)[0]] if able else []
        smallest: dict[tuple[float, float], Contestant] = {}
        for one in sorted(best, key=lambda one: (one.individual.size, one.individual.id)):
            smallest.setdefault((one.accuracy(), one.forwards()), one)
        return sorted(smallest.values(), key=Contestant.forwards)

    def _finish(self, contestants: Sequence[Contestant], number: int) -> None:
        before = self.population() if self.generations else []
        able = [*before, *(one for one in contestants if not one.out)]
        if number:
            able = self._within(able) or able
        order = ranked([one.fitness() for one in able])[: max(2, self.size.population)]
        population = tuple(able[at].individual.id for at in order)
        generation = GenerationRecord(number, tuple(contestants), population)
        self.journal.write(generation)
        self._take(generation, new=True)
        self.journal.write_lineage(self.generations)
        self._report(generation)

    def _within(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Those within the limits of the race. The starts were measured without limits."""
        course = self.course()
        return [one for one in contestants if not course.why_out(one)]

    def _take(self, generation: GenerationRecord, *, new: bool = False) -> None:
        """Read a generation. The policies of a new one are known already, except the starts."""
        self.generations.append(generation)
        for one in generation.contestants:
            if not one.out:
                self.all[one.individual.id] = one
            if not new or not generation.number:
                self.known.add(one.individual, self.limits.gen_length)

    def _report(self, generation: GenerationRecord) -> None:
        complete = sum(not one.out for one in generation.contestants)
        best = ", ".join(f"{one.accuracy():.3f} at {one.forwards():.1f}" for one in self.front()[:6])
        self.say(
            f"generation {generation.number}: {len(generation.contestants)} policies, {complete} of them on all "
            f"prompts; accuracy at forwards: {best}"
        )
