"""What the checks have found out about a tree so far; the tree itself is never written on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import Type

if TYPE_CHECKING:
    from .facts import Facts


@dataclass(frozen=True, slots=True)
class Found:
    """`meanings`: what each name stands for, a parameter, a let, or (absent) a word of the language.

    `types`: kind, place and polarity of each expression. `floor`: how many positions each step surely commits, an int
    or the parameter that says it. `facts`: the summary for programs and people.
    """

    policy: syntax.Policy
    meanings: Mapping[syntax.Name, syntax.Parameter | syntax.Let] = field(default_factory=dict)
    types: Mapping[syntax.Expression, Type] = field(default_factory=dict)
    floor: int | syntax.Parameter = 0
    facts: Facts | None = None


Check = Callable[[Found], tuple[Found, list[Diagnostic]]]


def children(expression: syntax.Expression) -> tuple[syntax.Expression, ...]:
    """The expressions directly inside an expression, in the order they are written."""
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
        case _:
            return ()


def expressions(statement: syntax.Statement) -> tuple[syntax.Expression, ...]:
    """The expressions a statement is made of, outermost only, in the order they are written."""
    match statement:
        case syntax.Window():
            return (statement.shape,)
        case syntax.Let():
            return (statement.value,)
        case syntax.Commit():
            bounds = [bound for bound in (statement.at_least, statement.at_most) if bound is not None]
            return (statement.mask, *(part for bound in bounds for part in (bound.count, bound.score)))
