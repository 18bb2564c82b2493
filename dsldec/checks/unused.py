"""Which parameters, states, lets and functions have no use?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .. import fixes
from ..diagnostics import Diagnostic, Fix
from ..language import syntax
from ..source import Span
from .resolved import Binding


def unused(
    policy: syntax.PolicyDefinition,
    lets: Iterable[syntax.Let | syntax.Branch],
    functions: Iterable[syntax.FunctionDeclaration],
    used: Collection[Binding],
    assigned: Collection[str],
) -> list[Diagnostic]:
    """Warns of names that nothing uses, and of states that no `set` changes.

    `functions`: the functions that no call names. `used`: the bindings of all names in use. `assigned`: the
    names after `set`.
    """
    states = [s for s in policy.statements if isinstance(s, syntax.StateDeclaration)]
    lists: tuple[tuple[str, Iterable[Binding]], ...] = (
        ("parameter", policy.parameters),
        ("state", states),
        ("name", lets),
    )
    wrong = [
        _unused(name, node.identifier, _deleted(policy, node))
        for name, nodes in lists
        for node in nodes
        if node not in used
    ]
    wrong += [
        _unused("function", function.identifier, fixes.without_lines(function.span)) for function in functions
    ]
    never_set = (s for s in states if s in used and s.identifier.text not in assigned)
    return wrong + [_never_set(state.identifier) for state in never_set]


def _unused(name: str, identifier: syntax.Identifier, fix: Fix | None) -> Diagnostic:
    message = f"the {name} `{identifier.text}` is never used"
    return Diagnostic("W0201", message, identifier.span, help="use it or delete it", fix=fix)


def _deleted(policy: syntax.PolicyDefinition, node: Binding) -> Fix | None:
    """The fix that deletes a declaration. A branch has other statements in it, and stays."""
    if isinstance(node, syntax.Branch):
        return None
    if not isinstance(node, syntax.Parameter):
        return fixes.without_lines(node.span)
    at = policy.parameters.index(node)
    if at:
        return fixes.between(policy.parameters[at - 1].span, node.span)
    if len(policy.parameters) > 1:
        following = policy.parameters[1].span
        return Fix(Span(node.span.source, node.span.start, following.start), "")
    text = node.span.source.text
    behind = text[node.span.end :].lstrip()
    end = len(text) - len(behind) + 1 if behind.startswith(",") else node.span.end
    return Fix(Span(node.span.source, node.span.start, end), "")


def _never_set(state: syntax.Identifier) -> Diagnostic:
    message = f"the state `{state.text}` never changes"
    help_ = f"add `set {state.text} = ...` or make it a parameter"
    return Diagnostic("W0202", message, state.span, help=help_)
