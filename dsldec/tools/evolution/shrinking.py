"""Removes the parts of a policy that change no answer on the calibration prompts.

Not here: random changes (`mutations`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...language import syntax
from ...language.walk import children, statements, walk
from . import trees
from .behaviour import behaviour_or_none
from .candidates import Individual, NotSearchable, SizeLimits, accepted
from .places import places
from .racing import Contestant, Race

MOST_MEASURED = 6  # smaller policies that are measured for one policy


def shrunk(one: Contestant, race: Race, limits: SizeLimits) -> Contestant:
    """The smallest policy found that gives each calibration prompt the same score and number of forwards.

    The toy model comes first: a part that changes its steps is needed by some prompt.
    """
    tried: set[str] = {one.individual.text}
    steps = behaviour_or_none(one.individual.policy, limits.gen_length)
    measured = 0
    while measured < MOST_MEASURED:
        for smaller in _smaller(one.individual, limits):
            if smaller.text in tried:
                continue
            tried.add(smaller.text)
            if behaviour_or_none(smaller.policy, limits.gen_length) != steps:
                continue
            measured += 1
            if (found := race.equal(Contestant(smaller), one)) is not None:
                one = found
                break
            if measured >= MOST_MEASURED:
                break
        else:
            break
    return one


def _smaller(individual: Individual, limits: SizeLimits) -> list[Individual]:
    """The policies with one part less that are correct, the smallest first."""
    found: dict[str, Individual] = {}
    for tree in _cuts(individual):
        try:
            text, policy = accepted(tree, limits)
        except NotSearchable:
            continue
        found.setdefault(text, replace(individual, text=text, policy=policy))
    smaller = [one for one in found.values() if one.size < individual.size]
    return sorted(smaller, key=lambda one: (one.size, one.text))


def _cuts(individual: Individual) -> Iterator[syntax.PolicyDefinition]:
    """The tree without one statement, one bound, or one side of an operator."""
    tree, resolved = individual.tree, individual.resolved
    for statement in statements(tree):
        if not isinstance(statement, syntax.Window):
            yield trees.with_statement(tree, statement, ())
        if isinstance(statement, syntax.Commit):
            if statement.at_least is not None:
                yield trees.with_statement(tree, statement, (replace(statement, at_least=None),))
            if statement.at_most is not None:
                yield trees.with_statement(tree, statement, (replace(statement, at_most=None),))
    for place in places(resolved):
        if place.scope.fixed:
            continue
        for part in walk(place.expression):
            type_ = resolved.type_of(part)
            inside = part is not place.expression and children(place.expression)
            if inside and (type_.kind, type_.extent) == (place.type.kind, place.type.extent):
                yield trees.with_swapped(tree, place.expression, part)
