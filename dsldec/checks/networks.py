"""Do all calls of `learned` agree about the inputs of a network, and does a bound network fit the policy?

Not here: whether an argument is a number (`calls`), the file of a network (`networks.network_file`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import expressions, statements, walk
from ..language.words import Kind
from ..networks.layers import MOST_INPUTS
from .resolved import Resolved

LEARNED = "learned"


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Reports a network with two numbers of inputs, and one with too many."""
    inputs: dict[str, int] = {}
    wrong = []
    for name, call in calls(resolved):
        count = len(call.arguments) - 1
        first = inputs.setdefault(name, count)
        if count > MOST_INPUTS:
            message = f"`{LEARNED}` has {count} inputs here"
            wrong.append(
                Diagnostic("E0230", message, call.span, help=f"a network has at most {MOST_INPUTS} inputs")
            )
        elif count != first:
            message = f"`{name}` has {_inputs(count)} here, and {_inputs(first)} above"
            help_ = "give it the same inputs everywhere, or declare a second network"
            wrong.append(Diagnostic("E0231", message, call.span, help=help_))
    return resolved, wrong


def inputs_of_networks(resolved: Resolved) -> dict[str, int]:
    """The number of inputs of each network that the policy reads, by the name of its parameter."""
    return {name: len(call.arguments) - 1 for name, call in calls(resolved)}


def calls(resolved: Resolved) -> Iterator[tuple[str, syntax.Call]]:
    """The calls of `learned`, each with the name of its network, in the order of the text."""
    nodes = [*statements(resolved.policy), *resolved.policy.phases]
    outer = [
        e for node in nodes if not isinstance(node, syntax.FunctionDeclaration) for e in expressions(node)
    ]
    found = (part for expression in outer for part in walk(expression))
    ordered = sorted(
        (part for part in found if isinstance(part, syntax.Call) and part.function.text == LEARNED),
        key=lambda call: call.span.start,
    )
    for call in ordered:
        if (name := network_name(resolved, call)) is not None:
            yield name, call


def network_name(resolved: Resolved, call: syntax.Call) -> str | None:
    """The parameter that the first argument names, directly or through names for it."""
    network = call.arguments[0] if call.arguments else None
    while isinstance(network, syntax.Name):
        binding = resolved.bindings.get(network)
        if isinstance(binding, syntax.Parameter):
            return binding.identifier.text if binding.kind.text == Kind.NETWORK else None
        network = binding.value if isinstance(binding, syntax.Let) else None
    return None


def _inputs(count: int) -> str:
    return f"{count} input{'s' * (count != 1)}"
