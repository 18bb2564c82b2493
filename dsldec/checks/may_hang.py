"""The diagnostic of a phase that may never end: the reason, and the text that the author should type.

Not here: the proof (`progress`).
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import fixes
from ..diagnostics import Diagnostic, Fix
from ..language import syntax
from ..language.walk import Body, walk
from ..language.words import Kind
from .floor_values import smallest, suggested
from .floors import CHOICES, TOP_ARGUMENTS, Prover
from .patterns import pattern_of
from .resolved import Resolved
from .schedules import SCHEDULES, is_call

ALWAYS = "commit top(masked, 1, by=conf)"  # a line that always writes


def diagnose(body: Body, resolved: Resolved) -> Diagnostic | None:
    """The diagnostic (E0301) of a phase that may never end; `None` if its mistake is already reported."""
    commits = [s for s in body.statements if isinstance(s, syntax.Commit)]
    if not commits:
        return _commits_nothing(body, resolved)
    if any(resolved.type_of(commit.mask).kind is not Kind.MASK for commit in commits):
        return None  # `kinds` has reported that it is no mask
    name = f"the phase `{body.name}`" if body.name else "this policy"
    message = f"a step of {name} can commit nothing, so decoding may never end"
    prover = Prover(resolved)
    prover.floor_of_body(body)
    label, help_, fix = _why(commits[-1], body, prover)
    return Diagnostic("E0301", message, commits[-1].span, label, help_, fix)


def _commits_nothing(body: Body, resolved: Resolved) -> Diagnostic:
    if body.phase is None:
        fills = any(isinstance(s, syntax.Fill) for s in body.statements)
        span = body.statements[-1].span if fills else resolved.policy.identifier.span
        help_ = f"add a line: `{ALWAYS}`"
        message = "this policy commits nothing, so decoding never ends"
        last = resolved.policy.statements[-1:]
        fix = fixes.line_below(last[0].span, ALWAYS) if last else None
        return Diagnostic("E0301", message, span, help=help_, fix=fix)
    leaves = any(isinstance(s, syntax.Next) for s in body.statements)
    message = f"the phase `{body.name}` commits nothing and may never be left"
    help_ = (
        "add `idle or` to the condition of a `next`"
        if leaves
        else "leave it by `next PHASE`, or commit something in every step"
    )
    return Diagnostic("E0301", message, body.phase.identifier.span, help=help_)


def _why(commit: syntax.Commit, body: Body, prover: Prover) -> tuple[str, str, Fix | None]:
    """The reason why a commit may write nothing (the label), the text to type (the help), the fix."""
    for count in _counts(commit):
        floor = prover.count(count)
        if isinstance(floor, syntax.Parameter) and smallest(floor) < 1:
            name, default = floor.identifier.text, suggested(floor)
            help_ = f"give the parameter a range: `{name}: int = {default} in 1..65536`"
            return f"`{name}` may be 0", help_, _with_range(floor, default)
        if isinstance(count, syntax.Number) and floor == 0:
            return "a count here is 0", "write 1 or more", Fix(count.span, "1")
    if commit.ids is not None:
        odd = "MASK" if pattern_of(prover.resolved.policy) is None else "an id that the pattern forbids"
        label = f"`{commit.ids.span.text}` may be {odd}, which is not written"
        help_ = f"add a line that always writes: `{ALWAYS}`"
        return label, help_, fixes.line_below(commit.span, ALWAYS)
    if commit.at_most is not None and commit.at_least is not None:
        most = commit.at_most.count.span
        if smallest(prover.count(commit.at_most.count)) < 1:
            bounded = Fix(most, f"max(1, {most.text})")
            return f"`{most.text}` may be 0", f"write `at most max(1, {most.text})`", bounded
    unsure = commit.mask
    while isinstance(unsure, syntax.Conjunction):
        unsure = unsure.left if prover.floor(unsure.left) == 0 else unsure.right
    fix: Fix | None = None
    if commit.at_most is not None and commit.at_least is None:
        fix = fixes.before(commit.at_most.span, "at least 1 by conf ")
    elif commit.at_least is None:
        fix = fixes.after(commit.span, " at least 1 by conf")
    return f"no position is sure to pass `{unsure.span.text}`", _help(commit, body), fix


def _with_range(parameter: syntax.Parameter, default: object) -> Fix | None:
    """The fix that gives a parameter a default and a range from 1 on."""
    if parameter.default is None:
        return None
    odd = (
        parameter.default.span if parameter.range is None else parameter.default.span.to(parameter.range.span)
    )
    last = "65536" if parameter.range is None else str(max(1, int(parameter.range.last.value)))
    return Fix(odd, f"{default} in 1..{last}")


def _counts(commit: syntax.Commit) -> Iterator[syntax.Expression]:
    yield from (bound.count for bound in (commit.at_least, commit.at_most) if bound is not None)
    parts = list(walk(commit.mask))
    yield from (call.arguments[1] for call in parts if is_call(call, CHOICES, TOP_ARGUMENTS))
    yield from (call.arguments[0] for call in parts if is_call(call, SCHEDULES, 1))


def _help(commit: syntax.Commit, body: Body) -> str:
    help_ = "add `at least 1 by conf`: the best position is then always committed"
    if any(isinstance(s, syntax.Fill) for s in body.statements):
        help_ += "; or fill the window after some steps: `fill when steps_in_window + 1 >= n`"
    if commit.at_most is not None and commit.at_least is None:
        help_ = f"write `at least 1 by conf` before `{commit.at_most.span.text}`: the best position is then always committed"
    elif commit.at_least is not None:
        help_ = "write `at least 1 by ...`: a plain number, or a parameter whose range begins at 1"
    way = next((s for s in body.statements if isinstance(s, syntax.Next) and s.condition is not None), None)
    if way is not None and way.condition is not None:
        help_ += f"; or leave the phase then: `next {way.phase.text} when idle or {way.condition.span.text}`"
    return help_
