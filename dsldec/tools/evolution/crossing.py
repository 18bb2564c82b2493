"""A policy made of two: an expression of one in the place of an expression of the same kind of the other, or
a commit that writes the positions of both.

Names of the donor are replaced by their values: a parameter by its default, the name of a step by its
expression. Not here: changes of one policy (`mutations`).
"""

from __future__ import annotations

import random

from ...checks.resolved import Resolved
from ...language import syntax
from ...language.syntax import Expression
from ...language.walk import map_children
from ...language.words import CONDITIONS, NUMBERS, OF_THE_BATCH, Kind, Type
from . import trees
from .candidates import Individual
from .mutations import note
from .places import places


class HasState(Exception):
    """The expression reads a state or a table, and has no meaning in another policy."""


def moved(expression: Expression, resolved: Resolved) -> Expression:
    """An expression of a policy without the policy's names. Raises `HasState`."""
    binding = resolved.bindings.get(expression) if isinstance(expression, syntax.Name) else None
    if binding is None:
        return map_children(expression, lambda child: moved(child, resolved))
    if isinstance(binding, syntax.Let):
        return moved(binding.value, resolved)
    if not isinstance(binding, syntax.Parameter) or not _movable(binding):
        raise HasState
    value = binding.number
    return syntax.Boolean(trees.NOWHERE, value) if isinstance(value, bool) else trees.number(value)


def _movable(parameter: syntax.Parameter) -> bool:
    """Whether the default of a parameter may stand in its place."""
    number = isinstance(parameter.default, syntax.Literal) and not parameter.choices
    return number and Kind(parameter.kind.text) not in OF_THE_BATCH


def exchanged(
    first: Individual, second: Individual, rng: random.Random
) -> tuple[syntax.PolicyDefinition, str] | None:
    """The first policy with an expression of the second one."""
    kinds = NUMBERS | CONDITIONS
    able = [place for place in places(first.resolved) if place.type.kind in kinds and not place.scope.fixed]
    if not able:
        return None
    place = rng.choice(able)
    donors = [
        one
        for one in places(second.resolved)
        if _fits(one.type, place.type) and one.scope.ordered == place.scope.ordered and one.scores == place.scores
        and (place.scope.late or not one.scope.late) and not one.scope.fixed
    ]  # fmt: skip
    if not donors:
        return None
    new = moved(rng.choice(donors).expression, second.resolved)
    return trees.with_swapped(first.tree, place.expression, new), note(place.expression, new)


def _fits(one: Type, other: Type) -> bool:
    return one.kind is other.kind and one.extent is other.extent


def united(
    first: Individual, second: Individual, rng: random.Random
) -> tuple[syntax.PolicyDefinition, str] | None:
    """The first policy, which also writes the positions that a commit of the second one writes."""
    own = [s for s in trees.step_statements(first.tree) if isinstance(s, syntax.Commit)]
    others = [s for s in trees.step_statements(second.tree) if isinstance(s, syntax.Commit)]
    if not own or not others:
        return None
    target = rng.choice(own)
    new = moved(rng.choice(others).mask, second.resolved)
    join = trees.both if rng.random() < 0.15 else trees.either
    changed = trees.with_swapped(first.tree, target.mask, join(target.mask, new))
    return changed, f"`commit` with `{trees.spelled(new)[:60]}` of {second.id}"


def crossed(
    first: Individual, second: Individual, rng: random.Random
) -> tuple[syntax.PolicyDefinition, str] | None:
    """The tree of a crossing; `None` where the two have nothing to exchange."""
    try:
        return (united if rng.random() < 0.4 else exchanged)(first, second, rng)
    except HasState:
        return None
