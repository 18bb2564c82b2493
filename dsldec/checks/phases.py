"""Can every phase be reached, and does every way out of a phase lead to another?

Not here: whether a phase makes progress (`progress`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .. import fixes
from ..diagnostics import Diagnostic, Fix
from ..language import syntax
from ..language.walk import bodies, walk
from .entailment import entails_word, inline_lets, is_word
from .resolved import Resolved


def check(resolved: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Reports mistakes in the phases of a policy.

    These are phases that no step enters, headers without a needed `else`, circles of `else`, `next` that no
    row takes, and rows that may end with masked positions.
    """
    phases = resolved.policy.phases
    wrong = [diagnostic for phase in phases for diagnostic in _header(phase)]
    wrong += _else_in_a_circle(resolved.phases) + _never_entered(phases)
    return resolved, wrong + _finishes(resolved) + _never_taken(resolved)


def _else_in_a_circle(phases: Mapping[str, syntax.Phase]) -> list[Diagnostic]:
    circle = _circle(phases)
    if circle is None:
        return []
    names = ", ".join(f"`{name}`" for name in circle)
    message = f"the `else` of {names} leads round in a circle"
    help_ = "remove the bound and the condition of one of them"
    return [Diagnostic("E0304", message, phases[circle[0]].identifier.span, help=help_)]


def _never_entered(phases: Sequence[syntax.Phase]) -> list[Diagnostic]:
    reached = _reached(phases)
    names = [phase.identifier for phase in phases if phase.identifier.text not in reached]
    return [
        Diagnostic(
            "E0305",
            f"no step ever enters the phase `{name.text}`",
            name.span,
            help=f"lead there: `next {name.text} when ...`, or delete it",
        )
        for name in names
    ]


def targets(statements: Iterable[syntax.Statement]) -> list[str]:
    """The phases that the `next` statements name."""
    return [s.phase.text for s in statements if isinstance(s, syntax.Next)]


def entered(name: str, phases: Mapping[str, syntax.Phase]) -> list[str]:
    """The phases that a row may enter if `next` names this phase.

    They are this phase, and the phases that its `else` leads to.
    """
    possible: dict[str, None] = {}
    phase = phases.get(name)
    while phase is not None and phase.identifier.text not in possible:
        possible[phase.identifier.text] = None
        phase = phases.get(phase.otherwise.text) if phase.otherwise is not None else None
    return [*possible]


def _header(phase: syntax.Phase) -> list[Diagnostic]:
    limited = phase.visits is not None or phase.condition is not None
    if limited and phase.otherwise is None:
        what = (
            "may have no visit left"
            if phase.visits is not None
            else "is not entered where its condition fails"
        )
        message = f"`{phase.identifier.text}` {what}, and no `else` names the phase to enter instead"
        return [Diagnostic("E0304", message, phase.identifier.span, help="add `else PHASE` before the `:`")]
    if phase.otherwise is not None and not limited:
        message = f"`{phase.identifier.text}` is always entered: its `else` is never taken"
        return [
            Diagnostic(
                "E0304",
                message,
                phase.otherwise.span,
                help="add `at most N visits` or `when COND`, or delete the `else`",
                fix=fixes.between(phase.identifier.span, phase.otherwise.span),
            )
        ]
    return []


def _circle(phases: Mapping[str, syntax.Phase]) -> list[str] | None:
    for name in phases:
        way: list[str] = []
        at: str | None = name
        while at is not None and at in phases:
            if at in way:
                return way[way.index(at) :]
            way.append(at)
            otherwise = phases[at].otherwise
            at = otherwise.text if otherwise is not None else None
    return None


def _reached(phases: Sequence[syntax.Phase]) -> set[str]:
    by_name = {phase.identifier.text: phase for phase in phases}
    reached: set[str] = set()
    waiting = [phases[0].identifier.text] if phases else []
    while waiting:
        name = waiting.pop()
        if name in reached or name not in by_name:
            continue
        reached.add(name)
        phase = by_name[name]
        waiting += targets(phase.statements) + ([phase.otherwise.text] if phase.otherwise is not None else [])
    return reached


def _never_taken(resolved: Resolved) -> list[Diagnostic]:
    """Warns of `next` under a condition that holds only in a full window, which moves on unless it stays."""
    wrong = []
    for body in bodies(resolved.policy):
        stays = any(isinstance(s, syntax.Stay) for s in body.statements)
        for statement in body.statements:
            if (
                isinstance(statement, syntax.Next)
                and statement.condition is not None
                and not stays
                and _only_when_full(statement.condition, resolved)
            ):
                message = "a full window moves on to the next one, so this is never taken"
                help_ = "to continue with a full window, write `stay at most N` above this line"
                wrong.append(Diagnostic("W0302", message, statement.span, help=help_))
    return wrong


def _only_when_full(condition: syntax.Expression, resolved: Resolved) -> bool:
    condition = inline_lets(condition, resolved.inlinable)
    if isinstance(condition, syntax.Conjunction):
        return _only_when_full(condition.left, resolved) or _only_when_full(condition.right, resolved)
    if isinstance(condition, syntax.Disjunction):
        return _only_when_full(condition.left, resolved) and _only_when_full(condition.right, resolved)
    if isinstance(condition, syntax.Inversion):
        return _is_of_masks(condition.operand, "any", resolved)
    if isinstance(condition, syntax.Comparison) and condition.operators == ("==",):
        left, right = condition.operands
        is_zero = isinstance(right, syntax.Number) and right.value == 0
        return is_zero and _is_of_masks(left, "count", resolved)
    return False


def _is_of_masks(expression: syntax.Expression, word: str, resolved: Resolved) -> bool:
    """Whether this is a call of `word` with `masked` alone."""
    expression = inline_lets(expression, resolved.inlinable)
    return (
        isinstance(expression, syntax.Call)
        and expression.function.text == word
        and len(expression.arguments) == 1
        and not expression.keywords
        and is_word(expression.arguments[0], "masked", resolved.inlinable)
    )


def _finishes(resolved: Resolved) -> list[Diagnostic]:
    """Reports `finish` that does not require `eos_closed`."""
    return [
        _may_end_early(statement, resolved)
        for body in bodies(resolved.policy)
        for statement in body.statements
        if isinstance(statement, syntax.Finish)
        and not (
            statement.condition is not None
            and entails_word(statement.condition, "eos_closed", resolved.inlinable)
        )
    ]


def _may_end_early(finish: syntax.Finish, resolved: Resolved) -> Diagnostic:
    condition = "eos_closed"
    if finish.condition is not None and not any(
        is_word(part, "eos_closed", resolved.inlinable) for part in walk(finish.condition)
    ):
        condition += f" and ({finish.condition.span.text})"
    message = "a row may end here with masks left in its text"
    label = "only positions after the end of the text may stay masked"
    fix = Fix(finish.span, f"finish when {condition}")
    return Diagnostic("E0306", message, finish.span, label, f"write `{fix.text}`", fix)
