"""From the text of a policy to a checked policy: is it well formed, does decoding end, which facts are known?

Each file answers one question. `CHECKS` is the order of the checks, and `check` runs them. Only `check` makes
a `CheckedPolicy`, and `ir.lower` takes nothing else, so no unchecked policy runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..diagnostics import Diagnostic, Severity, in_order
from ..language import parse
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


def check(
    source: Source, outputs: Mapping[str, Type] = MappingProxyType({})
) -> tuple[CheckedPolicy | None, list[Diagnostic]]:
    """The checked policy, and the diagnostics of the whole text in the order of the text.

    The policy is `None` if a diagnostic is an error. `outputs`: the type of the output of each network that
    is known already, by the name of its parameter.
    """
    tree, diagnostics = parse.parse(source)
    if tree is None:
        return None, diagnostics
    resolved, proved, wrong = _checked(Resolved(tree.policy, outputs=dict(outputs)))
    diagnostics = _shown(_causes(diagnostics + wrong))
    if any(d.severity is Severity.ERROR for d in diagnostics):
        return None, diagnostics
    return CheckedPolicy(resolved, facts.summarise(resolved, proved)), diagnostics


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
