"""Do the kind, the default and the range of a parameter fit together?

Also here: whether a value from the caller fits a parameter.
"""

from __future__ import annotations

from .. import fixes
from ..diagnostics import Diagnostic, Fix, UsageError, did_you_mean
from ..language import syntax
from ..language.parse import LARGEST_INT, LARGEST_REAL
from ..language.words import PARAMETER_KINDS, TABLES, WITHOUT_DEFAULT, Kind
from ..networks.network import LearnedNetwork
from ..patterns.regular import checked
from . import choices
from .resolved import Resolved

MOST_NUMBERS = 2**22  # numbers of a table, one for each id; vocabularies are far smaller


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Reports parameters of an unknown kind, and defaults and ranges that do not fit."""
    wrong = (_wrong(parameter) for parameter in resolved.policy.parameters)
    return resolved, [diagnostic for diagnostic in wrong if diagnostic is not None]


def _wrong(parameter: syntax.Parameter) -> Diagnostic | None:
    kind = parameter.kind
    if parameter.choices:
        return choices.wrong_declaration(parameter)
    if kind.text.startswith("table by ") and kind.text not in TABLES:
        message = f"`{kind.span.text}` is no kind of table"
        return Diagnostic("E0222", message, kind.span, help="write `table` (by id) or `table by step`")
    if kind.text not in PARAMETER_KINDS or kind.text == Kind.CHOICE:
        return _unknown_kind(kind)
    if kind.text == Kind.NETWORK:
        return _wrong_network(parameter)
    if kind.text in TABLES and parameter.range is not None:
        return _no_range("a table has no range", parameter, parameter.range)
    if kind.text == Kind.PATTERN:
        return _wrong_pattern(parameter)
    if parameter.default is None:
        return _no_default(parameter)
    ends = (parameter.range.first, parameter.range.last) if parameter.range else ()
    for literal in (parameter.default, *ends):
        if problem := unfit(Kind(kind.text), literal.value):
            label = f"`{parameter.identifier.text}` is of kind `{kind.text}`"
            return Diagnostic("E0208", f"`{literal.span.text}` is {problem}", literal.span, label)
    if parameter.range is None:
        return None
    first, last = parameter.range.first.value, parameter.range.last.value
    if not first <= last:
        spans = [parameter.range.first.span, parameter.range.last.span]
        swapped = Fix(spans[0].to(spans[1]), f"{spans[1].text}..{spans[0].text}")
        help_ = "write the smaller end first"
        return Diagnostic("E0208", "this range is empty", parameter.range.span, help=help_, fix=swapped)
    if not first <= parameter.number <= last:
        message = f"the default `{parameter.default.span.text}` is outside `{parameter.range.span.text}`"
        return Diagnostic(
            "E0208", message, parameter.default.span, help="widen the range or take another default"
        )
    return None


# Names that other programs give to a kind.
_ALIASES = {
    Kind.PATTERN: "regex regexp re schema json json_schema grammar string str text",
    Kind.NETWORK: "model net nn module mlp file path",
    Kind.PROB: "probability float01 share",
    Kind.REAL: "float number double",
    Kind.INT: "integer count size",
    Kind.BOOL: "boolean flag",
    Kind.TABLE: "list array dict vector",
    Kind.TOKEN: "id token_id",
}
_KIND_OF = {alias: kind for kind, aliases in _ALIASES.items() for alias in aliases.split()}


def _unknown_kind(kind: syntax.Identifier) -> Diagnostic:
    kinds = sorted(PARAMETER_KINDS - {Kind.CHOICE})
    close = _KIND_OF.get(kind.text.lower()) or did_you_mean(kind.text, kinds)
    help_ = f"did you mean `{close}`?" if close else "the kinds are " + ", ".join(f"`{one}`" for one in kinds)
    fix = Fix(kind.span, str(close)) if close else None
    message = f"`{kind.text}` is not a kind of parameter"
    return Diagnostic("E0208", message, kind.span, help=help_, fix=fix)


def _no_range(message: str, parameter: syntax.Parameter, odd: syntax.Range) -> Diagnostic:
    kept = parameter.default or parameter.kind
    fix = fixes.between(kept.span, odd.span)
    return Diagnostic("E0208", message, odd.span, help="delete it", fix=fix)


def _wrong_pattern(parameter: syntax.Parameter) -> Diagnostic | None:
    """A pattern has a text as its default, or none, and no range."""
    if parameter.range is not None:
        return _no_range("a pattern has no range", parameter, parameter.range)
    if isinstance(parameter.default, syntax.Literal):
        message, name = f"`{parameter.default.span.text}` is not a pattern", parameter.identifier.text
        help_ = f'write the pattern in quotes, `{name}: pattern = "[0-9]+"`, or leave it out'
        return Diagnostic("E0208", message, parameter.default.span, help=help_)
    if isinstance(parameter.default, syntax.Quoted):
        return _wrong_text(parameter.default)
    return None


def _wrong_text(default: syntax.Quoted) -> Diagnostic | None:
    """Reports an expression that no automaton follows, at its place. A schema is read when it is used."""
    if default.value.lstrip().startswith("{"):
        return None
    try:
        checked(default.value)
    except UsageError as error:
        found, span = error.diagnostic, default.span
        label = f"`{found.span.text}`" if found.span is not None else ""
        return Diagnostic(found.code, found.message, span, label, found.help)
    return None


def _no_default(parameter: syntax.Parameter) -> Diagnostic:
    name, kind = parameter.identifier.text, parameter.kind.text
    value = _EXAMPLES.get(Kind(kind), "0")
    if parameter.range is not None:
        value = parameter.range.first.span.text
    may = " or ".join(f"`{one}`" for one in sorted(WITHOUT_DEFAULT))
    label = f"only a parameter of kind {may} may have none"
    help_ = f"write `{name}: {kind} = {value}`"
    fix = fixes.after(parameter.kind.span, f" = {value}")
    message = f"the parameter `{name}` lacks its default"
    return Diagnostic("E0213", message, parameter.span, label, help_, fix)


_EXAMPLES = {Kind.PROB: "0.5", Kind.NATS: "0.5", Kind.REAL: "1.0", Kind.BOOL: "false", Kind.INT: "1"}


def _wrong_network(parameter: syntax.Parameter) -> Diagnostic | None:
    """A network is bound by the caller, so it has neither a default nor a range."""
    odd = parameter.default or parameter.range
    if odd is None:
        return None
    help_ = f"write `{parameter.identifier.text}: network`; the caller binds it to a file"
    fix = fixes.between(parameter.kind.span, parameter.span)
    return Diagnostic("E0208", "a network has no default and no range", odd.span, help=help_, fix=fix)


def unfit(kind: Kind, value: object) -> str:
    """The reason why a parameter of this kind cannot have a value; empty if it can."""
    if kind is Kind.PATTERN:
        return "" if isinstance(value, str) else "not the text of a pattern"
    if kind is Kind.NETWORK:
        return "" if isinstance(value, LearnedNetwork) else "not a network, or the path of its file"
    if kind is Kind.BOOL:
        return "" if isinstance(value, bool) else "not `true` or `false`"
    if kind in TABLES and not isinstance(value, bool | int | float):
        return _unfit_table(value, "step" if kind is Kind.STEP_TABLE else "id")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not a number"
    if kind in (Kind.INT, Kind.TOKEN):
        return (
            "not a whole number"
            if not isinstance(value, int)
            else ""
            if abs(value) <= LARGEST_INT
            else "too large"
        )
    if kind is Kind.PROB:
        return "" if 0 <= value <= 1 else "not a probability: they lie between 0 and 1"
    return "" if abs(value) <= LARGEST_REAL else "not a finite number"


def _unfit_table(value: object, index: str) -> str:
    """A table has a number for each id or step, in order; a single number stands for all of them."""
    if isinstance(value, list | tuple) and len(value) > MOST_NUMBERS:
        return f"longer than the limit of {MOST_NUMBERS:,} numbers"
    if not isinstance(value, tuple):
        return f"not a list of numbers, one for each {index}"
    if not value:
        return f"an empty table: it has a number for each {index}"
    wrong = ((at, problem) for at, one in enumerate(value) if (problem := unfit(Kind.REAL, one)))
    return next((f"a table whose entry for {index} {at} is {problem}" for at, problem in wrong), "")
