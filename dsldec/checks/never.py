"""Which conditions and bounds have no effect, whatever the denoiser gives?

A condition is reported if the ranges of its numbers decide it: `conf > 2` is never true. Not here: `next`
that a full window prevents (`phases`), names without a use (`unused`).
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import fixes
from ..diagnostics import Diagnostic, Fix
from ..language import syntax
from ..language.walk import bodies, expressions, statements, walk
from ..language.words import CONDITIONS, NUMBERS, WORDS, Extent, Kind
from ..source import Span
from .expression_ranges import ExpressionRanges, state_ranges
from .resolved import Resolved

# Words that reduce a score over `masked` if they have no `over=`.
OVER_THE_MASKED = frozenset(
    word.name
    for word in WORDS.values()
    if any(s.name == "over" and s.default == "masked" for s in word.slots)
)
WRITES = (syntax.Commit, syntax.Fill, syntax.Revoke)


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Warns of conditions and bounds without effect, and of reductions over the rest after a commit."""
    ranges = ExpressionRanges(resolved, states=state_ranges(resolved))
    wrong = [*_decided(resolved, ranges), *_literal_conditions(resolved)]
    wrong += [*_bounds(resolved, ranges), *_windows(resolved, ranges), *_rests(resolved)]
    return resolved, list({(d.code, d.span): d for d in wrong}.values())


def _all(resolved: Resolved) -> Iterator[syntax.Expression]:
    """The outermost expressions of a policy with its functions expanded."""
    for statement in statements(resolved.policy):
        yield from () if isinstance(statement, syntax.FunctionDeclaration) else expressions(statement)
    for phase in resolved.policy.phases:
        yield from expressions(phase)


def _of_function(expression: syntax.Expression, resolved: Resolved) -> bool:
    """Whether this stands in a function: a condition there may be decided in one call and not in another."""
    spans = [s.span for s in resolved.policy.statements if isinstance(s, syntax.FunctionDeclaration)]
    return any(span.start <= expression.span.start and expression.span.end <= span.end for span in spans)


def _decided(resolved: Resolved, ranges: ExpressionRanges) -> Iterator[Diagnostic]:
    for outer in _all(resolved):
        for part in walk(outer):
            if not isinstance(part, syntax.Comparison) or resolved.type_of(part).kind not in CONDITIONS:
                continue
            if _of_function(part, resolved) or (truth := ranges.truth(part)) is None:
                continue
            text = "true" if truth else "false"
            why = _why(part, ranges)
            help_ = "compare with a number inside this range, or delete the condition"
            yield Diagnostic("W0303", f"`{part.span.text}` is always {text}", part.span, why, help_)


def _why(comparison: syntax.Comparison, ranges: ExpressionRanges) -> str:
    """The range of the first operand that is no number."""
    for operand in comparison.operands:
        found = ranges.of(operand)
        if not isinstance(operand, syntax.Number) and found.low < found.high:
            low, high = (f"{x:g}" if isinstance(x, float) else str(x) for x in (found.low, found.high))
            return f"`{operand.span.text}` lies between {low} and {high}"
    return ""


def _literal_conditions(resolved: Resolved) -> Iterator[Diagnostic]:
    for statement in (*statements(resolved.policy), *resolved.policy.phases):
        condition = getattr(statement, "condition", None)
        if isinstance(condition, syntax.Boolean) and not isinstance(statement, syntax.Lookahead):
            what = "phase" if isinstance(statement, syntax.Phase) else "statement"
            help_ = "delete `when true`" if condition.value else f"delete the {what}, or write a condition"
            text = "true" if condition.value else "false"
            message, fix = f"this condition is always {text}", _without_condition(statement, condition)
            yield Diagnostic("W0303", message, condition.span, help=help_, fix=fix)


def _without_condition(statement: syntax.Statement | syntax.Phase, condition: syntax.Boolean) -> Fix | None:
    """`when true` goes, and so does a statement under `when false`."""
    if not condition.value:
        return None if isinstance(statement, syntax.Phase) else fixes.without_lines(statement.span)
    text = condition.span.source.text
    start = text.rfind("when", statement.span.start, condition.span.start)
    start -= len(text[:start]) - len(text[:start].rstrip(" \t"))
    return Fix(Span(condition.span.source, start, condition.span.end), "")


def _bounds(resolved: Resolved, ranges: ExpressionRanges) -> Iterator[Diagnostic]:
    for body in bodies(resolved.policy):
        if (
            body.phase is not None
            and body.phase.visits is not None
            and ranges.of(body.phase.visits).high <= 0
        ):
            message = f"`{body.name}` is entered at most 0 times, so it never runs"
            yield Diagnostic("W0304", message, body.phase.visits.span, help="write 1 or more, or delete it")
        for statement in body.statements:
            yield from _of_statement(statement, resolved, ranges)


def _of_statement(
    statement: syntax.Statement, resolved: Resolved, ranges: ExpressionRanges
) -> Iterator[Diagnostic]:
    most = getattr(statement, "at_most", None)
    if isinstance(statement, syntax.Stay):
        most = syntax.AtMost(statement.span, statement.count, None)
    if most is None or resolved.type_of(most.count).kind is not Kind.INT:
        return
    high, text = ranges.of(most.count).high, most.count.span.text
    if high <= 0:
        word = type(statement).__name__.lower()
        message = f"`at most {text}` is never above 0, so this `{word}` has no effect"
        help_, fix = "write 1 or more, or delete the statement", fixes.without_lines(statement.span)
        yield Diagnostic("W0304", message, most.count.span, help=help_, fix=fix)
        return
    least = getattr(statement, "at_least", None)
    if least is None or resolved.type_of(least.count).kind is not Kind.INT:
        return
    if ranges.of(least.count).low > high:
        message = f"`at least {least.count.span.text}` is never reached: `at most {text}` comes after it"
        help_ = f"write `at least {text}`, or a larger number after `at most`"
        fix = Fix(least.count.span, text)
        yield Diagnostic("W0305", message, most.count.span, help=help_, fix=fix)


def _windows(resolved: Resolved, ranges: ExpressionRanges) -> Iterator[Diagnostic]:
    for statement in resolved.policy.statements:
        if not isinstance(statement, syntax.Window) or not isinstance(statement.shape, syntax.Call):
            continue
        named = {keyword.identifier.text: keyword.value for keyword in statement.shape.keywords}
        least, most = named.get("min"), named.get("max")
        if least is None or most is None or resolved.type_of(least).kind not in NUMBERS:
            continue
        if ranges.of(least).low > ranges.of(most).high:
            message = f"`min={least.span.text}` is above `max={most.span.text}`: every window has its `max` positions"
            fix = Fix(least.span, most.span.text)
            help_ = "write a `min` that is at most `max`"
            yield Diagnostic("W0306", message, least.span, help=help_, fix=fix)


def _rests(resolved: Resolved) -> Iterator[Diagnostic]:
    """Reductions over the implicit `masked` below a statement that writes: over the rest only."""
    for body in bodies(resolved.policy):
        written = False
        for statement in body.statements:
            # The score of `pick by` reads the next forward.
            if written and not isinstance(statement, syntax.FunctionDeclaration | syntax.Pick):
                for outer in expressions(statement):
                    yield from _of_rest(outer, resolved)
            written = written or isinstance(statement, WRITES)


def _of_rest(outer: syntax.Expression, resolved: Resolved) -> Iterator[Diagnostic]:
    for part in walk(outer):
        if (
            isinstance(part, syntax.Call)
            and part.function.text in OVER_THE_MASKED
            and len(part.arguments) == 1
            and resolved.type_of(part.arguments[0]).extent is Extent.POSITION
            and not any(keyword.identifier.text == "over" for keyword in part.keywords)
            and not _of_function(part, resolved)
        ):
            word, x = part.function.text, part.arguments[0].span.text
            message = (
                f"`{part.span.text}` is over the positions that are still masked after the statements above"
            )
            label = "without those written in this step"
            help_ = (
                f"if this is meant, write `{word}({x}, over=masked)`; else write `before = masked` "
                f"above the first commit, and here `{word}({x}, over=before)`"
            )
            fix = fixes.before(Span(part.span.source, part.span.end - 1, part.span.end), ", over=masked")
            yield Diagnostic("W0307", message, part.span, label, help_, fix)
