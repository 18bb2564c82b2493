"""Makes new policies of the policies of a population.

Not here: the changes (`mutations`, `crossing`), the measures (`racing`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...language import syntax
from . import trees
from .behaviour import behaviour_or_none, canonical
from .candidates import Individual, NotSearchable, SizeLimits, accepted
from .crossing import crossed
from .mutations import Changed, mutated
from .selection import tournament

TRIES = 60  # for each new policy
CROSSES = 0.25
MORE_CHANGES = (1, 1, 1, 2, 2, 3)
ENDLESS = "E0301"  # a step of the policy can commit nothing


@dataclass(slots=True)
class KnownPolicies:
    """The policies that the search has had: their trees without names, and what their steps did on the toy
    model. `refused`: why trees were no new policies, with numbers.
    """

    trees: set[str] = field(default_factory=set)
    behaviours: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, individual: Individual, gen_length: int) -> bool:
        """Whether the policy is a new one. It is known from then on."""
        tree = canonical(individual.tree)
        if tree in self.trees:
            self.refused["known already"] += 1
            return False
        self.trees.add(tree)
        steps = behaviour_or_none(individual.policy, gen_length)
        if steps is None or steps in self.behaviours:
            self.refused["not decoded" if steps is None else "same behaviour"] += 1
            return False
        self.behaviours.add(steps)
        return True


class Breeder:
    """Makes new policies that are within the limits and not known yet."""

    def __init__(self, limits: SizeLimits, known: KnownPolicies) -> None:
        self.limits, self.known = limits, known

    def offspring(
        self, population: Sequence[Individual], order: Sequence[int], donors: Sequence[Individual], count: int, generation: int, rng: random.Random
    ) -> list[Individual]:  # fmt: skip
        """At most `count` new policies, each different from every earlier one. `order`: places of the
        population, the best ones first; `donors`: policies for crossings.
        """
        found: list[Individual] = []
        for _ in range(TRIES * count):
            if len(found) == count:
                break
            first, second = population[tournament(order, rng)], rng.choice(donors)
            child = self.child(first, second, f"g{generation:03}-{len(found):02}", rng)
            if child is not None and self.known.add(child, self.limits.gen_length):
                found.append(child)
        return found

    def child(self, first: Individual, second: Individual, id_: str, rng: random.Random) -> Individual | None:
        """A policy made of one or two others; `None` where the result is none."""
        child, parents = first, [first.id]
        changes: list[str] = []
        for at in range(rng.choice(MORE_CHANGES)):
            crosses = at == 0 and first is not second and rng.random() < CROSSES
            changed = crossed(child, second, rng) if crosses else mutated(child, rng)
            made = None if changed is None else self._checked(changed, child, id_)
            if made is None or changed is None:
                continue
            if crosses:
                parents.append(second.id)
            child, changes = made, [*changes, f"crossed: {changed[1]}" if crosses else changed[1]]
        if child is first:
            return None
        return replace(child, id=id_, parents=tuple(parents), changes=tuple(changes))

    def _checked(self, changed: Changed, before: Individual, id_: str) -> Individual | None:
        """The policy of a changed tree. One that may commit nothing gets an `at least 1`."""
        tree = changed[0]
        for _ in range(2):
            try:
                text, policy = accepted(tree, self.limits)
            except NotSearchable as why:
                self.known.refused[str(why)] += 1
                if str(why) != ENDLESS:
                    return None
                tree = with_least(tree)
                continue
            return None if text == before.text else Individual(id_, text, (), (), policy)
        return None


def with_least(tree: syntax.PolicyDefinition) -> syntax.PolicyDefinition:
    """The tree whose last commit writes at least one position, the surest one."""
    commits = [one for one in trees.step_statements(tree) if isinstance(one, syntax.Commit)]
    if not commits:
        return tree
    last = commits[-1]
    least = syntax.AtLeast(trees.NOWHERE, trees.number(1), trees.name("conf"))
    return trees.with_statement(tree, last, (replace(last, at_least=least),))
