"""Changes of whole statements: one more, one less, other bounds, another window, a state that counts.

Not here: changes of expressions (`mutations`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from ...language import syntax
from ...language.words import WINDOWS
from . import trees
from .candidates import Individual
from .generator import Generator
from .places import scope_at, scope_at_end

BLOCKS = (4, 6, 8, 12, 16, 24, 32, 48)
WIDEST_WINDOW = 65536
COUNTER = "count_"


def committed_too(individual: Individual, rng: random.Random) -> tuple[syntax.PolicyDefinition, str] | None:
    """One more `commit`, behind another one."""
    commits = [s for s in trees.step_statements(individual.tree) if isinstance(s, syntax.Commit)]
    if not commits:
        return None
    after = rng.choice(commits)
    scope = replace(scope_at(individual.resolved, after), late=True)
    new = trees.commit(trees.both(trees.name("masked"), Generator(rng, scope).mask(rng.choice((0, 1, 2)))))
    changed = trees.with_statement(individual.tree, after, (after, new))
    return changed, f"`commit {trees.spelled(new.mask)}` added"


def dropped(individual: Individual, rng: random.Random) -> tuple[syntax.PolicyDefinition, str] | None:
    """One statement less. Names that nothing reads then go too."""
    able = [s for s in trees.step_statements(individual.tree) if not isinstance(s, syntax.Let)]
    if len(able) < 2:
        return None
    old = rng.choice(able)
    return trees.with_statement(individual.tree, old, ()), f"a `{type(old).__name__.lower()}` dropped"


def rebounded(individual: Individual, rng: random.Random) -> tuple[syntax.PolicyDefinition, str] | None:
    """Another `at least` or `at most` of a commit, or none."""
    commits = [s for s in trees.step_statements(individual.tree) if isinstance(s, syntax.Commit)]
    if not commits:
        return None
    old = rng.choice(commits)
    generator = Generator(rng, scope_at(individual.resolved, old))
    count, score = trees.number(rng.choice((1, 1, 1, 2, 2, 3, 4))), generator.score(rng.choice((0, 1)))
    if rng.random() < 0.75:
        new = replace(old, at_least=syntax.AtLeast(trees.NOWHERE, count, score))
    elif old.at_most is None:
        most = trees.number(rng.choice((2, 4, 6, 8, 12)))
        new = replace(old, at_most=syntax.AtMost(trees.NOWHERE, most, score))
    else:
        new = replace(old, at_most=None)
    return trees.with_statement(individual.tree, old, (new,)), "other bounds of a `commit`"


def rewindowed(individual: Individual, rng: random.Random) -> tuple[syntax.PolicyDefinition, str] | None:
    """Another window: the whole text, blocks, or a sliding range."""
    windows = [s for s in individual.tree.statements if isinstance(s, syntax.Window)]
    if not windows:
        return None
    size = trees.number(rng.choice(BLOCKS))
    match rng.choice(sorted(WINDOWS)):
        case "all":
            shape: syntax.Expression = trees.name("all")
        case "sliding":
            shape = trees.call("sliding", max_masks=size, max_length=trees.number(WIDEST_WINDOW))
        case _:
            shape = trees.call("blocks", size)
    new = syntax.Window(trees.NOWHERE, shape)
    return trees.with_statement(individual.tree, windows[0], (new,)), f"window `{trees.spelled(shape)}`"


def counted(individual: Individual, rng: random.Random) -> tuple[syntax.PolicyDefinition, str] | None:
    """A state that counts the steps in which a condition has held, and a commit that waits for it."""
    tree = individual.tree
    commits = [s for s in trees.step_statements(tree) if isinstance(s, syntax.Commit)]
    if not commits:
        return None
    old = rng.choice(commits)
    taken = set(individual.resolved.states)
    text = next(name for at in range(100) if (name := f"{COUNTER}{at}") not in taken)
    generator = Generator(rng, scope_at(individual.resolved, old))
    holds, state = generator.mask(rng.choice((0, 1))), trees.name(text)
    more = syntax.Arithmetic(trees.NOWHERE, state, "+", trees.number(1))
    value = syntax.Conditional(trees.NOWHERE, more, holds, trees.number(0))
    long_enough = trees.compared(trees.name(text), ">=", trees.number(rng.choice((1, 1, 2, 3))))
    join = rng.choice((trees.both, trees.either))
    mask = join(old.mask, trees.both(trees.name("masked"), long_enough))
    setting = syntax.Set(trees.NOWHERE, trees.identifier(text), value)
    changed = trees.with_statement(tree, old, (setting, replace(old, mask=mask)))
    state_line = syntax.StateDeclaration(
        trees.NOWHERE, trees.identifier(text), trees.identifier("int"), True, trees.number(0), trees.identifier("block")
    )  # fmt: skip
    head = (*changed.statements[:1], state_line, *changed.statements[1:])
    return replace(changed, statements=head), f"`{text}` counts the steps with `{trees.spelled(holds)}`"


def ended(individual: Individual, rng: random.Random) -> tuple[syntax.PolicyDefinition, str] | None:
    """`finish when eos_closed`, or `fill when` a condition, at the end of the steps."""
    tree = individual.tree
    commits = [s for s in trees.step_statements(tree) if isinstance(s, syntax.Commit)]
    if not commits:
        return None
    last = commits[-1]
    if rng.random() < 0.5:
        new: syntax.Statement = syntax.Finish(trees.NOWHERE, trees.name("eos_closed"))
        return trees.with_statement(tree, last, (last, new)), "`finish when eos_closed` added"
    condition = Generator(rng, scope_at_end(individual.resolved)).condition(1)
    new = syntax.Fill(trees.NOWHERE, condition)
    return trees.with_statement(tree, last, (last, new)), f"`fill when {trees.spelled(condition)}` added"


OF_STATEMENTS: Sequence[
    tuple[float, Callable[[Individual, random.Random], tuple[syntax.PolicyDefinition, str] | None]]
] = (
    (1.0, committed_too),
    (1.0, dropped),
    (1.0, rebounded),
    (1.0, rewindowed),
    (0.5, counted),
    (0.5, ended),
)
