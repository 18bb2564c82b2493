"""Does a policy declare more parameters, states or phases than the later checks can take?

Not here: the size of a policy after its functions are replaced (`functions`), the length of its text
(`language.limits`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.limits import MOST_DECLARED
from .resolved import Resolved


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Reports more parameters, states or phases than a policy may have."""
    policy = resolved.policy
    states = [s for s in policy.statements if isinstance(s, syntax.StateDeclaration)]
    lists: tuple[tuple[str, Sequence[syntax.Parameter | syntax.StateDeclaration | syntax.Phase]], ...] = (
        ("parameters", policy.parameters),
        ("states", states),
        ("phases", policy.phases),
    )
    return resolved, [
        _too_many(what, nodes[MOST_DECLARED]) for what, nodes in lists if len(nodes) > MOST_DECLARED
    ]


def _too_many(what: str, first: syntax.Parameter | syntax.StateDeclaration | syntax.Phase) -> Diagnostic:
    message = f"this policy has more than {MOST_DECLARED} {what}"
    return Diagnostic(
        "E0109", message, first.identifier.span, "this one is too many", "delete some, or split the policy"
    )
