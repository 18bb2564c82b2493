"""Walks through a tree: its statements, expressions and names, and the same tree with some of them changed.

Every function that goes through a tree uses these, so a new class of `syntax` is added here once. Not here:
the classes (`syntax`), the meaning of a tree (`checks`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar, assert_never

from . import syntax

# The statements above all phases. They describe the policy; the others are the statements of a step.
HEAD = (
    syntax.Window,
    syntax.Noise,
    syntax.Draw,
    syntax.Logits,
    syntax.Lookahead,
    syntax.StateDeclaration,
    syntax.FunctionDeclaration,
)


# --- statements ---


@dataclass(frozen=True, slots=True)
class Body:
    """The statements of a step in one phase, the names shared by all phases first.

    `phase` is `None` where the policy has no phases.
    """

    phase: syntax.Phase | None
    statements: tuple[syntax.Statement, ...]

    @property
    def name(self) -> str:
        return self.phase.identifier.text if self.phase else ""


# Called often with the same policy; trees compare by identity.
@lru_cache(maxsize=4)
def bodies(policy: syntax.PolicyDefinition) -> tuple[Body, ...]:
    """One body for each phase, in the order of the phases; one body for a policy without phases."""
    shared = tuple(s for s in policy.statements if not isinstance(s, HEAD))
    if not policy.phases:
        return (Body(None, shared),)
    return tuple(Body(phase, shared + phase.statements) for phase in policy.phases)


@lru_cache(maxsize=4)
def statements(policy: syntax.PolicyDefinition) -> tuple[syntax.Statement, ...]:
    """Every statement once, in the order of the text."""
    return policy.statements + tuple(s for phase in policy.phases for s in phase.statements)


# --- expressions inside expressions ---


def children(expression: syntax.Expression) -> tuple[syntax.Expression, ...]:
    """The direct children of an expression, in the order of the text."""
    match expression:
        case syntax.Call():
            return (*expression.arguments, *(keyword.value for keyword in expression.keywords))
        case syntax.Negation() | syntax.Inversion():
            return (expression.operand,)
        case syntax.Conditional():
            return (expression.then, expression.condition, expression.otherwise)
        case syntax.Arithmetic() | syntax.Conjunction() | syntax.Disjunction() | syntax.Alternative():
            return (expression.left, expression.right)
        case syntax.Comparison():
            return expression.operands
        case syntax.Number() | syntax.Boolean() | syntax.Name():
            return ()
        case _:
            assert_never(expression)


def walk(expression: syntax.Expression) -> Iterator[syntax.Expression]:
    """The expression and every expression inside it."""
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        waiting += children(part)
        yield part


def map_children(
    expression: syntax.Expression, change: Callable[[syntax.Expression], syntax.Expression]
) -> syntax.Expression:
    """The same expression with `change` applied to every direct child."""
    match expression:
        case syntax.Call():
            keywords = tuple(replace(keyword, value=change(keyword.value)) for keyword in expression.keywords)
            return replace(expression, arguments=tuple(map(change, expression.arguments)), keywords=keywords)
        case syntax.Negation() | syntax.Inversion():
            return replace(expression, operand=change(expression.operand))
        case syntax.Conditional():
            then, condition = change(expression.then), change(expression.condition)
            return replace(expression, then=then, condition=condition, otherwise=change(expression.otherwise))
        case syntax.Arithmetic() | syntax.Conjunction() | syntax.Disjunction() | syntax.Alternative():
            return replace(expression, left=change(expression.left), right=change(expression.right))
        case syntax.Comparison():
            return replace(expression, operands=tuple(map(change, expression.operands)))
        case syntax.Number() | syntax.Boolean() | syntax.Name():
            return expression
        case _:
            assert_never(expression)


# --- expressions inside statements ---

# The fields of each statement that hold an expression, in the order of the text.
FIELDS: Mapping[type[syntax.Node], tuple[str, ...]] = MappingProxyType(
    {
        syntax.Window: ("shape",),
        syntax.Noise: ("source",),
        syntax.Draw: ("method",),
        syntax.Logits: ("transform",),
        syntax.Lookahead: ("drafts", "condition"),
        syntax.StateDeclaration: ("start",),
        syntax.FunctionDeclaration: ("body",),
        syntax.Commit: ("mask", "ids", "at_least", "at_most"),
        syntax.Revoke: ("mask", "at_most"),
        syntax.Edit: ("mask", "ids", "at_most"),
        syntax.Fill: ("condition",),
        syntax.Stay: ("count", "condition"),
        syntax.Refresh: ("condition",),
        syntax.Next: ("condition",),
        syntax.Finish: ("condition",),
        syntax.Set: ("value",),
        syntax.Branch: ("count",),
        syntax.Pick: ("score",),
        syntax.Let: ("value",),
        syntax.AtLeast: ("count", "score"),
        syntax.AtMost: ("count", "score"),
        syntax.Phase: ("visits", "condition"),
    }
)


def expressions(
    node: syntax.Statement | syntax.Phase | syntax.AtLeast | syntax.AtMost,
) -> tuple[syntax.Expression, ...]:
    """The outermost expressions of a statement or of a phase's header, in the order of the text."""
    outermost: list[syntax.Expression] = []
    for name in FIELDS[type(node)]:
        value = getattr(node, name)
        if isinstance(value, syntax.AtLeast | syntax.AtMost):
            outermost += expressions(value)
        elif value is not None:
            outermost.append(value)
    return tuple(outermost)


N = TypeVar("N", bound=syntax.Node)


def map_expressions(node: N, change: Callable[[syntax.Expression], syntax.Expression]) -> N:
    """The same statement or phase with `change` applied to its outermost expressions."""
    changed: dict[str, Any] = {}
    for name in FIELDS[type(node)]:
        value = getattr(node, name)
        if value is not None:
            changed[name] = (
                map_expressions(value, change)
                if isinstance(value, syntax.AtLeast | syntax.AtMost)
                else change(value)
            )
    if isinstance(node, syntax.Phase):
        changed["statements"] = tuple(map_expressions(s, change) for s in node.statements)
    return replace(node, **changed)
