"""The operations of each expression of a checked policy.

Not here: statements (`statements`), values carried from step to step (`next_state`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from ..checks import choices
from ..checks.resolved import Resolved
from ..language import syntax
from ..language.arithmetic import ARITHMETIC, COMPARISONS
from ..language.words import (
    CONDITIONS,
    ELEMENTWISE_WORDS,
    KEPT_IDS,
    NUMBERS,
    OBSERVATIONS,
    SPECIAL_IDS,
    WORDS,
    Extent,
    Kind,
)
from . import protocol
from .step_values import Scope, StepValues


class Expressions(StepValues):
    """Lowers expressions. `logits` and `observed` are set before the first expression that needs them."""

    def __init__(self, resolved: Resolved, values: Mapping[str, object]) -> None:
        super().__init__()
        self.resolved = resolved
        self.values = values  # of the parameters with named choices
        self.logits = self.observed = -1

    # --- the tree

    def expression(self, expression: syntax.Expression, scope: Scope) -> int:
        type_ = self.resolved.types[expression]
        match expression:
            case syntax.Number() | syntax.Boolean():
                return self.add("number", (), type_.kind, type_.extent, expression.value)
            case syntax.Name():
                return self.name(expression, scope)
            case syntax.Call():
                return self.call(expression, scope)
            case syntax.Comparison():
                return self.comparison(expression, scope)
            case syntax.Negation():
                operand = self.expression(expression.operand, scope)
                if type_.kind is Kind.INT and type_.extent is self.place(operand):
                    return self.int_("negate", operand)
                return self.add("negate", (operand,), type_.kind, type_.extent)
            case syntax.Inversion():
                return self.holds("not", self.expression(expression.operand, scope))
            case syntax.Arithmetic():
                pair = (self.expression(expression.left, scope), self.expression(expression.right, scope))
                return self.add(ARITHMETIC[expression.operator], pair, type_.kind, type_.extent)
            case syntax.Conjunction():
                return self.logic("and", expression, scope)
            case syntax.Disjunction():
                return self.logic("or", expression, scope)
            case syntax.Alternative():
                return self.mask(
                    "orelse", self.set(expression.left, scope), self.set(expression.right, scope)
                )
            case syntax.Conditional():
                return self.conditional(expression, scope)
            case _:
                assert_never(expression)

    def logic(self, name: str, expression: syntax.Conjunction | syntax.Disjunction, scope: Scope) -> int:
        left = self.expression(expression.left, scope)
        if left == self.number(name == "or"):
            return left  # a choice decides: what the right side would need is not carried either
        return self.holds(name, left, self.expression(expression.right, scope))

    def conditional(self, expression: syntax.Conditional, scope: Scope) -> int:
        """`where`; if a choice decides, the branch that is not taken leaves no operation."""
        type_, condition = self.resolved.types[expression], self.expression(expression.condition, scope)
        if condition in (self.number(True), self.number(False)):
            taken = expression.then if condition == self.number(True) else expression.otherwise
            only = self.of_kind(self.expression(taken, scope), type_.kind)
            reals = {self.kind(only), type_.kind} <= NUMBERS - {Kind.INT}
            if (reals or self.kind(only) is type_.kind) and self.place(only) is type_.extent:
                return only
            branches = (only, only)
        else:
            branches = (
                self.expression(expression.then, scope),
                self.expression(expression.otherwise, scope),
            )
        return self.add("where", (condition, *branches), type_.kind, type_.extent)

    def set(self, expression: syntax.Expression, scope: Scope) -> int:
        """A mask as a set of positions, limited to the window unless it is inside by construction."""
        return self.mask("and", self.expression(expression, scope), scope.window)

    def comparison(self, comparison: syntax.Comparison, scope: Scope) -> int:
        """A chain `a < b <= c` is `a < b and b <= c`, with `b` computed once."""
        if (chosen := choices.holds(comparison, self.resolved.bindings, self.values)) is not None:
            return self.number(chosen)
        operands = [self.expression(operand, scope) for operand in comparison.operands]
        pairs = zip(operands, operands[1:], comparison.operators, strict=False)
        first, *more = [self.compared(COMPARISONS[operator], a, b) for a, b, operator in pairs]
        return self.all_of(first, *more)

    def name(self, name: syntax.Name, scope: Scope) -> int:
        meaning = self.resolved.bindings.get(name)
        if isinstance(meaning, syntax.Let | syntax.Branch):
            return scope.lets[meaning]
        if isinstance(meaning, syntax.StateDeclaration):
            return scope.states[meaning.identifier.text]
        if isinstance(meaning, syntax.Parameter):
            return self.add("parameter", (), self.resolved.types[name].kind, Extent.RUN, name.identifier)
        if name.identifier in OBSERVATIONS:
            return self.observation(name.identifier)
        return WITHOUT_ARGUMENTS[name.identifier](self, scope)

    def observation(self, name: str) -> int:
        word = WORDS.get(name)
        kind = word.gives.kind if word is not None and word.gives is not None else Kind.MASK
        return self.add("observation", (self.observed,), kind, Extent.POSITION, name)

    # --- calls

    def call(self, call: syntax.Call, scope: Scope) -> int:
        word, type_ = call.function.text, self.resolved.types[call]
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        if word in WITH_ARGUMENTS:
            return WITH_ARGUMENTS[word](self, call, named, scope)
        given = [self.expression(argument, scope) for argument in call.arguments]
        if WORDS[word].within == "prefix":
            return self.add(word, (scope.orders[-1], *given), type_.kind, Extent.POSITION)
        if WORDS[word].reduction and len(given) != len(WORDS[word].elementwise):
            over = self.set(named["over"], scope) if "over" in named else self.masked(scope)
            if "each" in named:
                inputs = (given[0], over, self.expression(named["each"], scope))
                return self.add(of_groups(WORDS[word].reduction), inputs, type_.kind, Extent.POSITION)
            return self.add(WORDS[word].reduction, (given[0], over), type_.kind, Extent.ROW)
        return self.add(ELEMENTWISE_WORDS[word], tuple(given), type_.kind, type_.extent)

    def order(self, call: syntax.Call, named: Mapping[str, syntax.Expression], scope: Scope) -> int:
        inputs = [self.set(call.arguments[0], scope), self.expression(named["by"], scope)]
        if "each" in named:
            inputs.append(self.expression(named["each"], scope))
        return self.mask("order", *inputs)

    def prefix(self, call: syntax.Call, named: Mapping[str, syntax.Expression], scope: Scope) -> int:
        order = self.order(call, named, scope)
        scope.orders.append(order)
        condition = self.expression(named["while"], scope)
        scope.orders.pop()
        return self.mask("prefix", order, condition)

    def thin(self, call: syntax.Call, named: Mapping[str, syntax.Expression], scope: Scope) -> int:
        condition = self.expression(named["while"], scope) if "while" in named else self.number(True)
        width = self.expression(named["kernel" if "kernel" in named else "gap"], scope)
        most = named["at_most"]
        assert isinstance(most, syntax.Number | syntax.Name)
        picks = most.value if isinstance(most, syntax.Number) else most.identifier
        inputs = (self.set(call.arguments[0], scope), self.expression(named["by"], scope), condition, width)
        return self.mask("thin_by_kernel" if "kernel" in named else "thin", *inputs, of=picks)

    def sample(self, call: syntax.Call, named: Mapping[str, syntax.Expression], scope: Scope) -> int:
        """The k largest of log weight + Gumbel noise: a draw without replacement, in proportion to the
        weights.
        """
        weight = self.expression(named["by"], scope)
        noise = self.real("log", self.real("negate", self.real("log", self.uniform())))
        key = self.real("subtract", self.real("log", weight), noise)
        some = self.all_of(self.set(call.arguments[0], scope), self.holds("greater", weight, self.number(0)))
        return self.mask("top", self.mask("order", some, key), self.expression(call.arguments[1], scope))

    def shift(self, call: syntax.Call, scope: Scope) -> int:
        moved, by = call.arguments
        type_ = self.resolved.types[call]
        if type_.kind is Kind.MASK:
            inputs = (self.set(moved, scope), self.expression(by, scope))
            return self.mask("and", self.mask("shift", *inputs), scope.window)
        value = self.of_kind(self.expression(moved, scope), type_.kind)
        return self.shifted(value, self.expression(by, scope), scope)

    def of(self, call: syntax.Call, scope: Scope) -> int:
        table, index = (self.expression(argument, scope) for argument in call.arguments)
        word = "lookup" if self.kind(table) is Kind.TABLE else "lookup_step"
        return self.add(word, (table, index), Kind.REAL, self.resolved.types[call].extent)

    def learned(self, call: syntax.Call, scope: Scope) -> int:
        network, *given = call.arguments
        inputs = [self.as_number(self.expression(x, scope)) for x in given]
        weights = self.expression(network, scope)
        name = self.operations[weights].attribute  # of the parameter
        return self.add("learned", (weights, scope.window, *inputs), Kind.REAL, Extent.POSITION, name)

    def as_number(self, value: int) -> int:
        """The value; a condition becomes 1 or 0, and an int a real."""
        if self.kind(value) in CONDITIONS:
            return self.where(value, self.number(1.0), self.number(0.0), Kind.REAL)
        return self.of_kind(value, Kind.REAL)

    # --- the previous step

    def divergence(self, word: str, named: Mapping[str, syntax.Expression]) -> int:
        """The word `kl` or `js`: the operation of its name, and +inf in a window's first step."""
        given = named.get("keep")
        keep = (
            given.identifier
            if isinstance(given, syntax.Name)
            else int(given.value)
            if isinstance(given, syntax.Number)
            else KEPT_IDS
        )
        before = self.kept_at_positions(protocol.distribution_field(keep), keep=keep)
        divergence = self.add(word, (self.logits, before), Kind.NATS, Extent.POSITION, keep)
        first = self.begins if self.slides < 0 else self.holds("not", self.stayed)
        return self.where(first, self.number(float("inf")), divergence, Kind.NATS)

    def same(self) -> int:
        token = self.observation("token")
        return self.holds("equal", token, self.value_before(token))


def of_groups(reduction: str) -> str:
    """The operation that makes a reduction in each group."""
    return f"group_{reduction}"


def _fixed(name: str) -> Callable[[Expressions, Scope], int]:
    return lambda lower, scope: getattr(lower, name)


def _special(name: str) -> Callable[[Expressions, Scope], int]:
    return lambda lower, scope: lower.add("special", (), Kind.TOKEN, Extent.RUN, name)


WITHOUT_ARGUMENTS: Mapping[str, Callable[[Expressions, Scope], int]] = {
    "canvas": lambda lower, scope: scope.canvas,
    "draft": lambda lower, scope: lower.state(protocol.DRAFT),
    "masked": lambda lower, scope: lower.masked(scope),
    "committed": lambda lower, scope: lower.written(scope),
    "after_eos": lambda lower, scope: lower.mask(
        "and",
        lower.holds(
            "or",
            lower.state(protocol.EOS_BEFORE),
            lower.holds(
                "greater", lower.offset, lower.reduced("least", Kind.REAL, lower.offset, lower.ends(scope))
            ),
        ),
        scope.window,
    ),
    "eos_closed": lambda lower, scope: lower.holds(
        "or",
        lower.state(protocol.EOS_BEFORE),
        lower.all_of(
            lower.reduced("any", Kind.BOOL, lower.ends(scope)),
            lower.holds(
                "not",
                lower.holds(
                    "less",
                    lower.reduced("least", Kind.REAL, lower.offset, lower.masked(scope)),
                    lower.reduced("least", Kind.REAL, lower.offset, lower.ends(scope)),
                ),
            ),
        ),
    ),
    "pos": _fixed("pos"),
    "age": lambda lower, scope: lower.age(scope),
    "window_start": _fixed("window_start"),
    "window_end": lambda lower, scope: lower.int_("add", lower.window_start, lower.reach(scope)),
    "window_length": lambda lower, scope: lower.length(scope),
    "generation_length": _fixed("generation_length"),
    "progress": lambda lower, scope: lower.real(
        "divide",
        lower.int_(
            "add",
            lower.window_start,
            lower.int_("subtract", lower.reach(scope), lower.reduced("count", Kind.INT, lower.masked(scope))),
        ),
        lower.int_("maximum", lower.generation_length, lower.number(1)),
    ),
    "step": _fixed("step"),
    "steps_in_window": _fixed("steps_in_window"),
    "steps_in_phase": lambda lower, scope: (
        lower.state(protocol.STEPS_IN_PHASE) if lower.resolved.policy.phases else lower.steps_in_window
    ),
    "visits": lambda lower, scope: scope.visits if scope.visits is not None else lower.number(1),
    "idle": lambda lower, scope: lower.holds("equal", scope.committed, lower.number(0)),
    "edited_now": lambda lower, scope: scope.edited,
    "committed_now": lambda lower, scope: scope.committed,
    "committed_before": lambda lower, scope: lower.where(
        lower.begins, lower.number(0), lower.state(protocol.COMMITTED_BEFORE), Kind.INT
    ),
    "rank": lambda lower, scope: lower.int_("rank", scope.orders[-1]),
    "random": lambda lower, scope: lower.uniform(lower.number(0)),
    **{name: _special(name) for name in SPECIAL_IDS},
}

Named = Mapping[str, syntax.Expression]
Lowered = Callable[[Expressions, syntax.Call, Named, Scope], int]


def _clamp(lower: Expressions, call: syntax.Call, named: Named, scope: Scope) -> int:
    x, least, most = (lower.expression(argument, scope) for argument in call.arguments)
    type_ = lower.resolved.types[call]
    raised = lower.add("maximum", (x, least), type_.kind, lower.place(x, least))
    return lower.add("minimum", (raised, most), type_.kind, type_.extent)


def _lowest(lower: Expressions, call: syntax.Call, named: Named, scope: Scope) -> int:
    score = lower.expression(named["by"], scope)
    worst = lower.add("negate", (score,), lower.kind(score), lower.place(score))
    order = lower.mask("order", lower.set(call.arguments[0], scope), worst)
    return lower.mask("top", order, lower.expression(call.arguments[1], scope))


def _quantile(lower: Expressions, call: syntax.Call, named: Named, scope: Scope) -> int:
    x, share = (lower.expression(argument, scope) for argument in call.arguments)
    over = lower.set(named["over"], scope) if "over" in named else lower.masked(scope)
    return lower.add("quantile", (x, over, share), lower.resolved.types[call].kind, Extent.ROW)


def _grow(lower: Expressions, call: syntax.Call, named: Named, scope: Scope) -> int:
    left = lower.set(named["over"], scope)
    right = lower.set(named["right"], scope) if "right" in named else left
    gap = lower.expression(named["gap"], scope) if "gap" in named else lower.number(0)
    apart = lower.expression(named["apart"], scope) if "apart" in named else lower.number(False)
    trim = lower.set(named["trim"], scope) if "trim" in named else scope.window
    return lower.mask("grow", lower.set(call.arguments[0], scope), left, right, gap, apart, trim)


def _of_mask(name: str, kind: Kind, place: Extent) -> Lowered:
    """A word with a mask and perhaps numbers as arguments; the operation has the name of the word."""

    def lowered(lower: Expressions, call: syntax.Call, named: Named, scope: Scope) -> int:
        first, *more = call.arguments
        return lower.add(
            name, (lower.set(first, scope), *(lower.expression(value, scope) for value in more)), kind, place
        )

    return lowered


def _of_groups_or_row(name: str, kind: Kind, kind_of_groups: Kind) -> Lowered:
    """A reduction of a mask to one value for the row, or with `each=` to one for each group."""
    of_row = _of_mask(name, kind, Extent.ROW)

    def lowered(lower: Expressions, call: syntax.Call, named: Named, scope: Scope) -> int:
        if "each" not in named:
            return of_row(lower, call, named, scope)
        inputs = (lower.set(call.arguments[0], scope), lower.expression(named["each"], scope))
        return lower.add(of_groups(name), inputs, kind_of_groups, Extent.POSITION)

    return lowered


def _at(position: str) -> Lowered:
    return lambda lower, call, named, scope: lower.reduced(
        position, Kind.REAL, lower.pos, lower.set(call.arguments[0], scope)
    )


# Words that need more than one operation on the values of their arguments.
WITH_ARGUMENTS: Mapping[str, Lowered] = {
    "any": _of_groups_or_row("any", Kind.BOOL, Kind.MASK),
    "count": _of_groups_or_row("count", Kind.INT, Kind.INT),
    "first": _at("least"),
    "last": _at("greatest"),
    "fraction": lambda lower, call, named, scope: lower.real(
        "divide",
        lower.reduced("count", Kind.INT, lower.set(call.arguments[0], scope)),
        lower.int_("maximum", lower.length(scope), lower.number(1)),
    ),
    "p": lambda lower, call, named, scope: lower.add(
        "probability", (lower.logits, lower.expression(call.arguments[0], scope)), Kind.PROB, Extent.POSITION
    ),
    "of": lambda lower, call, named, scope: lower.of(call, scope),
    **dict.fromkeys(
        ("kl", "js"), lambda lower, call, named, scope: lower.divergence(call.function.text, named)
    ),
    "same": lambda lower, call, named, scope: lower.same(),
    "before": lambda lower, call, named, scope: lower.value_before(
        lower.expression(call.arguments[0], lower.start)
    ),
    "clamp": _clamp,
    "top": lambda lower, call, named, scope: lower.mask(
        "top", lower.order(call, named, scope), lower.expression(call.arguments[1], scope)
    ),
    "prefix": lambda lower, call, named, scope: lower.prefix(call, named, scope),
    "lowest": _lowest,
    "quantile": _quantile,
    "thin": lambda lower, call, named, scope: lower.thin(call, named, scope),
    "sample": lambda lower, call, named, scope: lower.sample(call, named, scope),
    "random": lambda lower, call, named, scope: lower.uniform(lower.expression(call.arguments[0], scope)),
    "chance": lambda lower, call, named, scope: lower.all_of(
        lower.set(call.arguments[0], scope),
        lower.holds("less", lower.uniform(), lower.expression(call.arguments[1], scope)),
    ),
    "dilate": lambda lower, call, named, scope: lower.all_of(
        lower.holds(
            "less_equal",
            lower.add("distance", (lower.set(call.arguments[0], scope),), Kind.REAL, Extent.POSITION),
            lower.expression(call.arguments[1], scope),
        ),
        scope.window,
    ),
    "run": _of_mask("runs", Kind.GROUP, Extent.POSITION),
    "run_count": _of_mask("run_count", Kind.INT, Extent.ROW),
    "run_length": _of_mask("run_length", Kind.INT, Extent.POSITION),
    "runs_holding": lambda lower, call, named, scope: lower.mask(
        "runs_holding", *(lower.set(a, scope) for a in call.arguments)
    ),
    "grow": _grow,
    "trim": lambda lower, call, named, scope: lower.mask(
        "trim", lower.set(call.arguments[0], scope), lower.set(named["to"], scope)
    ),
    "shift": lambda lower, call, named, scope: lower.shift(call, scope),
    "distance": _of_mask("distance", Kind.REAL, Extent.POSITION),
    "density": _of_mask("density", Kind.REAL, Extent.POSITION),
    "learned": lambda lower, call, named, scope: lower.learned(call, scope),
    "gaussian": lambda lower, call, named, scope: lower.expression(call.arguments[0], scope),
    "even": lambda lower, call, named, scope: lower.even(lower.expression(call.arguments[0], scope), scope),
    "linear": lambda lower, call, named, scope: lower.due(
        lower.expression(call.arguments[0], scope), scope, lower.linear_left
    ),
    "cosine": lambda lower, call, named, scope: lower.due(
        lower.expression(call.arguments[0], scope), scope, lower.cosine_left
    ),
}
