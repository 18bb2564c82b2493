"""Is less taken back than is written?

`revoke` must leave a step's gain: at most one position less than this step or the one before committed,
counted in one way in all phases and once in each; or any number under a step limit that fills the window, or
in a phase whose steps are numbered. `edit` makes no masks: any budget will do.
"""

from __future__ import annotations

from ..diagnostics import Diagnostic
from ..language import syntax
from .entailment import Bindings, inline_lets, is_word
from .floors import smallest
from .resolved import Resolved, bodies
from .values import constant_value, defaults

GAINS = frozenset({"committed_now", "committed_before"})
HELP = "write `at most committed_before - 1 by doubt`, or fill the window after some steps: `fill when steps_in_window + 1 >= n`"


def check(found: Resolved) -> tuple[Resolved, list[Diagnostic]]:
    """Reports revokes and edits without a budget, and revokes that may undo all that is gained."""
    wrong: list[Diagnostic] = []
    revokes: list[tuple[syntax.Revoke, frozenset[str]]] = []
    limited = has_step_limit(found)
    for body in bodies(found.policy):
        first = None
        for statement in body.statements:
            if isinstance(statement, syntax.Revoke | syntax.Edit) and statement.at_most is None:
                what = "revoke" if isinstance(statement, syntax.Revoke) else "edit"
                help_ = (
                    f"add `at most committed_before - 1 by doubt` to the {what}"
                    if what == "revoke"
                    else "add `at most 1`"
                )
                wrong.append(Diagnostic("E0308", f"this {what} has no budget", statement.span, help=help_))
            elif isinstance(statement, syntax.Revoke) and statement.at_most is not None:
                if finite(statement, body.name, found):
                    continue
                revokes.append((statement, spared(statement.at_most.count, found.inlinable)))
                if first is not None and not limited:
                    message = "a second revoke in one step may undo what the first one left"
                    wrong.append(
                        Diagnostic(
                            "E0308", message, statement.span, help="join the two: `revoke A or B at most ...`"
                        )
                    )
                first = statement
    if not limited:
        wrong += _undoing(revokes)
    return found, wrong


def finite(revoke: syntax.Revoke, name: str, found: Resolved) -> bool:
    """Whether a phase, entered so often and left after so many steps, can take back no more than a number
    known beforehand.
    """
    phase = found.progress[name] if found.progress is not None else None
    if phase is None or phase.visits is None or phase.steps is None or revoke.at_most is None:
        return False
    return constant_value(revoke.at_most.count, found.inlinable, defaults(found.policy)) is not None


def _undoing(revokes: list[tuple[syntax.Revoke, frozenset[str]]]) -> list[Diagnostic]:
    wrong = []
    for revoke, gains in revokes:
        if not gains and revoke.at_most is not None:
            message = f"it is not proved that `{revoke.at_most.count.span.text}` is less than the number of new tokens, so decoding may never end"
            wrong.append(
                Diagnostic(
                    "E0308", message, revoke.at_most.span, "a step may undo as much as it writes", HELP
                )
            )
    counted = [gains for _, gains in revokes if gains]
    if counted and not frozenset.intersection(*counted):
        last, first = revokes[-1][0], min(counted[0])
        message = "the commits of one step count twice: in that step and in the next one"
        wrong.append(Diagnostic("E0308", message, last.span, help=f"count the same in all phases: `{first}`"))
    return wrong


def has_step_limit(found: Resolved) -> bool:
    """Whether every phase fills its window at a step limit of the window, and leaves it full."""
    return found.progress is not None and all(
        phase.fills_after is not None for phase in found.progress.phases
    )


def spared(count: syntax.Expression, meanings: Bindings) -> frozenset[str]:
    """The gains that a budget surely stays at least one below, or at 0."""
    count = inline_lets(count, meanings)
    match count:
        case syntax.Number():
            return GAINS if count.value == 0 else frozenset()
        case syntax.Negation() if isinstance(count.operand, syntax.Number):
            return GAINS
        case syntax.Arithmetic() if count.operator == "-":
            below = {gain for gain in GAINS if is_word(count.left, gain, meanings)}
            return frozenset(below) if _at_least_one(count.right, meanings) else frozenset()
        case syntax.Conditional():
            return spared(count.then, meanings) & spared(count.otherwise, meanings)
        case syntax.Call() if count.function.text in ("min", "max") and len(count.arguments) > 1:
            left, right = (spared(argument, meanings) for argument in count.arguments[:2])
            return left | right if count.function.text == "min" else left & right
        case syntax.Call() if count.function.text == "clamp" and len(count.arguments) > 2:
            return spared(count.arguments[2], meanings)
        case _:
            return frozenset()


def _at_least_one(expression: syntax.Expression, meanings: Bindings) -> bool:
    if isinstance(expression, syntax.Number):
        return expression.value >= 1
    meaning = meanings.get(expression) if isinstance(expression, syntax.Name) else None
    return isinstance(meaning, syntax.Parameter) and smallest(meaning) >= 1
