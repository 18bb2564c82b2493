"""Which parameters, states, lets and functions have no use?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..diagnostics import Diagnostic
from ..language import syntax
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
    wrong = [_unused(name, node.identifier) for name, nodes in lists for node in nodes if node not in used]
    wrong += [_unused("function", function.identifier) for function in functions]
    never_set = (s for s in states if s in used and s.identifier.text not in assigned)
    return wrong + [_never_set(state.identifier) for state in never_set]


def _unused(name: str, identifier: syntax.Identifier) -> Diagnostic:
    message = f"the {name} `{identifier.text}` is never used"
    return Diagnostic("W0201", message, identifier.span, help="use it or delete it")


def _never_set(state: syntax.Identifier) -> Diagnostic:
    message = f"the state `{state.text}` never changes"
    help_ = f"add `set {state.text} = ...` or make it a parameter"
    return Diagnostic("W0202", message, state.span, help=help_)
