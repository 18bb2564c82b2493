"""How many masked positions does a step commit at least?

A step runs only while its window has a masked position. So one commit that always selects a masked position
is enough. Not here: whether the best position satisfies a condition (`best_position`), the least value of a
count (`counts`), schedules (`schedules`).
"""

from __future__ import annotations

from typing import assert_never

from ..language import syntax
from ..language.walk import HEAD, Body
from ..language.words import WORDS, Extent
from .best_position import holds_for_the_best
from .counts import Counts
from .entailment import entailed_by_idle, inline_lets, is_word
from .floor_values import ALL, Floor, KnownLet, higher, lower, smallest
from .patterns import constraints
from .resolved import Resolved
from .signs import positive

SELECTORS = frozenset(word.name for word in WORDS.values() if word.selects)
# Words that select k positions: `top(masked, k, by=conf)`.
CHOICES = frozenset(name for name in SELECTORS if any(slot.name == "k" for slot in WORDS[name].slots))
NEVER_MASK = ("token", "likeliest")  # ids that a commit always writes
ON_THE_PATH = ("token",)  # the same with a pattern, whose path need not have the likeliest ids
TOP_ARGUMENTS = len(WORDS["top"].positional)


class Prover(Counts):
    """Proves the floors of statements, in their order.

    It stores the proofs about each let, so each value is read once.
    """

    # --- statements

    def floor_of_body(self, body: Body) -> Floor:
        """The floor of a phase's steps: the highest floor of its commits."""
        floors: list[Floor] = [0]
        for statement in body.statements:
            if isinstance(statement, HEAD):
                continue  # `head` has reported that it is misplaced
            match statement:
                case syntax.Let():
                    self.learn(statement)
                case syntax.Commit():
                    floors.append(self.floor_of_commit(statement))
                case syntax.Fill():
                    floors.append(self.floor_of_fill(statement))
                case syntax.Revoke() | syntax.Edit() | syntax.Set():
                    pass
                case syntax.Stay() | syntax.Refresh() | syntax.Next() | syntax.Finish():
                    pass
                case syntax.Branch() | syntax.Pick():
                    pass  # proofs of the statements between them hold in every candidate
                case _:
                    assert_never(statement)
        return max(floors, key=smallest)

    def learn(self, let: syntax.Let) -> None:
        self.lets[let] = KnownLet(self.floor(let.value), self.only_masks(let.value), self.count(let.value))

    def floor_of_commit(self, commit: syntax.Commit) -> Floor:
        bindings = self.resolved.bindings
        sure = ON_THE_PATH if constraints(self.resolved.policy) else NEVER_MASK
        if commit.ids is not None and not any(is_word(commit.ids, name, bindings) for name in sure):
            return 0  # the value may be MASK, no id or not on the path, and then nothing is written
        floor = self.floor(commit.mask)
        if commit.at_least is not None:
            floor = higher(floor, self.count(commit.at_least.count))
        if commit.at_most is not None:
            floor = lower(floor, self.count(commit.at_most.count))
        return floor

    def floor_of_fill(self, fill: syntax.Fill) -> Floor:
        if fill.condition is None:
            return ALL
        # Either this step has committed something already, or `fill` commits every masked position now.
        return int(entailed_by_idle(fill.condition, self.resolved.inlinable))

    # --- masks

    def floor(self, mask: syntax.Expression) -> Floor:
        """The least number of masked positions that a selection has, while the window has this number; 0
        without a proof.
        """
        if (known := self.known(mask)) is not None:
            return known.floor
        match mask:
            case syntax.Name():
                return ALL if is_word(mask, "masked", self.resolved.bindings) else 0
            case syntax.Boolean():
                return ALL if mask.value else 0
            case syntax.Conjunction():
                return self.floor_of_both(mask)
            case syntax.Disjunction():
                return higher(self.floor(mask.left), self.floor(mask.right))
            case syntax.Alternative():
                # If the left side selects something, it must be a masked position; otherwise the right side
                # counts.
                first = 1 if self.only_masks(mask.left) else 0
                return higher(self.floor(mask.left), lower(first, self.floor(mask.right)))
            case syntax.Conditional():
                return self.floor_of_either(mask)
            case syntax.Call():
                return self.floor_of_call(mask)
            case syntax.Number() | syntax.Negation() | syntax.Arithmetic():
                return 0  # it is no mask, which was reported
            case syntax.Comparison() | syntax.Inversion():
                return 0
            case _:
                assert_never(mask)

    def floor_of_both(self, mask: syntax.Conjunction) -> Floor:
        left, right = self.floor(mask.left), self.floor(mask.right)
        if left == ALL == right:
            return ALL  # both sides select every masked position
        best = (left == ALL and holds_for_the_best(mask.right, self.resolved)) or (
            right == ALL and holds_for_the_best(mask.left, self.resolved)
        )
        return int(best)

    def floor_of_either(self, mask: syntax.Conditional) -> Floor:
        floor = lower(self.floor_if(mask.then, mask.condition), self.floor(mask.otherwise))
        condition = self.resolved.types.get(mask.condition)
        # A condition with a value for each position mixes the two sides: all positions selected by one side
        # may be positions where the condition takes the other.
        mixed = condition is None or condition.extent is Extent.POSITION
        return 0 if mixed and floor != ALL else floor

    def floor_if(self, mask: syntax.Expression, condition: syntax.Expression) -> Floor:
        """The floor of a mask if a condition such as `any(mask)` or `count(mask) > 1` is true."""
        more: Floor = 0
        if self.resolved.draws(mask):
            return self.floor(mask)  # the mask in the condition is a different random draw
        if isinstance(condition, syntax.Comparison) and condition.operators in ((">",), (">=",)):
            left, right = condition.operands
            strict = condition.operators[0] == ">"
            if _is_of_mask(left, "count", mask, self.resolved) and isinstance(right, syntax.Number):
                more = int(right.value) + strict
        elif _is_of_mask(condition, "any", mask, self.resolved):
            more = 1
        return higher(self.floor(mask), more if self.only_masks(mask) else 0)

    # --- selections

    def floor_of_call(self, call: syntax.Call) -> Floor:
        word = call.function.text
        if word in CHOICES and len(call.arguments) == TOP_ARGUMENTS:
            return self.floor_of_choice(call)
        return self.floor_of_prefix(call) if word == "prefix" else 0

    def floor_of_choice(self, call: syntax.Call) -> Floor:
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        if "each" in named and not self.covers_masks(named["each"]):
            return 0  # there may be no run
        if call.function.text == "sample" and not ("by" in named and positive(named["by"], self.resolved)):
            return 0  # a position without weight is never drawn
        # A choice among masked and written positions may select only written ones.
        source = call.arguments[0]
        sure = self.floor(source) if self.only_masks(source) else 0
        return lower(sure, self.count(call.arguments[1]))

    def covers_masks(self, each: syntax.Expression) -> bool:
        """Whether every masked position is in a group: `pos // n`, or `run(masked)`."""
        each = inline_lets(each, self.resolved.inlinable)
        if isinstance(each, syntax.Arithmetic):
            divides = each.operator == "//" and is_word(each.left, "pos", self.resolved.bindings)
            return divides and smallest(self.count(each.right)) >= 1
        return (
            isinstance(each, syntax.Call)
            and each.function.text == "run"
            and len(each.arguments) == 1
            and is_word(each.arguments[0], "masked", self.resolved.bindings)
        )

    def floor_of_prefix(self, call: syntax.Call) -> Floor:
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        source = call.arguments[0] if call.arguments else None
        if source is None or "each" in named or "while" not in named or not self.only_masks(source):
            return 0
        return 1 if smallest(self.floor(source)) >= 1 and self.holds_first(named["while"]) else 0

    def holds_first(self, condition: syntax.Expression) -> bool:
        """Whether `while=` holds for the best position: `rank <= 2`, or one of several conditions."""
        condition = inline_lets(condition, self.resolved.inlinable)
        if isinstance(condition, syntax.Disjunction):
            return self.holds_first(condition.left) or self.holds_first(condition.right)
        if not isinstance(condition, syntax.Comparison) or len(condition.operators) != 1:
            return False
        (left, right), operator = condition.operands, condition.operators[0]
        if not is_word(left, "rank", self.resolved.bindings):
            return False
        if operator == "==":
            return isinstance(right, syntax.Number) and right.value == 1
        return (operator == "<=" and smallest(self.count(right)) >= 1) or (
            operator == "<" and smallest(self.count(right)) > 1
        )

    def only_masks(self, mask: syntax.Expression) -> bool:
        """Whether a selection has no written position."""
        # A commit of this step may have written positions of an older let. That commit is progress itself.
        if (known := self.known(mask)) is not None:
            return known.only_masks
        match mask:
            case syntax.Name():
                return is_word(mask, "masked", self.resolved.bindings)
            case syntax.Conjunction():
                return self.only_masks(mask.left) or self.only_masks(mask.right)
            case syntax.Disjunction() | syntax.Alternative():
                return self.only_masks(mask.left) and self.only_masks(mask.right)
            case syntax.Conditional():
                return self.only_masks(mask.then) and self.only_masks(mask.otherwise)
            case syntax.Call():
                selects = mask.function.text in SELECTORS and bool(mask.arguments)
                return selects and self.only_masks(mask.arguments[0])
            case syntax.Number() | syntax.Negation() | syntax.Arithmetic():
                return False  # it is no mask, which was reported
            case syntax.Boolean() | syntax.Comparison() | syntax.Inversion():
                return False
            case _:
                assert_never(mask)


def _is_of_mask(
    expression: syntax.Expression, word: str, mask: syntax.Expression, resolved: Resolved
) -> bool:
    """Whether this is a call of `word` with this mask alone."""
    return (
        isinstance(expression, syntax.Call)
        and expression.function.text == word
        and len(expression.arguments) == 1
        and not expression.keywords  # with `each=` it is a value of each group
        and resolved.same_tree(expression.arguments[0], mask)
    )
