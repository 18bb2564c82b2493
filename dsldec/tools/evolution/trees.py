"""Makes and changes trees of policies, and writes a tree as the text of a policy.

A new node has no place in a text, so its span is `NOWHERE`. Not here: which changes are made (`mutations`,
`crossing`), whether the result is a correct policy (`candidates`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ...language import syntax
from ...language.fmt import formatted, parts_of, parts_of_phase
from ...language.spell import Operand, Part, operands
from ...language.syntax import Expression
from ...language.walk import bodies, expressions, map_children, map_expressions, statements, walk
from ...source import Source, Span

NOWHERE = Span(Source("", "<evolve>"), 0, 0)
STEP = "  "


# --- new nodes ---


def identifier(text: str) -> syntax.Identifier:
    return syntax.Identifier(NOWHERE, text)


def name(text: str) -> syntax.Name:
    return syntax.Name(NOWHERE, text)


def number(value: int | float) -> Expression:
    """A number; a negative one is written with a minus sign in front."""
    node = syntax.Number(NOWHERE, abs(value))
    return syntax.Negation(NOWHERE, node) if value < 0 else node


def call(function: str, *arguments: Expression, **keywords: Expression) -> syntax.Call:
    """A call. A keyword of Python is written with `_` behind it: `while_=`."""
    named = tuple(
        syntax.Keyword(NOWHERE, identifier(key.rstrip("_") if key.endswith("_") else key), value)
        for key, value in keywords.items()
    )
    return syntax.Call(NOWHERE, identifier(function), arguments, named)


def compared(left: Expression, operator: str, right: Expression) -> syntax.Comparison:
    return syntax.Comparison(NOWHERE, (left, right), (operator,))


def both(left: Expression, right: Expression) -> syntax.Conjunction:
    return syntax.Conjunction(NOWHERE, left, right)


def either(left: Expression, right: Expression) -> syntax.Disjunction:
    return syntax.Disjunction(NOWHERE, left, right)


def commit(mask: Expression) -> syntax.Commit:
    return syntax.Commit(NOWHERE, mask, None, None, None)


# --- changes ---


def swapped(expression: Expression, old: Expression, new: Expression) -> Expression:
    """The expression with one node inside it replaced."""
    if expression is old:
        return new
    return map_children(expression, lambda child: swapped(child, old, new))


def with_expressions(
    policy: syntax.PolicyDefinition, change: Callable[[Expression], Expression]
) -> syntax.PolicyDefinition:
    """The policy with `change` applied to the outermost expressions of its statements and phases."""
    return replace(
        policy,
        statements=tuple(map_expressions(statement, change) for statement in policy.statements),
        phases=tuple(map_expressions(phase, change) for phase in policy.phases),
    )


def with_swapped(
    policy: syntax.PolicyDefinition, old: Expression, new: Expression
) -> syntax.PolicyDefinition:
    """The policy with one expression replaced by another."""
    return with_expressions(policy, lambda outer: swapped(outer, old, new))


def with_statement(
    policy: syntax.PolicyDefinition, old: syntax.Statement, new: Sequence[syntax.Statement]
) -> syntax.PolicyDefinition:
    """The policy with one statement replaced by some others, or by none."""

    def changed(all_: Sequence[syntax.Statement]) -> tuple[syntax.Statement, ...]:
        return tuple(one for each in all_ for one in (new if each is old else (each,)))

    phases = tuple(replace(phase, statements=changed(phase.statements)) for phase in policy.phases)
    return replace(policy, statements=changed(policy.statements), phases=phases)


def all_expressions(policy: syntax.PolicyDefinition) -> Iterator[Expression]:
    """The outermost expressions of a policy, those in the headers of its phases too."""
    for node in (*statements(policy), *policy.phases):
        yield from expressions(node)


def nodes(policy: syntax.PolicyDefinition) -> int:
    """The size of a policy: its statements, and all parts of its expressions."""
    parts = sum(1 for outer in all_expressions(policy) for _ in walk(outer))
    return parts + len(statements(policy)) + len(policy.phases)


def tidied(policy: syntax.PolicyDefinition) -> syntax.PolicyDefinition:
    """The policy without names that nothing reads: parameters, states with their `set`, names of a step."""
    while True:
        read = {p.identifier for e in all_expressions(policy) for p in walk(e) if isinstance(p, syntax.Name)}
        # A `set` that only its own state reads is of no use either.
        own = _read_by_others(policy)

        def stays(one: syntax.Statement, read: set[str] = read, own: set[str] = own) -> bool:
            if isinstance(one, syntax.StateDeclaration | syntax.Set):
                return one.identifier.text in own
            return not isinstance(one, syntax.Let) or one.identifier.text in read

        kept = replace(
            policy,
            parameters=tuple(one for one in policy.parameters if one.identifier.text in read),
            statements=tuple(filter(stays, policy.statements)),
            phases=tuple(replace(p, statements=tuple(filter(stays, p.statements))) for p in policy.phases),
        )
        if len(kept.parameters) == len(policy.parameters) and len(statements(kept)) == len(
            statements(policy)
        ):
            return kept
        policy = kept


def _read_by_others(policy: syntax.PolicyDefinition) -> set[str]:
    """The names that are read outside the `set` of the same name."""
    found: set[str] = set()
    for node in (*statements(policy), *policy.phases):
        own = node.identifier.text if isinstance(node, syntax.Set) else ""
        parts = (p for outer in expressions(node) for p in walk(outer))
        found |= {p.identifier for p in parts if isinstance(p, syntax.Name) and p.identifier != own}
    return found


def without_functions(policy: syntax.PolicyDefinition) -> syntax.PolicyDefinition:
    """A policy whose calls are replaced already (`checks.functions`), without its `def` lines."""
    kept = tuple(s for s in policy.statements if not isinstance(s, syntax.FunctionDeclaration))
    return replace(policy, statements=kept, doc=None)


def step_statements(policy: syntax.PolicyDefinition) -> list[syntax.Statement]:
    """The statements of the steps, each once."""
    return list(dict.fromkeys(one for body in bodies(policy) for one in body.statements))


# --- the text ---


def text_of(policy: syntax.PolicyDefinition) -> str | None:
    """The text of a tree in its canonical form; `None` where it is no policy."""
    parameters = ", ".join(map(_parameter, policy.parameters))
    doc = "" if policy.doc is None else f'{STEP}"{policy.doc.text}"\n'
    header = f"policy {policy.identifier.text}({parameters}):\n"
    blocks = [_block(policy.statements, STEP)]
    for phase in policy.phases:
        blocks.append(f"{STEP}{_line(parts_of_phase(phase))}\n")
        blocks.append(_block(phase.statements, STEP * 2))
    text, _ = formatted(Source(header + doc + "".join(blocks), "<evolve>"))
    return text


def spelled(expression: Expression) -> str:
    """An expression as text. Each operand that is an operator itself has brackets."""
    if isinstance(expression, syntax.Number):
        return repr(expression.value)
    if isinstance(expression, syntax.Boolean):
        return "true" if expression.value else "false"
    if isinstance(expression, syntax.Name):
        return expression.identifier
    if isinstance(expression, syntax.Call):
        named = [f"{one.identifier.text}={spelled(one.value)}" for one in expression.keywords]
        return f"{expression.function.text}({', '.join([*map(spelled, expression.arguments), *named])})"
    return " ".join(f"{one.before}{_in_brackets(one.node)}" for one in operands(expression))


def _in_brackets(expression: Expression) -> str:
    text = spelled(expression)
    return f"({text})" if operands(expression) else text


def _line(parts: Sequence[Part]) -> str:
    return "".join(_part(part) for part in parts)


def _part(part: Part) -> str:
    if not isinstance(part, Operand):
        return part
    return part.before + (_in_brackets(part.node) if part.level else spelled(part.node))


def _block(all_: Sequence[syntax.Statement], indent: str) -> str:
    """The lines of statements. Those of a `branch` are indented once more."""
    lines, inside = [], 0
    for one in all_:
        lines.append(f"{indent}{STEP if inside else ''}{_line(parts_of(one))}\n")
        inside = one.size if isinstance(one, syntax.Branch) else max(0, inside - 1)
    return "".join(lines)


def _parameter(parameter: syntax.Parameter) -> str:
    kind = " | ".join(choice.text for choice in parameter.choices) or parameter.kind.text
    text = f"{parameter.identifier.text}: {kind}"
    if parameter.default is not None:
        text += f" = {_literal(parameter.default)}"
    if parameter.range is not None:
        text += f" in {_literal(parameter.range.first)}..{_literal(parameter.range.last)}"
    return text


def _literal(literal: syntax.Literal | syntax.Quoted | syntax.ChoiceName) -> str:
    value = literal.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(literal, syntax.Quoted):
        return f'"{value}"'
    return value if isinstance(value, str) else repr(value)
