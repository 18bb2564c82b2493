"""A policy's tree with the meanings of its names and the types of its expressions.

Each check takes a `Resolved` and returns one; the tree itself never changes. Not here: the walk through a
tree (`language.walk`), why decoding ends (`progress`), the summary for programs and people (`facts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from ..diagnostics import Diagnostic
from ..language import syntax
from ..language.words import Extent, Kind, Type

Binding = syntax.Parameter | syntax.StateDeclaration | syntax.Let | syntax.Branch
Bindings = Mapping[syntax.Name, Binding]
UNKNOWN = Type(Kind.UNKNOWN, Extent.RUN)


class TreeNumbers:
    """Gives trees numbers: two trees have the same number exactly if they are equal without their spans.

    Each node gets its number once, so that a comparison takes one step.
    """

    def __init__(self) -> None:
        self._numbers: dict[tuple[object, ...], int] = {}
        self._known: dict[syntax.Node, int] = {}

    def number(self, node: syntax.Node) -> int:
        if node not in self._known:
            content = (
                type(node),
                *(self._content(getattr(node, each.name)) for each in fields(node) if each.name != "span"),
            )
            self._known[node] = self._numbers.setdefault(content, len(self._numbers))
        return self._known[node]

    def _content(self, value: object) -> object:
        if isinstance(value, syntax.Node):
            return self.number(value)
        return tuple(map(self._content, value)) if isinstance(value, tuple) else (type(value), value)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A policy's tree and the results of the checks so far.

    `policy`: the tree, after the check `functions`, with each function call replaced by the body. `bindings`:
    the parameter, state, let or branch of each name; a word of the language has none. `inlinable`: the same
    bindings, without the lets that are too large for the proofs. `types`: kind, extent and polarity of each
    expression.
    """

    policy: syntax.PolicyDefinition
    bindings: Bindings = field(default_factory=dict)
    inlinable: Bindings = field(default_factory=dict)
    types: Mapping[syntax.Expression, Type] = field(default_factory=dict)
    tree_numbers: TreeNumbers = field(default_factory=TreeNumbers, repr=False)

    def type_of(self, expression: syntax.Expression) -> Type:
        """The type of an expression; unknown if no check has typed it, for example after a mistake."""
        return self.types.get(expression, UNKNOWN)

    def same_tree(self, left: syntax.Expression, right: syntax.Expression) -> bool:
        """Whether two trees are equal without their spans."""
        return self.tree_numbers.number(left) == self.tree_numbers.number(right)

    @property
    def states(self) -> Mapping[str, syntax.StateDeclaration]:
        return {
            s.identifier.text: s for s in self.policy.statements if isinstance(s, syntax.StateDeclaration)
        }

    @property
    def phases(self) -> Mapping[str, syntax.Phase]:
        return {phase.identifier.text: phase for phase in self.policy.phases}


Check = Callable[[Resolved], tuple[Resolved, list[Diagnostic]]]
