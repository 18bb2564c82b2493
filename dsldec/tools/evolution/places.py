"""Where may an expression of a policy change, and which names can it read there?

Not here: the new expression (`generator`), the change (`mutations`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...checks.kinds import of_state
from ...checks.resolved import Resolved
from ...language import syntax
from ...language.syntax import Expression
from ...language.walk import HEAD, bodies, children, expressions
from ...language.words import PARAMETER_KINDS, WORDS, Extent, Kind, Type

WRITES = (syntax.Commit, syntax.Fill, syntax.Revoke, syntax.Edit)
BEFORE = "before"
# The word in whose `while=` the words of an order have a meaning.
ORDERING = next(word.within for word in WORDS.values() if word.name == "rank")


@dataclass(frozen=True, slots=True)
class NameScope:
    """The names that an expression may read, each with its type.

    `late`: the step has written something above. `ordered`: inside the `while=` of a prefix. `fixed`: in the
    head of the policy, where most words have no meaning.
    """

    names: Mapping[str, Type] = field(default_factory=dict)
    late: bool = False
    ordered: bool = False
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """An expression of a policy with its type and its scope. `scores`: it ranks positions."""

    expression: Expression
    type: Type
    scope: NameScope
    scores: bool = False


def places(resolved: Resolved) -> list[Place]:
    """All expressions of a checked policy, the outer ones before the inner ones."""
    return list(_places(resolved))


def scope_at(resolved: Resolved, statement: syntax.Statement) -> NameScope:
    """The scope of a statement of a step; the scope of the head for another one."""
    return next((scope for one, scope in _scopes(resolved) if one is statement), _head(resolved))


def scope_at_end(resolved: Resolved) -> NameScope:
    """The scope behind the last statement of the first phase, or of a policy without phases."""
    found = [scope for one, scope in _scopes(resolved) if not isinstance(one, HEAD)]
    return found[-1] if found else _head(resolved)


def _places(resolved: Resolved) -> Iterator[Place]:
    head = _head(resolved)
    for statement in resolved.policy.statements:
        if isinstance(statement, HEAD):
            yield from _of_statement(statement, resolved, replace(head, fixed=True))
    seen: set[syntax.Statement] = set()
    for statement, scope in _scopes(resolved):
        if statement not in seen:
            seen.add(statement)
            yield from _of_statement(statement, resolved, scope)
    for phase in resolved.policy.phases:
        yield from _of_statement(phase, resolved, head)


def _head(resolved: Resolved) -> NameScope:
    names = {
        one.identifier.text: Type(Kind(one.kind.text), Extent.RUN)
        for one in resolved.policy.parameters
        if one.kind.text in PARAMETER_KINDS and not one.choices
    }
    return NameScope(names | {name: of_state(state) for name, state in resolved.states.items()})


def _scopes(resolved: Resolved) -> Iterator[tuple[syntax.Statement, NameScope]]:
    """Every statement of a step with its scope; one that several phases share comes several times."""
    for body in bodies(resolved.policy):
        scope = _head(resolved)
        for statement in body.statements:
            yield statement, scope
            if isinstance(statement, syntax.Let):
                type_ = resolved.type_of(statement.value)
                scope = replace(scope, names={**scope.names, statement.identifier.text: type_})
            if isinstance(statement, WRITES):
                scope = replace(scope, late=True)


def _of_statement(
    statement: syntax.Statement | syntax.Phase, resolved: Resolved, scope: NameScope
) -> Iterator[Place]:
    scores = _scores(statement)
    for outer in expressions(statement):
        yield from _inside(outer, resolved, scope, outer in scores)


def _scores(statement: syntax.Statement | syntax.Phase) -> Sequence[Expression | None]:
    bounds = [getattr(statement, bound, None) for bound in ("at_least", "at_most")]
    if isinstance(statement, syntax.Revoke):
        return ()  # it ranks by a score that is low when sure
    return [bound.score for bound in bounds if bound is not None]


def _inside(
    expression: Expression, resolved: Resolved, scope: NameScope, scores: bool = False
) -> Iterator[Place]:
    type_ = resolved.type_of(expression)
    if type_.kind is not Kind.UNKNOWN:
        yield Place(expression, type_, scope, scores)
    if isinstance(expression, syntax.Call):
        yield from _inside_call(expression, resolved, scope)
        return
    for child in children(expression):
        yield from _inside(child, resolved, scope)


def _inside_call(call: syntax.Call, resolved: Resolved, scope: NameScope) -> Iterator[Place]:
    if call.function.text == BEFORE:
        return  # few words have a value at the start of a step
    for argument in call.arguments:
        yield from _inside(argument, resolved, scope)
    word = WORDS.get(call.function.text)
    for keyword in call.keywords:
        name = keyword.identifier.text
        ordered = scope.ordered or (call.function.text == ORDERING and name == "while")
        scores = word is not None and any(slot.name == name and slot.score for slot in word.slots)
        yield from _inside(keyword.value, resolved, replace(scope, ordered=ordered), scores)
