"""Can every phase be reached, and does every way out of one lead somewhere?

Not here: whether a phase makes progress (`progress`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..diagnostics import Diagnostic
from ..language import syntax
from .entailment import entails_word, inline_lets, is_word
from .resolved import Resolved, bodies, walk


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Reports phases that are never entered, headers without a way out, and rows that would end with masks
    left.
    """
    policy = found.policy
    wrong = [diagnostic for phase in policy.phases for diagnostic in _header(phase)]
    circle = _circle(found.phases)
    if circle is not None:
        names = ", ".join(f"`{name}`" for name in circle)
        help_ = "remove the bound and the condition of one of them"
        wrong.append(
            Diagnostic(
                "E0304",
                f"{names} lead a row in a circle",
                found.phases[circle[0]].identifier.span,
                help=help_,
            )
        )
    reached = _reached(policy.phases)
    for phase in policy.phases:
        if phase.identifier.text not in reached:
            message = f"no step ever enters the phase `{phase.identifier.text}`"
            help_ = f"add `next {phase.identifier.text} when ...`, or delete the phase"
            wrong.append(Diagnostic("E0305", message, phase.identifier.span, help=help_))
    return found, wrong + _finishes(found) + _never_taken(found)


def targets(statements: Iterable[syntax.Statement]) -> list[str]:
    """The phases that `next` leads to."""
    return [s.phase.text for s in statements if isinstance(s, syntax.Next)]


def entered(name: str, phases: Mapping[str, syntax.Phase]) -> list[str]:
    """The phases a row may find itself in that is sent to one: that one, or where its `else` leads."""
    found: dict[str, None] = {}
    phase = phases.get(name)
    while phase is not None and phase.identifier.text not in found:
        found[phase.identifier.text] = None
        phase = phases.get(phase.otherwise.text) if phase.otherwise is not None else None
    return [*found]


def _header(phase: syntax.Phase) -> list[Diagnostic]:
    limited = phase.visits is not None or phase.condition is not None
    if limited and phase.otherwise is None:
        what = (
            "may have no visits left"
            if phase.visits is not None
            else "is not entered where its condition fails"
        )
        message = f"`{phase.identifier.text}` {what}, and no `else` names another phase"
        return [Diagnostic("E0304", message, phase.identifier.span, help="add `else PHASE` before the `:`")]
    if phase.otherwise is not None and not limited:
        message = f"`{phase.identifier.text}` is always entered: its `else` is never taken"
        return [
            Diagnostic(
                "E0304",
                message,
                phase.otherwise.span,
                help="add `at most N visits` or `when COND`, or delete the `else`",
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


def _never_taken(found: Resolved) -> list[Diagnostic]:
    """`next` where nothing is masked any more: a full window moves on, unless it stays."""
    wrong = []
    for body in bodies(found.policy):
        stays = any(isinstance(s, syntax.Stay) for s in body.statements)
        for statement in body.statements:
            if (
                isinstance(statement, syntax.Next)
                and statement.condition is not None
                and not stays
                and _only_when_full(statement.condition, found)
            ):
                message = "a full window moves on to the next one, so this is never taken"
                help_ = "to continue with a full window, write `stay at most N` above this line"
                wrong.append(Diagnostic("W0302", message, statement.span, help=help_))
    return wrong


def _only_when_full(condition: syntax.Expression, found: Resolved) -> bool:
    condition = inline_lets(condition, found.inlinable)
    match condition:
        case syntax.Conjunction():
            return _only_when_full(condition.left, found) or _only_when_full(condition.right, found)
        case syntax.Disjunction():
            return _only_when_full(condition.left, found) and _only_when_full(condition.right, found)
        case syntax.Inversion():
            return _is_of_masks(condition.operand, "any", found)
        case syntax.Comparison() if condition.operators == ("==",):
            left, right = condition.operands
            return (
                _is_of_masks(left, "count", found) and isinstance(right, syntax.Number) and right.value == 0
            )
        case _:
            return False


def _is_of_masks(expression: syntax.Expression, word: str, found: Resolved) -> bool:
    expression = inline_lets(expression, found.inlinable)
    is_call = (
        isinstance(expression, syntax.Call)
        and expression.function.text == word
        and len(expression.arguments) == 1
    )
    return is_call and is_word(expression.arguments[0], "masked", found.inlinable)  # type: ignore[union-attr]


def _finishes(found: Resolved) -> list[Diagnostic]:
    wrong = []
    for body in bodies(found.policy):
        for statement in body.statements:
            if isinstance(statement, syntax.Finish) and not (
                statement.condition is not None
                and entails_word(statement.condition, "eos_closed", found.inlinable)
            ):
                condition = "eos_closed"
                if statement.condition is not None and not any(
                    is_word(part, "eos_closed", found.inlinable) for part in walk(statement.condition)
                ):
                    condition += f" and ({statement.condition.span.text})"
                message = "a row may end here with masks left in its text"
                help_ = f"write `finish when {condition}`"
                wrong.append(
                    Diagnostic(
                        "E0306",
                        message,
                        statement.span,
                        "only what follows the end of the text may stay masked",
                        help_,
                    )
                )
    return wrong
