"""The values of a step by the names that the policy's text gives them, and the `next` that fired.

Not here: the values by operation (`step_record`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.watched import WHEN
from ..language import syntax
from ..language.walk import bodies, children, expressions
from ..source import Span
from .explained_policy import ExplainedPolicy

ByOperation = Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A value with a name. `value`: one value, or one for each position of the window; `span`: the place in
    the text that gives it.
    """

    value: bool | int | float | Sequence[bool | int | float]
    span: Span


def named_values(explained: ExplainedPolicy, phase: int, values: ByOperation) -> dict[str, NamedValue]:
    """The named values of a step, in the order of the text: each name of the step, each state as the step
    read it, and under `set NAME` each state as the step set it.
    """
    states = explained.checked.resolved.states
    found: dict[str, NamedValue] = {}

    def add(name: str, expression: syntax.Expression, span: Span) -> None:
        operations = explained.watched.expressions.get((phase, expression), ())
        recorded = [number for number in operations if number in values]
        if recorded and name not in found:
            found[name] = NamedValue(values[recorded[-1]], span)

    for statement in bodies(explained.checked.resolved.policy)[phase].statements:
        for part in _parts(statement):
            if isinstance(part, syntax.Name) and part.identifier in states:
                add(part.identifier, part, part.span)
        if isinstance(statement, syntax.Let):
            add(statement.identifier.text, statement.value, statement.span)
        elif isinstance(statement, syntax.Set):
            add(f"set {statement.identifier.text}", statement.value, statement.span)
    return found


def fired(explained: ExplainedPolicy, phase: int, values: ByOperation) -> syntax.Next | None:
    """The `next` that decided the phase after the step; the first one whose condition holds."""
    for statement in bodies(explained.checked.resolved.policy)[phase].statements:
        if isinstance(statement, syntax.Next):
            when = explained.watched.statements.get((phase, statement), {}).get(WHEN)
            if when is not None and when in values and values[when] is True:
                return statement
    return None


def _parts(statement: syntax.Statement) -> Iterator[syntax.Expression]:
    """Every expression of a statement, with its parts."""
    waiting = list(expressions(statement))
    while waiting:
        part = waiting.pop(0)
        yield part
        waiting = [*children(part), *waiting]
