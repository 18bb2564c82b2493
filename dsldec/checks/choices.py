"""Parameters with named choices, as `mode: conf | margin = conf`: their declaration, and `mode == margin`.

The value of such a parameter is a name. It is known before the step is made, so a comparison with it is a
constant there. Not here: the branch that is then left out (`ir.expressions`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from .. import fixes
from ..diagnostics import Diagnostic, Fix, did_you_mean
from ..language import syntax
from ..language.walk import walk
from ..language.words import Extent, Kind, Type
from .inference import Inference
from .resolved import Binding, Bindings


def choice_of(binding: object) -> syntax.Parameter | None:
    """A parameter with named choices."""
    return binding if isinstance(binding, syntax.Parameter) and binding.choices else None


def names(parameter: syntax.Parameter) -> tuple[str, ...]:
    return tuple(choice.text for choice in parameter.choices)


def listed(choices: tuple[str, ...]) -> str:
    return ", ".join(f"`{one}`" for one in choices)


def without_names(
    expression: syntax.Expression, scope: Mapping[str, Binding], known: Container[str]
) -> Iterator[syntax.Expression]:
    """The parts of an expression, without the names of choices in it."""
    found = set[syntax.Expression]()
    for part in walk(expression):  # a comparison comes before its operands
        if isinstance(part, syntax.Comparison):
            found |= _named_in(part, scope, known)
        if part not in found:
            yield part


def _named_in(
    comparison: syntax.Comparison, scope: Mapping[str, Binding], known: Container[str]
) -> set[syntax.Name]:
    """The operands that are names of choices, and so have no other meaning. A name without any meaning counts
    too: the types report it.
    """
    if len(comparison.operands) != 2:
        return set()
    found = set()
    for one, other in (comparison.operands, comparison.operands[::-1]):
        if not isinstance(one, syntax.Name) or not isinstance(other, syntax.Name):
            continue
        parameter = choice_of(scope.get(one.identifier))
        if parameter is None:
            continue
        elsewhere = other.identifier in scope or other.identifier in known
        if other.identifier in names(parameter) or not elsewhere:
            found.add(other)
    return found


def wrong_declaration(parameter: syntax.Parameter) -> Diagnostic | None:
    """The diagnostic (E0222) about choices that do not fit together."""
    known, seen = names(parameter), set[str]()
    for at, choice in enumerate(parameter.choices):
        if choice.text in seen:
            message = f"the choice `{choice.text}` stands here twice"
            once = fixes.between(parameter.choices[at - 1].span, choice.span)
            return Diagnostic("E0222", message, choice.span, help="leave it once", fix=once)
        seen.add(choice.text)
    if parameter.range is not None:
        kept = parameter.default or parameter.choices[-1]
        fix = fixes.between(kept.span, parameter.range.span)
        return Diagnostic("E0222", "a choice has no range", parameter.range.span, help="delete it", fix=fix)
    default = parameter.default
    if default is None:
        name, written = parameter.identifier.text, " | ".join(known)
        help_ = f"write `{name}: {written} = {known[0]}`"
        fix = fixes.after(parameter.choices[-1].span, f" = {known[0]}")
        message = f"the parameter `{name}` lacks its default"
        return Diagnostic("E0222", message, parameter.span, help=help_, fix=fix)
    if default.value in known:
        return None
    close = did_you_mean(str(default.value), known) or known[0]
    return Diagnostic(
        "E0222",
        f"`{default.span.text}` is none of {listed(known)}",
        default.span,
        help=f"did you mean `{close}`?",
        fix=Fix(default.span, close),
    )


def parts(
    comparison: syntax.Comparison, bindings: Bindings
) -> tuple[syntax.Parameter, syntax.Expression] | None:
    """The parameter with choices of a comparison, and the other operand."""
    for at, one in enumerate(comparison.operands[:2]):
        parameter = choice_of(bindings.get(one)) if isinstance(one, syntax.Name) else None
        if parameter is not None:
            return parameter, comparison.operands[1 - at]
    return None


def comparison_type(typing: Inference, comparison: syntax.Comparison) -> Type | None:
    """The type of a comparison with a choice; `None` for any other comparison. Reports E0223."""
    found = parts(comparison, typing.resolved.bindings)
    if found is None:
        return None
    parameter, other = found
    for operand in comparison.operands:
        typing.types[operand] = Type(Kind.CHOICE, Extent.RUN)
    known, name = names(parameter), parameter.identifier.text
    is_pair = len(comparison.operands) == 2 and comparison.operators[0] in ("==", "!=")
    if is_pair and isinstance(other, syntax.Name) and other.identifier in known:
        return Type(Kind.BOOL, Extent.RUN)
    close = did_you_mean(other.span.text, known) or known[0]
    message = f"`{name}` is one of {listed(known)}, and is compared with one of these names"
    return typing.wrong(
        "E0223",
        message,
        comparison,
        help=f"write `{name} == {close}` or `{name} != {close}`",
        fix=f"{name} == {close}",
    )


def chooses(condition: syntax.Expression, bindings: Bindings) -> bool:
    """Whether a condition is a comparison with a choice."""
    return isinstance(condition, syntax.Comparison) and parts(condition, bindings) is not None


def branches(typing: Inference, expression: syntax.Expression) -> Iterator[syntax.Expression]:
    """The values that an expression has under the choices of the parameters; itself if it depends on none."""
    binding = typing.binding(expression)
    inner = binding.value if isinstance(binding, syntax.Let) else expression
    if not isinstance(inner, syntax.Conditional) or not chooses(inner.condition, typing.resolved.bindings):
        yield expression
        return
    yield from branches(typing, inner.then)
    yield from branches(typing, inner.otherwise)


def holds(comparison: syntax.Comparison, bindings: Bindings, chosen: Mapping[str, object]) -> bool | None:
    """Whether a comparison with a choice holds for these values; `None` for any other comparison."""
    found = parts(comparison, bindings)
    if found is None:
        return None
    parameter, other = found
    assert isinstance(other, syntax.Name)
    return (chosen[parameter.identifier.text] == other.identifier) is (comparison.operators[0] == "==")
