"""The view of a policy: its description, its parameters, its facts in words, and its text.

Not here: the colours of the text (`policy_text`), the sentences (`tools.explain`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..checks.values import Value
from ..editors.roles import Role, roles
from ..language import syntax
from ..policy import Policy
from ..tools.explain import GEN_LENGTH, fact_lines
from .markup import framed, paragraph, table, text, unfolded
from .policy_text import policy_code

LINES_SHOWN_AT_ONCE = 40
MOST_PARAMETERS, MOST_SENTENCES, LONGEST_SENTENCE = 40, 60, 2000


def policy_html(policy: Policy, gen_length: int = GEN_LENGTH) -> str:
    """A policy under its parameter values, with the facts for a length."""
    source = policy.facts.source
    return framed(
        f"policy {text(policy.name)}",
        paragraph(text(policy.doc, 1000)) if policy.doc else "",
        *_parameters(policy),
        unfolded(f"Facts, for {gen_length:,} tokens", _facts(policy, gen_length), opened=True),
        unfolded("Text", policy_code(source), opened=source.count("\n") <= LINES_SHOWN_AT_ONCE),
    )


def _facts(policy: Policy, gen_length: int) -> str:
    lines = [line.strip() for line in fact_lines(policy, gen_length)]
    items = [f"<li>{text(line, LONGEST_SENTENCE)}</li>" for line in lines[:MOST_SENTENCES]]
    more = len(lines) - len(items)
    rest = paragraph(f"{more} more facts: <code>policy.facts</code>.", soft=True) if more else ""
    return f'<ul style="margin:.3em 0">{"".join(items)}</ul>{rest}'


def _parameters(policy: Policy) -> Iterator[str]:
    declared = policy.facts.policy.parameters
    if not declared:
        yield paragraph("It has no parameters.", soft=True)
        return
    values, comments = policy.parameters, _comments(policy.facts.source)
    rows = [
        _row(one, policy, values.get(one.identifier.text), comments.get(one.span.line, ""))
        for one in declared[:MOST_PARAMETERS]
    ]
    yield table(("parameter", "value", "kind", "range", "another value", "comment"), rows, prose=(1, 5))
    if len(declared) > len(rows):
        more = len(declared) - len(rows)
        yield paragraph(f"{more} more: <code>policy.parameters</code>.", soft=True)


def _row(declared: syntax.Parameter, policy: Policy, value: Value | None, comment: str) -> tuple[str, ...]:
    name = declared.identifier.text
    parameter = policy.program.parameters[name]
    low, high = parameter.smallest, parameter.largest
    kind = " | ".join(parameter.choices) or str(parameter.kind)
    again = name in policy.facts.static
    return (
        f"<code>{text(name)}</code>",
        "<em>not bound</em>" if value is None else text(shown_value(value)),
        text(kind),
        "" if low is None or high is None else text(f"{low}..{high}"),
        "compiles again" if again else "is free",
        text(comment),
    )


def shown_value(value: Value) -> str:
    """A value of a parameter, with few numbers of a table."""
    if isinstance(value, tuple):
        numbers = ", ".join(str(one) for one in value[:4])
        return f"{numbers}, … ({len(value):,} numbers)" if len(value) > 4 else numbers
    return str(value).lower() if isinstance(value, bool) else str(value)


def _comments(source: str) -> dict[int, str]:
    """The comment of each line of the head that has one."""
    found: defaultdict[int, str] = defaultdict(str)
    for piece in roles(source):
        if piece.role is Role.STATEMENT and piece.text != "policy":
            break
        if piece.role is Role.COMMENT:
            found[source.count("\n", 0, piece.start) + 1] = piece.text.lstrip("# ")
    return found
