"""What the checks have found out about a tree so far; the tree itself is never written on.

Also here: the ways through a tree that several checks take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import Extent, Kind, Type

if TYPE_CHECKING:
    from .facts import Facts
    from .progress import Progress

Binding = syntax.Parameter | syntax.StateDeclaration | syntax.Let
UNKNOWN = Type(Kind.UNKNOWN, Extent.RUN)
HEAD = (
    syntax.Window,
    syntax.Draw,
    syntax.Logits,
    syntax.Lookahead,
    syntax.StateDeclaration,
    syntax.FunctionDeclaration,
)


@dataclass(frozen=True, slots=True)
class Resolved:
    """`policy`: the tree with own functions written out.

    `meanings`: what each name stands for, a parameter, a state or a let; a word of the language is absent.
    `through`: the same without the lets that proofs do not look into, because so much would have to be read.
    `states` and `phases`: those declared, by name. `types`: kind, place and polarity of each expression.
    `progress`: why it ends. `facts`: the summary for programs and people. `texts`: numbers what trees say, so
    that two are compared in one step.
    """

    policy: syntax.PolicyDefinition
    bindings: Mapping[syntax.Name, Binding] = field(default_factory=dict)
    inlinable: Mapping[syntax.Name, Binding] = field(default_factory=dict)
    types: Mapping[syntax.Expression, Type] = field(default_factory=dict)
    progress: Progress | None = None
    facts: Facts | None = None
    texts: Texts = field(default_factory=lambda: Texts())

    def type_of(self, expression: syntax.Expression) -> Type:
        """The type of an expression; unknown where a check has not come to it, as after a mistake."""
        return self.types.get(expression, UNKNOWN)

    def same_tree(self, left: syntax.Expression, right: syntax.Expression) -> bool:
        """Whether two trees are equal, without their places in the text."""
        return self.texts.number(left) == self.texts.number(right)

    @property
    def states(self) -> Mapping[str, syntax.StateDeclaration]:
        return {
            s.identifier.text: s for s in self.policy.statements if isinstance(s, syntax.StateDeclaration)
        }

    @property
    def phases(self) -> Mapping[str, syntax.Phase]:
        return {phase.identifier.text: phase for phase in self.policy.phases}


Check = Callable[[Resolved], tuple[Resolved, list[Diagnostic]]]


@dataclass(frozen=True, slots=True)
class Body:
    """The statements of a step in one phase (`None`: the policy has no phases), names shared by all phases
    first.
    """

    phase: syntax.Phase | None
    statements: tuple[syntax.Statement, ...]

    @property
    def name(self) -> str:
        return self.phase.identifier.text if self.phase else ""

    @property
    def header(self) -> syntax.Node:
        """Where to mark what is true of the whole body."""
        return self.phase.identifier if self.phase else self.statements[-1]


# Asked again and again of the same tree; trees compare by identity.
@lru_cache(maxsize=4)
def bodies(policy: syntax.PolicyDefinition) -> tuple[Body, ...]:
    """The steps a policy can make, one body a phase."""
    shared = tuple(s for s in policy.statements if not isinstance(s, HEAD))
    if not policy.phases:
        return (Body(None, shared),)
    return tuple(Body(phase, shared + phase.statements) for phase in policy.phases)


@lru_cache(maxsize=4)
def statements(policy: syntax.PolicyDefinition) -> tuple[syntax.Statement, ...]:
    """Every statement once, in the order they are written."""
    return policy.statements + tuple(s for phase in policy.phases for s in phase.statements)


def children(expression: syntax.Expression) -> tuple[syntax.Expression, ...]:
    """The expressions directly inside an expression, in the order they are written."""
    match expression:
        case syntax.Call():
            return (*expression.arguments, *(keyword.value for keyword in expression.keywords))
        case syntax.Negation() | syntax.Inversion():
            return (expression.operand,)
        case syntax.Conditional():
            return (expression.then, expression.condition, expression.otherwise)
        case syntax.Arithmetic() | syntax.Conjunction() | syntax.Disjunction() | syntax.Alternative():
            return (expression.left, expression.right)
        case syntax.Comparison():
            return expression.operands
        case _:
            return ()


def walk(expression: syntax.Expression) -> Iterator[syntax.Expression]:
    """An expression and every one inside it."""
    waiting = [expression]
    while waiting:
        part = waiting.pop()
        waiting += children(part)
        yield part


def map_children(
    expression: syntax.Expression, change: Callable[[syntax.Expression], syntax.Expression]
) -> syntax.Expression:
    """The same expression with every direct child changed."""
    match expression:
        case syntax.Call():
            keywords = tuple(replace(keyword, value=change(keyword.value)) for keyword in expression.keywords)
            return replace(expression, arguments=tuple(map(change, expression.arguments)), keywords=keywords)
        case syntax.Negation() | syntax.Inversion():
            return replace(expression, operand=change(expression.operand))
        case syntax.Conditional():
            then, condition = change(expression.then), change(expression.condition)
            return replace(expression, then=then, condition=condition, otherwise=change(expression.otherwise))
        case syntax.Arithmetic() | syntax.Conjunction() | syntax.Disjunction() | syntax.Alternative():
            return replace(expression, left=change(expression.left), right=change(expression.right))
        case syntax.Comparison():
            return replace(expression, operands=tuple(map(change, expression.operands)))
        case _:
            return expression


class Texts:
    """Numbers trees: two have one number where they say the same. Each node is read once, however often it is
    compared.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[syntax.Node, int] = {}

    def number(self, node: syntax.Node) -> int:
        if node not in self._known:
            said = (
                type(node),
                *(self._said(getattr(node, each.name)) for each in fields(node) if each.name != "span"),
            )
            self._known[node] = self._numbers.setdefault(said, len(self._numbers))
        return self._known[node]

    def _said(self, value: object) -> object:
        if isinstance(value, syntax.Node):
            return self.number(value)
        return tuple(map(self._said, value)) if isinstance(value, tuple) else (type(value), value)


# The fields of each statement that hold an expression, in the order they are written.
FIELDS: Mapping[type[syntax.Node], tuple[str, ...]] = MappingProxyType(
    {
        syntax.Window: ("shape",),
        syntax.Draw: ("method",),
        syntax.Logits: ("transform",),
        syntax.Lookahead: ("drafts", "condition"),
        syntax.StateDeclaration: ("start",),
        syntax.FunctionDeclaration: ("body",),
        syntax.Commit: ("mask", "ids", "at_least", "at_most"),
        syntax.Revoke: ("mask", "at_most"),
        syntax.Edit: ("mask", "ids", "at_most"),
        syntax.Fill: ("condition",),
        syntax.Stay: ("count", "condition"),
        syntax.Next: ("condition",),
        syntax.Finish: ("condition",),
        syntax.Set: ("value",),
        syntax.Let: ("value",),
        syntax.AtLeast: ("count", "score"),
        syntax.AtMost: ("count", "score"),
        syntax.Phase: ("visits", "condition"),
    }
)


def expressions(
    node: syntax.Statement | syntax.Phase | syntax.AtLeast | syntax.AtMost,
) -> tuple[syntax.Expression, ...]:
    """The expressions a statement or a phase's header is made of, outermost only, in the order they are
    written.
    """
    found: list[syntax.Expression] = []
    for name in FIELDS[type(node)]:
        value = getattr(node, name)
        if isinstance(value, syntax.AtLeast | syntax.AtMost):
            found += expressions(value)
        elif value is not None:
            found.append(value)
    return tuple(found)


N = TypeVar("N", bound=syntax.Node)


def map_expressions(node: N, change: Callable[[syntax.Expression], syntax.Expression]) -> N:
    """The same statement or header with its outermost expressions changed."""
    changed: dict[str, Any] = {}
    for name in FIELDS[type(node)]:
        value = getattr(node, name)
        if value is not None:
            changed[name] = (
                map_expressions(value, change)
                if isinstance(value, syntax.AtLeast | syntax.AtMost)
                else change(value)
            )
    if isinstance(node, syntax.Phase):
        changed["statements"] = tuple(map_expressions(s, change) for s in node.statements)
    return replace(node, **changed)
