"""Which parameter holds the pattern of a policy, and how does a policy without one get one?

Not here: patterns themselves (`dsldec.patterns`), the likeliest path of a step (`backends`).
"""

from __future__ import annotations

import re

from ..language import syntax

PARAMETER = "pattern"  # the name of the parameter that `with_pattern` adds
TEXT_MATCHES = "the text matches the pattern `{}`: whatever a step writes, a match stays possible, and the finished text is one"
ASSUMPTION = "no stop id and no stop string ends the text before it matches"


def constraints(policy: syntax.PolicyDefinition) -> list[syntax.Logits]:
    """The lines `logits constrain(...)`."""
    return [
        statement
        for statement in policy.statements
        if isinstance(statement, syntax.Logits)
        and isinstance(statement.transform, syntax.Call)
        and statement.transform.function.text == "constrain"
    ]


def pattern_of(policy: syntax.PolicyDefinition) -> str | None:
    """The name of the parameter that holds the pattern; `None` for a policy without one."""
    for statement in constraints(policy):
        assert isinstance(statement.transform, syntax.Call)
        for argument in statement.transform.arguments:
            if isinstance(argument, syntax.Name):
                return argument.identifier
    return None


def with_pattern(policy: syntax.PolicyDefinition) -> str:
    """The text of a checked policy with a parameter of kind `pattern` and the line that constrains it."""
    text, name = policy.span.source.text, _free_name(policy)
    window = next(one for one in policy.statements if isinstance(one, syntax.Window))
    begin = text.rfind("\n", 0, window.span.start) + 1
    end = text.find("\n", window.span.end)
    end = len(text) if end < 0 else end
    line = f"\n{text[begin : window.span.start]}logits constrain({name})"
    at, added = _end_of_parameters(policy, text, f"{name}: pattern")
    return text[:at] + added + text[at:end] + line + text[end:]


def _end_of_parameters(policy: syntax.PolicyDefinition, text: str, parameter: str) -> tuple[int, str]:
    """Where a parameter is added to the header, and the text to add there."""
    if policy.parameters:
        return policy.parameters[-1].span.end, f", {parameter}"
    at = policy.identifier.span.end
    bracket = at + len(text[at:]) - len(text[at:].lstrip(" \t"))
    if text[bracket : bracket + 1] == "(":
        return bracket + 1, parameter
    return at, f"({parameter})"


def _free_name(policy: syntax.PolicyDefinition) -> str:
    """A name that the policy does not use."""
    taken = set(re.findall(r"\w+", policy.span.source.text))
    numbered = (f"{PARAMETER}_{n}" for n in range(2, len(taken) + 3))
    return next(name for name in (PARAMETER, *numbered) if name not in taken)
