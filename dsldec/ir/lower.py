"""Checked policy to program: every statement and expression as operations, equal ones once.

Not here: any decision about whether a policy may run; `CheckedPolicy` is the proof of that.
"""

from __future__ import annotations

from ..checks import CheckedPolicy
from ..language import syntax
from ..language.words import WORDS, Kind, Place
from .nodes import Operation, Program, ProgramParameter

COMPARISONS = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal"}
ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
REDUCTIONS = {"sum": "sum", "mean": "mean", "std": "std", "min": "least", "max": "greatest"}
PAIRS = {"min": "minimum", "max": "maximum"}
OBSERVATIONS = frozenset({"conf", "doubt", "margin", "logit_margin", "entropy"})


def lower(checked: CheckedPolicy) -> Program:
    """The program of one step of a checked policy."""
    lowering = _Lowering(checked)
    for statement in checked.policy.statements:
        lowering.statement(statement)
    policy = checked.policy
    return Program(
        name=policy.identifier.text,
        doc=policy.doc.text if policy.doc else "",
        parameters={p.identifier.text: _parameter(p) for p in policy.parameters},
        operations=tuple(lowering.operations),
        canvas=lowering.canvas,
        facts=checked.facts,
    )


def _parameter(parameter: syntax.Parameter) -> ProgramParameter:
    ends = (parameter.range.first.value, parameter.range.last.value) if parameter.range else (None, None)
    return ProgramParameter(Kind(parameter.kind.text), parameter.default.value, *ends)


class _Lowering:
    def __init__(self, checked: CheckedPolicy) -> None:
        self.found = checked.found
        self.operations: list[Operation] = []
        self.known: dict[Operation, int] = {}
        self.lets: dict[syntax.Let, int] = {}
        self.orders: list[int] = []  # the order that `rank`, `cumsum` and `cummax` speak of, innermost last
        self.canvas = self.add("canvas", (), Kind.INT, Place.POSITION)

    def add(self, name: str, inputs: tuple[int, ...], kind: Kind, place: Place, of: str | int | float | bool | None = None) -> int:
        operation = Operation(name, inputs, kind, place, of)
        # 1 and 1.0 and true are equal in Python, but not as constants of a program: `kind` tells them apart.
        if operation not in self.known:
            self.known[operation] = len(self.operations)
            self.operations.append(operation)
        return self.known[operation]

    def mask(self, name: str, *inputs: int) -> int:
        return self.add(name, inputs, Kind.MASK, Place.POSITION)

    # --- statements

    def statement(self, statement: syntax.Statement) -> None:
        match statement:
            case syntax.Let():
                self.lets[statement] = self.expression(statement.value)
            case syntax.Commit():
                self.commit(statement)
            case syntax.Window():
                pass  # the window is a fact: the runtime places it

    def commit(self, commit: syntax.Commit) -> None:
        masked = self.mask("masked", self.canvas)
        chosen = self.mask("and", self.expression(commit.mask), masked)
        if commit.at_least is not None:
            score, least = self.expression(commit.at_least.score), self.expression(commit.at_least.count)
            rest = self.mask("and", masked, self.mask("not", chosen))
            lacking = self.add("subtract", (least, self.add("count", (chosen,), Kind.INT, Place.SEQUENCE)), Kind.INT, Place.SEQUENCE)
            chosen = self.mask("or", chosen, self.mask("top", self.mask("order", rest, score), lacking))
        if commit.at_most is not None:
            score, most = self.expression(commit.at_most.score), self.expression(commit.at_most.count)
            chosen = self.mask("top", self.mask("order", chosen, score), most)
        self.canvas = self.add("commit", (self.canvas, chosen), Kind.INT, Place.POSITION)

    # --- expressions

    def expression(self, expression: syntax.Expression) -> int:
        type_ = self.found.types[expression]
        kind, place = type_.kind, type_.place
        match expression:
            case syntax.Number():
                return self.add("number", (), kind, place, expression.value)
            case syntax.Name():
                return self.name(expression)
            case syntax.Call():
                return self.call(expression)
            case syntax.Negation():
                return self.add("negate", (self.expression(expression.operand),), kind, place)
            case syntax.Inversion():
                return self.add("not", (self.expression(expression.operand),), kind, place)
            case syntax.Arithmetic():
                pair = (self.expression(expression.left), self.expression(expression.right))
                return self.add(ARITHMETIC[expression.operator], pair, kind, place)
            case syntax.Conjunction():
                return self.add("and", (self.expression(expression.left), self.expression(expression.right)), kind, place)
            case syntax.Disjunction():
                return self.add("or", (self.expression(expression.left), self.expression(expression.right)), kind, place)
            case syntax.Comparison():
                return self.comparison(expression)
            case syntax.Alternative():
                return self.mask("orelse", self.expression(expression.left), self.expression(expression.right))
            case syntax.Conditional():
                parts = (expression.condition, expression.then, expression.otherwise)
                return self.add("where", tuple(self.expression(part) for part in parts), kind, place)

    def comparison(self, comparison: syntax.Comparison) -> int:
        """A chain `a < b <= c` is `a < b and b <= c`, with `b` computed once."""
        type_ = self.found.types[comparison]
        operands = [self.expression(operand) for operand in comparison.operands]
        pairs = zip(operands, operands[1:], comparison.operators, strict=False)
        links = [self.add(COMPARISONS[operator], (a, b), type_.kind, type_.place) for a, b, operator in pairs]
        whole = links[0]
        for link in links[1:]:
            whole = self.add("and", (whole, link), type_.kind, type_.place)
        return whole

    def name(self, name: syntax.Name) -> int:
        meaning = self.found.meanings.get(name)
        type_ = self.found.types[name]
        if isinstance(meaning, syntax.Let):
            return self.lets[meaning]
        if isinstance(meaning, syntax.Parameter):
            return self.add("parameter", (), type_.kind, Place.PARAMETER, name.identifier)
        if name.identifier in OBSERVATIONS:
            return self.add("observation", (), type_.kind, type_.place, name.identifier)
        if name.identifier in ("masked", "committed"):
            return self.mask(name.identifier, self.canvas)
        if name.identifier == "rank":
            return self.add("rank", (self.orders[-1],), type_.kind, type_.place)
        return self.add(name.identifier, (), type_.kind, type_.place)

    def call(self, call: syntax.Call) -> int:
        named = {keyword.identifier.text: keyword.value for keyword in call.keywords}
        word, type_ = call.function.text, self.found.types[call]
        given = [self.expression(argument) for argument in call.arguments] if word not in ("top", "prefix") else []
        if word in ("cumsum", "cummax"):
            return self.add(word, (self.orders[-1], *given), type_.kind, type_.place)
        if word == "clamp":
            raised = self.add("maximum", (given[0], given[1]), type_.kind, type_.place)
            return self.add("minimum", (raised, given[2]), type_.kind, type_.place)
        if word in PAIRS and len(given) == len(WORDS[word].elementwise):
            return self.add(PAIRS[word], (given[0], given[1]), type_.kind, type_.place)
        if word in REDUCTIONS:
            over = self.expression(named["over"]) if "over" in named else self.mask("masked", self.canvas)
            return self.add(REDUCTIONS[word], (given[0], over), type_.kind, type_.place)
        if word not in ("top", "prefix"):
            return self.add("absolute" if word == "abs" else word, tuple(given), type_.kind, type_.place)
        order = self.mask("order", self.expression(call.arguments[0]), self.expression(named["by"]))
        if word == "top":
            return self.mask("top", order, self.expression(call.arguments[1]))
        self.orders.append(order)
        condition = self.expression(named["while"])
        self.orders.pop()
        return self.mask("prefix", order, condition)
