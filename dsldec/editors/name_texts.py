"""The texts that an editor shows about a policy and its names, as Markdown.

Not here: the words of the language (`word_texts`), finding the name at a place (`hover`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..checks.facts import Facts
from ..checks.values import Value
from ..language import syntax
from ..language.words import Kind
from .analysis import Analysis
from .declared_names import DeclaredName, NameKind
from .markdown import block, code, plain
from .word_texts import type_text

GEN_LENGTH = 256  # tokens to generate, for the bound on forwards


def of_name(analysis: Analysis, name: DeclaredName) -> str:
    """The declaration, the facts of its values, and the line of the declaration."""
    parts = [block(declaration(name)), *_known(analysis, name)]
    uses = len(name.uses)
    times = "is never used" if not uses else "is used once" if uses == 1 else f"is used {uses} times"
    parts.append(f"{name.kind} of line {name.span.line}; it {times}")
    return "\n\n".join(parts)


def declaration(name: DeclaredName) -> str:
    """The text that declares a name, on one line."""
    node = name.node
    if isinstance(node, syntax.Parameter):
        return node.span.text
    text = node.span.text.split("\n", 1)[0].rstrip()
    return text


def _known(analysis: Analysis, name: DeclaredName) -> Iterator[str]:
    node = name.node
    if isinstance(node, syntax.Parameter):
        yield from _of_parameter(analysis, node)
    elif name.kind is NameKind.CANDIDATE:
        yield "*int, one value for each row*"
    elif isinstance(node, syntax.StateDeclaration):
        extent = (
            "one value for each position"
            if node.each or node.kind.text == "mask"
            else "one value for each row"
        )
        yield f"*{node.kind.text}, {extent}*; reset per {code(node.scope.text)}"
    elif isinstance(node, syntax.Let):
        type_ = analysis.types.get((name.span.start, name.span.end))
        if type_ is not None and type_.kind is not Kind.UNKNOWN:
            yield f"*{type_text(type_)}*"
    elif isinstance(node, syntax.Phase) and analysis.checked is not None:
        reason = analysis.checked.facts.reasons.get(name.name)
        if reason:
            yield plain(reason)


def _of_parameter(analysis: Analysis, node: syntax.Parameter) -> Iterator[str]:
    kind = " or ".join(code(one.text) for one in node.choices) if node.choices else node.kind.text
    facts = [f"{kind}, one value for the run"]
    if node.default is not None:
        facts.append(f"default {code(node.default.span.text)}")
    else:
        facts.append("the caller gives the value")
    if node.range is not None:
        facts.append(f"from {code(node.range.first.span.text)} to {code(node.range.last.span.text)}")
    yield "; ".join(facts)
    if analysis.checked is not None:
        static = node.identifier.text in analysis.checked.facts.static
        yield (
            "static: another value compiles the step again"
            if static
            else "dynamic: an input of the compiled step"
        )


def defaults(facts: Facts) -> dict[str, Value]:
    """The default of each parameter that is a number, a bool or a choice."""
    values: dict[str, Value] = {}
    for parameter in facts.policy.parameters:
        if isinstance(parameter.default, syntax.Literal | syntax.ChoiceName):
            values[parameter.identifier.text] = parameter.default.value
    return values


def forwards(facts: Facts, values: Mapping[str, Value] | None = None) -> int:
    """The bound on forwards for `GEN_LENGTH` tokens, with the defaults of the parameters."""
    return facts.forwards_bound(GEN_LENGTH, defaults(facts) if values is None else values)


def of_policy(analysis: Analysis) -> str:
    """The policy's description, and its proved facts where it has no errors."""
    assert analysis.tree is not None
    tree = analysis.tree
    parts = [f"**policy {plain(tree.identifier.text)}**"]
    if tree.doc is not None:
        parts.append(plain(tree.doc.text))
    if analysis.checked is None:
        parts.append("Its facts are proved once it has no errors.")
    else:
        parts.append("\n".join(f"- {line}" for line in _facts(analysis.checked.facts)))
    return "\n\n".join(parts)


def _facts(facts: Facts) -> Iterator[str]:
    for phase, reason in facts.reasons.items():
        yield f"{f'phase {code(phase)}' if phase else 'it ends'}: {plain(reason)}"
    floor = (
        "some steps may write nothing"
        if facts.floor_per_step == 0
        else (f"every step writes at least {code(str(facts.floor_per_step))} positions, or all that are left")
    )
    yield floor
    yield f"forwards: at most {code(facts.forwards_formula)}; at most {forwards(facts)} for {GEN_LENGTH} tokens"
    states = [
        one.identifier.text for one in facts.policy.statements if isinstance(one, syntax.StateDeclaration)
    ]
    carried = f"; states: {', '.join(map(code, states))}" if states else ""
    yield f"carried between steps: {facts.state_bytes_per_position} bytes a position{carried}"
    yield (
        "deterministic"
        if facts.deterministic
        else "random: the same seed and request id give the same tokens"
    )
    yield f"KV caches that it may use: {', '.join(facts.caches)}"
    yield f"lossless: {plain(facts.lossless)}"
