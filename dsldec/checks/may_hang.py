"""The diagnostic of a phase that may never end: the reason, and the text that the author should type.

Not here: the proof (`progress`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import Body, walk
from ..language.words import Kind
from .entailment import is_word
from .floor_values import smallest, suggested
from .floors import CHOICES, TOP_ARGUMENTS, Prover
from .resolved import Resolved
from .schedules import SCHEDULES, is_call


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
    label, help_ = _why(commits[-1], body, prover)
    return Diagnostic("E0301", message, commits[-1].span, label, help_)


def _commits_nothing(body: Body, resolved: Resolved) -> Diagnostic:
    if body.phase is None:
        fills = any(isinstance(s, syntax.Fill) for s in body.statements)
        span = body.statements[-1].span if fills else resolved.policy.identifier.span
        help_ = "add a line: `commit top(masked, 1, by=conf)`"
        return Diagnostic("E0301", "this policy commits nothing, so decoding never ends", span, help=help_)
    leaves = any(isinstance(s, syntax.Next) for s in body.statements)
    message = f"the phase `{body.name}` commits nothing and may never be left"
    help_ = (
        "add `idle or` to the condition of a `next`"
        if leaves
        else "leave it by `next PHASE`, or commit something in every step"
    )
    return Diagnostic("E0301", message, body.phase.identifier.span, help=help_)


def _why(commit: syntax.Commit, body: Body, prover: Prover) -> tuple[str, str]:
    """The reason why a commit may write nothing (the label), and the text to type (the help)."""
    for count in _counts(commit):
        floor = prover.count(count)
        if isinstance(floor, syntax.Parameter) and smallest(floor) < 1:
            name, default = floor.identifier.text, suggested(floor)
            return f"`{name}` may be 0", f"give the parameter a range: `{name}: int = {default} in 1..65536`"
        if isinstance(count, syntax.Number) and floor == 0:
            return "a count here is 0", "write 1 or more"
    if commit.ids is not None:
        likeliest = is_word(commit.ids, "likeliest", prover.resolved.bindings)
        other = "an id without a match of the pattern" if likeliest else "MASK"
        label = f"`{commit.ids.span.text}` may be {other}, which is not written"
        return label, "add a line that always writes: `commit top(masked, 1, by=conf)`"
    if commit.at_most is not None and commit.at_least is not None:
        text = commit.at_most.count.span.text
        if smallest(prover.count(commit.at_most.count)) < 1:
            return f"`{text}` may be 0", f"write `at most max(1, {text})`"
    unsure = commit.mask
    while isinstance(unsure, syntax.Conjunction):
        unsure = unsure.left if prover.floor(unsure.left) == 0 else unsure.right
    return f"no position is sure to pass `{unsure.span.text}`", _help(commit, body)


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
