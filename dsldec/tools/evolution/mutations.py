"""Changes of one policy: an expression, a number, a selector, a statement, the window.

Each function takes a policy and gives the changed tree with a note in words, or `None` where it finds nothing
to change. Not here: changes of statements (`statement_mutations`), changes with a second policy (`crossing`),
whether the result is correct (`candidates`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...checks.resolved import Bindings
from ...language import syntax
from ...language.syntax import Expression
from ...language.walk import walk
from ...language.words import CONDITIONS, NUMBERS, WORDS, Extent, Kind, Type
from . import trees
from .candidates import Individual
from .generator import Generator
from .lexicon import CannotWrite
from .literals import near
from .places import Place, places
from .statement_mutations import OF_STATEMENTS

Changed = tuple[syntax.PolicyDefinition, str]
Mutation = Callable[[Individual, random.Random], Changed | None]

LONGEST_NOTE = 60
OPERATORS = ("<", "<=", ">", ">=")
DEPTHS = (0, 1, 1, 2)


def note(before: Expression, after: Expression) -> str:
    """A change in words, cut to a line."""
    texts = [trees.spelled(one) for one in (before, after)]
    short = [text if len(text) <= LONGEST_NOTE else f"{text[: LONGEST_NOTE - 3]}..." for text in texts]
    return f"`{short[0]}` became `{short[1]}`"


def _changed(individual: Individual, old: Expression, new: Expression) -> Changed:
    return trees.with_swapped(individual.tree, old, new), note(old, new)


def _chosen(individual: Individual, rng: random.Random, fits: Callable[[Place], bool]) -> Place | None:
    found = [place for place in places(individual.resolved) if fits(place)]
    return rng.choice(found) if found else None


def _in_a_step(place: Place) -> bool:
    return not place.scope.fixed and place.type.kind in NUMBERS | CONDITIONS | {Kind.TOKEN}


def replaced(individual: Individual, rng: random.Random) -> Changed | None:
    """Another expression of the same kind."""
    place = _chosen(individual, rng, _in_a_step)
    if place is None:
        return None
    new = Generator(rng, place.scope).of(place.type, rng.choice(DEPTHS), scores=place.scores)
    return _changed(individual, place.expression, new)


def combined(individual: Individual, rng: random.Random) -> Changed | None:
    """A condition with another one: `and`, `or`, `orelse`; a number with a factor or a term."""
    place = _chosen(individual, rng, lambda place: _in_a_step(place) and place.type.kind is not Kind.TOKEN)
    if place is None:
        return None
    old, generator, depth = place.expression, Generator(rng, place.scope), rng.choice(DEPTHS)
    if place.type.kind in CONDITIONS:
        other = generator.of(place.type, depth)
        node = rng.choice((syntax.Conjunction, syntax.Disjunction, syntax.Disjunction))
        if place.type.kind is Kind.MASK and rng.random() < 0.15:
            return _changed(individual, old, syntax.Alternative(trees.NOWHERE, old, other))
        return _changed(individual, old, node(trees.NOWHERE, old, other))
    if place.type.kind is Kind.INT:
        other = generator.number(Kind.INT, place.type.extent, depth)
        return _changed(individual, old, syntax.Arithmetic(trees.NOWHERE, old, rng.choice("+-"), other))
    other = generator.number(Kind.REAL, place.type.extent, depth)
    if rng.random() < 0.5:
        return _changed(individual, old, syntax.Arithmetic(trees.NOWHERE, old, "*", other))
    other = generator.number(place.type.kind, place.type.extent, depth)
    return _changed(individual, old, syntax.Arithmetic(trees.NOWHERE, old, rng.choice("+-"), other))


def selected_too(individual: Individual, rng: random.Random) -> Changed | None:
    """A commit writes the positions of one more selector."""
    commits = [s for s in trees.step_statements(individual.tree) if isinstance(s, syntax.Commit)]
    if not commits:
        return None
    commit = rng.choice(commits)
    place = next(one for one in places(individual.resolved) if one.expression is commit.mask)
    selectors = [word for word in WORDS.values() if word.selects and not word.random]
    other = Generator(rng, place.scope).call_of(rng.choice(selectors), Extent.POSITION)
    return _changed(individual, commit.mask, trees.either(commit.mask, other))


def hoisted(individual: Individual, rng: random.Random) -> Changed | None:
    """An expression becomes a part of itself."""
    place = _chosen(individual, rng, _in_a_step)
    if place is None:
        return None
    inside = [
        part
        for part in walk(place.expression)
        if part is not place.expression and _alike(individual.resolved.type_of(part), place.type)
    ]
    return _changed(individual, place.expression, rng.choice(inside)) if inside else None


def _alike(one: Type, other: Type) -> bool:
    return one.kind is other.kind and one.extent <= other.extent


def renumbered(individual: Individual, rng: random.Random) -> Changed | None:
    """A number in an expression changes a little."""
    place = _chosen(individual, rng, lambda place: isinstance(place.expression, syntax.Number))
    if place is None or not isinstance(place.expression, syntax.Number):
        return None
    value = place.expression.value
    kind = Kind.PROB if isinstance(value, float) and 0 < value < 1 else place.type.kind
    new = trees.number(near(value, kind, rng))
    return _changed(individual, place.expression, new)


def reset(individual: Individual, rng: random.Random) -> Changed | None:
    """The default of a parameter changes a little."""
    tree = individual.tree
    able = [one for one in tree.parameters if isinstance(one.default, syntax.Literal)]
    if not able:
        return None
    old = rng.choice(able)
    before = old.number
    after: int | float | bool = (
        not before if isinstance(before, bool) else near(before, Kind(old.kind.text), rng)
    )
    if old.range is not None and not isinstance(after, bool):
        after = min(max(after, old.range.first.value), old.range.last.value)
    new = replace(old, default=syntax.Literal(trees.NOWHERE, after))
    parameters = tuple(new if one is old else one for one in tree.parameters)
    what = old.identifier.text
    return replace(tree, parameters=parameters), f"`{what}` from {before} to {after}"


def named(individual: Individual, rng: random.Random) -> Changed | None:
    """A number becomes a parameter, or a parameter the number that it stands for."""
    tree, bindings = individual.tree, individual.resolved.bindings
    found = [
        place
        for place in places(individual.resolved)
        if not place.scope.fixed
        and (isinstance(place.expression, syntax.Number) or _names_parameter(place.expression, bindings))
    ]
    if not found:
        return None
    old = rng.choice(found).expression
    if isinstance(old, syntax.Name):
        value = next(one for one in tree.parameters if one.identifier.text == old.identifier).number
        if isinstance(value, bool):
            return None
        return _changed(individual, old, trees.number(value))
    assert isinstance(old, syntax.Number)
    taken = {one.identifier.text for one in tree.parameters}
    text = next(name for at in range(100) if (name := f"level_{at}") not in taken)
    kind = "int" if isinstance(old.value, int) else "real"
    default = syntax.Literal(trees.NOWHERE, old.value)
    new = syntax.Parameter(trees.NOWHERE, trees.identifier(text), trees.identifier(kind), default, None)
    changed = trees.with_swapped(tree, old, trees.name(text))
    return replace(changed, parameters=(*changed.parameters, new)), f"`{old.value}` became `{text}`"


def _names_parameter(expression: Expression, bindings: Bindings) -> bool:
    return isinstance(expression, syntax.Name) and isinstance(bindings.get(expression), syntax.Parameter)


def turned(individual: Individual, rng: random.Random) -> Changed | None:
    """Another operator: of a comparison, `and` for `or`, `+` for `-`."""
    kinds = (syntax.Comparison, syntax.Conjunction, syntax.Disjunction, syntax.Arithmetic)
    place = _chosen(individual, rng, lambda place: isinstance(place.expression, kinds))
    if place is None:
        return None
    old: Expression = place.expression
    if isinstance(old, syntax.Conjunction):
        return _changed(individual, old, trees.either(old.left, old.right))
    if isinstance(old, syntax.Disjunction):
        return _changed(individual, old, trees.both(old.left, old.right))
    if isinstance(old, syntax.Comparison) and old.operators[0] in OPERATORS and len(old.operators) == 1:
        others = [other for other in OPERATORS if other != old.operators[0]]
        return _changed(individual, old, replace(old, operators=(rng.choice(others),)))
    if isinstance(old, syntax.Arithmetic) and old.operator in "+-":
        return _changed(individual, old, replace(old, operator="-" if old.operator == "+" else "+"))
    return None


def reselected(individual: Individual, rng: random.Random) -> Changed | None:
    """Another selector, from the same mask and by the same score."""

    def selects(place: Place) -> bool:
        call = place.expression
        return isinstance(call, syntax.Call) and WORDS[call.function.text].selects

    place = _chosen(individual, rng, selects)
    if place is None or not isinstance(place.expression, syntax.Call):
        return None
    old = place.expression
    selectors = [w for w in WORDS.values() if w.selects and not w.random and w.name != old.function.text]
    new = Generator(rng, place.scope).call_of(rng.choice(selectors), Extent.POSITION)
    same = {one.identifier.text: one for one in old.keywords if one.identifier.text == "by"}
    keywords = tuple(same.get(one.identifier.text, one) for one in new.keywords)
    return _changed(
        individual, old, replace(new, arguments=(old.arguments[0], *new.arguments[1:]), keywords=keywords)
    )


# Each mutation with its weight.
MUTATIONS: Sequence[tuple[float, Mutation]] = (
    (3.0, replaced),
    (3.0, combined),
    (2.5, selected_too),
    (1.5, hoisted),
    (2.0, renumbered),
    (2.0, reset),
    (0.5, named),
    (1.0, turned),
    (1.0, reselected),
    *OF_STATEMENTS,
)


def mutated(individual: Individual, rng: random.Random) -> Changed | None:
    """The tree after a random change; `None` where the change finds nothing to do."""
    weights = [share for share, _ in MUTATIONS]
    mutation = rng.choices([one for _, one in MUTATIONS], weights)[0]
    try:
        return mutation(individual, rng)
    except CannotWrite:
        return None
