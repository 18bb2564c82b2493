"""Which names does a policy declare, and where is each one used?

Parameters, states, values, functions with their arguments, phases, and the number of a candidate. Two values
with the same name in two phases are two names. Not here: the words of the language, the check that a name is
known (`checks.names`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ..checks.names import own_functions
from ..checks.resolved import Resolved
from ..language import syntax
from ..language.walk import expressions, statements, walk
from ..source import Span


class NameKind(StrEnum):
    """The kind of thing that a name stands for."""

    PARAMETER = "parameter"
    STATE = "state"
    VALUE = "value"
    FUNCTION = "function"
    ARGUMENT = "argument"
    PHASE = "phase"
    CANDIDATE = "number of the candidate"


Declaration = (
    syntax.Parameter
    | syntax.StateDeclaration
    | syntax.Let
    | syntax.Branch
    | syntax.FunctionDeclaration
    | syntax.Phase
)


@dataclass(frozen=True, slots=True)
class DeclaredName:
    """A name, the span of its declaration, and the spans of its uses.

    `node`: the declaration; for an argument, its function. `within`: where the name can be used, as (start,
    end); None for the whole policy.
    """

    kind: NameKind
    name: str
    span: Span
    uses: tuple[Span, ...]
    node: Declaration
    within: tuple[int, int] | None = None

    @property
    def places(self) -> tuple[Span, ...]:
        """The declaration and all uses."""
        return (self.span, *self.uses)


def declared_names(policy: syntax.PolicyDefinition, resolved: Resolved) -> tuple[DeclaredName, ...]:
    """The names of a policy as written, in the order of the text. `resolved`: the results of its checks."""
    uses: dict[int, list[Span]] = {}
    for name, binding in resolved.bindings.items():
        uses.setdefault(binding.identifier.span.start, []).append(name.span)
    for start, span in _uses_outside_expressions(policy):
        uses.setdefault(start, []).append(span)
    declared = [*_of_policy(policy), *_of_statements(policy), *_arguments(policy)]
    return tuple(
        DeclaredName(
            kind,
            identifier.text,
            identifier.span,
            tuple(sorted(uses.get(identifier.span.start, ()), key=lambda span: span.start)),
            node,
            within,
        )
        for kind, identifier, node, within in sorted(declared, key=lambda one: one[1].span.start)
    )


_Found = tuple[NameKind, syntax.Identifier, Declaration, tuple[int, int] | None]


def _of_policy(policy: syntax.PolicyDefinition) -> Iterator[_Found]:
    for parameter in policy.parameters:
        yield NameKind.PARAMETER, parameter.identifier, parameter, None
    for phase in policy.phases:
        yield NameKind.PHASE, phase.identifier, phase, None


def _of_statements(policy: syntax.PolicyDefinition) -> Iterator[_Found]:
    ends = {id(s): phase.span.end for phase in policy.phases for s in phase.statements}
    for statement in statements(policy):
        end = ends.get(id(statement), len(policy.span.source.text))
        if isinstance(statement, syntax.StateDeclaration):
            yield NameKind.STATE, statement.identifier, statement, None
        elif isinstance(statement, syntax.FunctionDeclaration):
            yield NameKind.FUNCTION, statement.identifier, statement, (statement.span.end, end)
        elif isinstance(statement, syntax.Let):
            yield NameKind.VALUE, statement.identifier, statement, (statement.span.end, end)
        elif isinstance(statement, syntax.Branch):
            yield NameKind.CANDIDATE, statement.identifier, statement, (statement.span.end, end)


def _arguments(policy: syntax.PolicyDefinition) -> Iterator[_Found]:
    for statement in statements(policy):
        if isinstance(statement, syntax.FunctionDeclaration):
            for argument in statement.parameters:
                yield NameKind.ARGUMENT, argument, statement, (statement.span.start, statement.span.end)


def _uses_outside_expressions(policy: syntax.PolicyDefinition) -> Iterator[tuple[int, Span]]:
    """Uses that no binding has: calls of functions, their arguments, phases, and states that are set. Each
    with the start of the declaration.
    """
    functions = {name: one.identifier.span.start for name, one in own_functions(policy).items()}
    phases = {one.identifier.text: one.identifier.span.start for one in policy.phases}
    states = {
        one.identifier.text: one.identifier.span.start
        for one in statements(policy)
        if isinstance(one, syntax.StateDeclaration)
    }
    for node in (*statements(policy), *policy.phases):
        for identifier, declared in _identifiers(node, phases, states):
            if identifier.text in declared:
                yield declared[identifier.text], identifier.span
        own = (
            {one.text: one.span.start for one in node.parameters}
            if isinstance(node, syntax.FunctionDeclaration)
            else {}
        )
        for part in (part for expression in expressions(node) for part in walk(expression)):
            if isinstance(part, syntax.Call) and part.function.text in functions:
                yield functions[part.function.text], part.function.span
            elif isinstance(part, syntax.Name) and part.identifier in own:
                yield own[part.identifier], part.span


def _identifiers(
    node: syntax.Statement | syntax.Phase, phases: dict[str, int], states: dict[str, int]
) -> Iterator[tuple[syntax.Identifier, dict[str, int]]]:
    if isinstance(node, syntax.Phase) and node.otherwise is not None:
        yield node.otherwise, phases
    elif isinstance(node, syntax.Next):
        yield node.phase, phases
    elif isinstance(node, syntax.StateDeclaration):
        yield node.scope, phases
    elif isinstance(node, syntax.Set):
        yield node.identifier, states
