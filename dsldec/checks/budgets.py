"""Does a step write more positions than it masks again?

The budget of `revoke` must be below the gain of a step. The gain is the number of positions committed by this
step or by the previous one, and all phases use the same of these two. The budget is at most the gain minus 1,
and each phase has one such `revoke`. Any budget is correct under a step limit that fills the window, or in a
phase with a known number of steps. `edit` masks nothing, so any budget is correct.
"""

from __future__ import annotations

from typing import assert_never

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import Body, bodies
from ..language.words import WORDS
from .entailment import inline_lets, is_word
from .floor_values import smallest
from .progress import Progress
from .resolved import Bindings, Resolved

GAINS = frozenset(word.name for word in WORDS.values() if word.gain)
HELP = "write `at most committed_before - 1 by doubt`, or fill the window after some steps: `fill when steps_in_window + 1 >= n`"


def check(resolved: Resolved, progress: Progress) -> list[Diagnostic]:
    """Reports `revoke` and `edit` without a budget, and `revoke` that may mask every written position."""
    wrong: list[Diagnostic] = []
    revokes: list[syntax.Revoke] = []
    for body in bodies(resolved.policy):
        wrong += _without_budget(body)
        counted = [
            s
            for s in body.statements
            if isinstance(s, syntax.Revoke)
            and s.at_most is not None
            and not progress.finite(s, body.name, resolved)
        ]
        if not progress.has_step_limit:
            message = "a second revoke in one step may undo what the first one left"
            help_ = "join the two: `revoke A or B at most ...`"
            wrong += [Diagnostic("E0308", message, second.span, help=help_) for second in counted[1:]]
        revokes += counted
    return wrong if progress.has_step_limit else wrong + _undoing(revokes, resolved)


def _without_budget(body: Body) -> list[Diagnostic]:
    wrong = []
    for statement in body.statements:
        if isinstance(statement, syntax.Revoke) and statement.at_most is None:
            name, help_ = "revoke", "add `at most committed_before - 1 by doubt` to the revoke"
        elif isinstance(statement, syntax.Edit) and statement.at_most is None:
            name, help_ = "edit", "add `at most 1`"
        else:
            continue
        wrong.append(Diagnostic("E0308", f"this {name} has no budget", statement.span, help=help_))
    return wrong


def _undoing(revokes: list[syntax.Revoke], resolved: Resolved) -> list[Diagnostic]:
    wrong = []
    counted: list[frozenset[str]] = []
    for revoke in revokes:
        assert revoke.at_most is not None
        count = revoke.at_most.count
        if gains := spared(count, resolved.inlinable):
            counted.append(gains)
            continue
        message = f"nothing shows that `{count.span.text}` is less than the positions gained, so decoding may never end"
        label = "as many positions may be masked again as are written"
        wrong.append(Diagnostic("E0308", message, revoke.at_most.span, label, HELP))
    if counted and not frozenset.intersection(*counted):
        last, first = revokes[-1], min(counted[0])
        message = "the commits of one step are counted twice: in this step and in the next one"
        wrong.append(Diagnostic("E0308", message, last.span, help=f"count the same in all phases: `{first}`"))
    return wrong


def spared(count: syntax.Expression, bindings: Bindings) -> frozenset[str]:
    """The gains that a budget is always below: at least by 1, or equal at 0."""
    count = inline_lets(count, bindings)
    match count:
        case syntax.Number():
            return GAINS if count.value == 0 else frozenset()
        case syntax.Negation():
            return GAINS if isinstance(count.operand, syntax.Number) else frozenset()
        case syntax.Arithmetic():
            below = frozenset(gain for gain in GAINS if is_word(count.left, gain, bindings))
            return below if count.operator == "-" and _at_least_one(count.right, bindings) else frozenset()
        case syntax.Conditional():
            return spared(count.then, bindings) & spared(count.otherwise, bindings)
        case syntax.Call():
            return _spared_of_call(count, bindings)
        case syntax.Name() | syntax.Boolean() | syntax.Comparison() | syntax.Inversion():
            return frozenset()
        case syntax.Conjunction() | syntax.Disjunction() | syntax.Alternative():
            return frozenset()
        case _:
            assert_never(count)


def _spared_of_call(call: syntax.Call, bindings: Bindings) -> frozenset[str]:
    word, arguments = call.function.text, call.arguments
    if word in ("min", "max") and len(arguments) > 1:
        left, right = (spared(argument, bindings) for argument in arguments[:2])
        return left | right if word == "min" else left & right
    if word == "clamp" and len(arguments) == len(WORDS["clamp"].positional):
        return spared(arguments[2], bindings)
    return frozenset()


def _at_least_one(expression: syntax.Expression, bindings: Bindings) -> bool:
    if isinstance(expression, syntax.Number):
        return expression.value >= 1
    binding = bindings.get(expression) if isinstance(expression, syntax.Name) else None
    return isinstance(binding, syntax.Parameter) and smallest(binding) >= 1
