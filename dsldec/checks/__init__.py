"""Tree to checked policy: is it well formed, does it end, what can be said about it beforehand.

One question a file; `CHECKS` is their order and the driver is a loop over it. Only `check` makes a
`CheckedPolicy`, and lowering takes nothing else, so nothing unchecked can run.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..diagnostics import Diagnostic, Severity, in_order
from ..language import parse, syntax
from ..language.limits import MOST_DIAGNOSTICS
from ..source import Source, Span
from . import budgets, facts, functions, monotone, names, parameters, phases, progress, size, statements
from .facts import Facts
from .resolved import Check, Resolved

# What is said of a whole statement or call, and may be true only because a part of it is wrong.
CONSEQUENCES = frozenset({"E0203", "E0301", "E0302", "E0306", "E0308", "W0301"})

# After one of these the policy is not looked into any further: that could take too long.
TOO_LARGE = frozenset({"E0108", "E0109"})

CHECKS: tuple[Check, ...] = (
    size.check,
    parameters.check,
    names.check,
    functions.check,
    statements.check,
    phases.check,
    progress.check,
    budgets.check,
    monotone.check,
)


@dataclass(frozen=True, slots=True)
class CheckedPolicy:
    """A policy that passed every check, what was found out about its tree, and its facts."""

    policy: syntax.PolicyDefinition
    found: Resolved
    facts: Facts


def _causes(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    """Without what only follows from a mistake further in: of a statement or call that holds one, nothing can
    be said.

    Of two consequences at one place the first stays: each may follow from the other, and a mistake must not
    go unsaid.
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
    """By place, and no more than anybody reads: of many the errors."""
    ordered = in_order(diagnostics)
    first = sorted(ordered, key=lambda d: d.severity is not Severity.ERROR)[:MOST_DIAGNOSTICS]
    return in_order(first) if len(ordered) > MOST_DIAGNOSTICS else ordered


def check(source: Source) -> tuple[CheckedPolicy | None, list[Diagnostic]]:
    """The checked policy, or `None` where a diagnostic is an error. All mistakes of the text in one call, by
    place.
    """
    tree, diagnostics = parse.parse(source)
    if tree is None:
        return None, diagnostics
    found = Resolved(tree.policy)
    for one in CHECKS:
        found, wrong = one(found)
        diagnostics = diagnostics + _shown(wrong)
        if any(d.code in TOO_LARGE for d in wrong):
            break
    diagnostics = _shown(_causes(diagnostics))
    if any(d.severity is Severity.ERROR for d in diagnostics):
        return None, diagnostics
    found, _ = facts.check(found)  # of a policy with a mistake nothing more is said
    assert found.facts is not None
    return CheckedPolicy(found.policy, found, found.facts), diagnostics
