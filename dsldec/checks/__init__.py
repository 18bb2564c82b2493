"""From the text of a policy to a checked policy: is it well formed, does decoding end, which facts are known?

Each file answers one question. `CHECKS` is the order of the checks, and `check` runs them. Only `check` makes
a `CheckedPolicy`, and `ir.lower` takes nothing else, so no unchecked policy runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..diagnostics import Diagnostic, Severity, in_order
from ..language import parse, syntax
from ..language.limits import MOST_DIAGNOSTICS
from ..language.words import Type
from ..source import Source, Span
from . import (
    budgets,
    facts,
    functions,
    monotone,
    names,
    networks,
    never,
    parameters,
    phases,
    progress,
    size,
    statements,
)
from .facts import Facts
from .progress import UNPROVED, Progress
from .resolved import Check, Resolved

# Diagnostics of a whole statement or call. A mistake inside it may cause them.
CONSEQUENCES = frozenset({"E0203", "E0301", "E0302", "E0306", "E0308", "W0301"})

# After one of these, no other check runs: on such a policy it could take too long.
TOO_LARGE = frozenset({"E0108", "E0109"})

CHECKS: tuple[Check, ...] = (
    size.check,
    parameters.check,
    names.check,
    functions.check,
    statements.check,
    networks.check,
    phases.check,
    monotone.check,
    never.check,
)


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A policy that passed every check, with its facts."""

    resolved: Resolved
    facts: Facts


@dataclass(frozen=True, slots=True)
class ExaminedPolicy:
    """The results of all checks, for tools that read texts with mistakes.

    `tree`: the policy as written; None where the text cannot be parsed. `resolved`: what the checks found,
    also after a mistake. `checked`: the policy, if nothing is wrong. `diagnostics`: in the order of the text.
    """

    tree: syntax.PolicyDefinition | None
    resolved: Resolved | None
    checked: CheckedPolicy | None
    diagnostics: list[Diagnostic]


def check(
    source: Source, outputs: Mapping[str, Type] = MappingProxyType({})
) -> tuple[CheckedPolicy | None, list[Diagnostic]]:
    """The checked policy, and the diagnostics of the whole text in the order of the text.

    The policy is `None` if a diagnostic is an error. `outputs`: the type of the output of each network that
    is known already, by the name of its parameter.
    """
    examined = examine(source, outputs)
    return examined.checked, examined.diagnostics


def examine(source: Source, outputs: Mapping[str, Type] = MappingProxyType({})) -> ExaminedPolicy:
    """The results of all checks of a text, also where it has mistakes. `outputs`: as for `check`."""
    tree, diagnostics = parse.parse(source)
    if tree is None:
        return ExaminedPolicy(None, None, None, diagnostics)
    resolved, proved, wrong = _checked(Resolved(tree.policy, outputs=dict(outputs)))
    diagnostics = _shown(_causes(diagnostics + wrong))
    checked = None
    if not any(d.severity is Severity.ERROR for d in diagnostics):
        checked = CheckedPolicy(resolved, facts.summarise(resolved, proved))
    return ExaminedPolicy(tree.policy, resolved, checked, diagnostics)


def _checked(resolved: Resolved) -> tuple[Resolved, Progress, list[Diagnostic]]:
    """The results of all checks, with a limited number of diagnostics from each check."""
    diagnostics: list[Diagnostic] = []
    for one in CHECKS:
        resolved, wrong = one(resolved)
        diagnostics += _shown(wrong)
        if any(d.code in TOO_LARGE for d in wrong):
            return resolved, UNPROVED, diagnostics
    proved, wrong = progress.prove(resolved)
    diagnostics += _shown(wrong)
    return resolved, proved, diagnostics + _shown(budgets.check(resolved, proved))


def _causes(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics, without the possible consequences of other mistakes.

    If a statement or call contains a mistake, the diagnostics of the whole statement or call are dropped. Of
    two such diagnostics at one place the first stays: either may be the cause, and one must be shown.
    """
    errors = [
        (at, d) for at, d in enumerate(diagnostics) if d.span is not None and d.severity is Severity.ERROR
    ]

    def follows(at: int, d: Diagnostic) -> bool:
        return any(
            d.code != error.code
            and _holds(d.span, error.span)
            and (d.span != error.span or error.code not in CONSEQUENCES or before < at)
            for before, error in errors
        )

    return [d for at, d in enumerate(diagnostics) if d.code not in CONSEQUENCES or not follows(at, d)]


def _holds(outer: Span | None, inner: Span | None) -> bool:
    return outer is not None and inner is not None and outer.start <= inner.start and inner.end <= outer.end


def _shown(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """The diagnostics in the order of the text. Of too many for a person to read, the errors come first."""
    ordered = in_order(diagnostics)
    first = sorted(ordered, key=lambda d: d.severity is not Severity.ERROR)[:MOST_DIAGNOSTICS]
    return in_order(first) if len(ordered) > MOST_DIAGNOSTICS else ordered
