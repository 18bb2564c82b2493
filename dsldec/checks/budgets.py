"""Does a step write more positions than it masks again?

The budget of `revoke` must be below the gain of a step. The gain is the number of positions committed by this
step or by the previous one, and all phases use the same of these two. The budget is at most the gain minus 1,
and each phase has one such `revoke`. Any budget is correct under a step limit that fills the window, or in a
phase with a known number of steps. `edit` masks nothing, so any budget is correct.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .. import fixes
from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.walk import Body, bodies
from ..language.words import WORDS
from .entailment import inline_lets, is_word
from .expression_ranges import ExpressionRanges, state_ranges
from .progress import Progress
from .ranges import ANY_INT
from .resolved import Resolved

LARGEST_SHARE = 0.99  # the float32 product of a gain above 0 with it is below the gain
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
        fix = fixes.after(statement.span, f" {help_.split('`')[1]}")
        message = f"this {name} has no budget"
        wrong.append(Diagnostic("E0308", message, statement.span, help=help_, fix=fix))
    return wrong


def _undoing(revokes: list[syntax.Revoke], resolved: Resolved) -> list[Diagnostic]:
    wrong = []
    counted: list[frozenset[str]] = []
    budgets = Budgets(resolved, ExpressionRanges(resolved, states=state_ranges(resolved)))
    for revoke in revokes:
        assert revoke.at_most is not None
        count = revoke.at_most.count
        if gains := budgets.spared(count):
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


@dataclass(slots=True)
class Budgets:
    """Proves budgets. A budget is *spared* for a gain if it is always below the gain, or at most 0: at most
    `max(0, gain - 1)`.
    """

    resolved: Resolved
    ranges: ExpressionRanges

    def spared(self, count: syntax.Expression) -> frozenset[str]:
        """The gains for which a budget is spared."""
        if self._high(count) <= 0:
            return GAINS
        count = inline_lets(count, self.resolved.inlinable)
        if isinstance(count, syntax.Conditional):
            return self.spared(count.then) & self.spared(count.otherwise)
        if isinstance(count, syntax.Arithmetic):
            return self._of_arithmetic(count)
        return self._of_call(count) if isinstance(count, syntax.Call) else frozenset()

    def at_most(self, count: syntax.Expression) -> frozenset[str]:
        """The gains that a number is never above."""
        count = inline_lets(count, self.resolved.inlinable)
        below = frozenset(gain for gain in GAINS if is_word(count, gain, self.resolved.inlinable))
        if below or self._high(count) <= 0:
            return below or GAINS
        if isinstance(count, syntax.Conditional):
            return self.at_most(count.then) & self.at_most(count.otherwise)
        if (
            isinstance(count, syntax.Call)
            and count.function.text in ("min", "max")
            and len(count.arguments) > 1
        ):
            left, right = (self.at_most(argument) for argument in count.arguments[:2])
            return left | right if count.function.text == "min" else left & right
        if (
            isinstance(count, syntax.Arithmetic) and count.operator == "-" and self._low(count.right) >= 0
        ):  # never above its left side
            return frozenset() if self._may_wrap(count) else self.at_most(count.left)
        return self.spared(count)

    def _of_arithmetic(self, count: syntax.Arithmetic) -> frozenset[str]:
        left, right = count.left, count.right
        if self._may_wrap(count):
            return frozenset()
        if count.operator == "-":
            if self._low(right) >= 1:
                return self.at_most(left)
            return self.spared(left) if self._low(right) >= 0 else frozenset()
        if count.operator == "+":
            return self.spared(left) if self._high(right) <= 0 else frozenset()
        if count.operator == "//" and self._low(right) >= 1:
            # At most half of a gain is below it. A quotient of a number below 0 is below 0.
            return self.at_most(left) if self._low(right) >= 2 else self.spared(left)
        return frozenset()

    def _of_call(self, call: syntax.Call) -> frozenset[str]:
        word, arguments = call.function.text, call.arguments
        if word in ("min", "max") and len(arguments) > 1:
            left, right = (self.spared(argument) for argument in arguments[:2])
            return left | right if word == "min" else left & right
        if word == "clamp" and len(arguments) == len(WORDS["clamp"].positional):
            x, least, most = (self.spared(argument) for argument in arguments)
            return most | (x & least)
        if word in ("int", "floor") and len(arguments) == 1:
            return self._of_share(inline_lets(arguments[0], self.resolved.inlinable))
        return frozenset()

    def _of_share(self, x: syntax.Expression) -> frozenset[str]:
        """Of `gain * share` or `gain / n`, without its fraction."""
        if not isinstance(x, syntax.Arithmetic) or x.operator not in "*/":
            return frozenset()
        for gain, other in ((x.left, x.right), (x.right, x.left)):
            share = self.ranges.of(other)
            if x.operator == "*" and not share.gap and share.high <= LARGEST_SHARE:
                return frozenset(word for word in GAINS if is_word(gain, word, self.resolved.inlinable))
        if x.operator == "/" and self._low(x.right) >= 1 / LARGEST_SHARE:
            return frozenset(word for word in GAINS if is_word(x.left, word, self.resolved.inlinable))
        return frozenset()

    def _low(self, expression: syntax.Expression) -> float:
        found = self.ranges.of(expression)
        return found.low if not found.gap else -math.inf

    def _high(self, expression: syntax.Expression) -> float:
        found = self.ranges.of(expression)
        return found.high if not found.gap else math.inf

    def _may_wrap(self, expression: syntax.Expression) -> bool:
        return self.ranges.of(expression) == ANY_INT or not self.ranges.of(expression).integer
