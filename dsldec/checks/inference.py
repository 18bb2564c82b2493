"""The types and diagnostics of the expressions read so far. All parts of type inference share them.

Not here: the type of each expression (`expression_types`, `operators`, `calls`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..diagnostics import Diagnostic, Fix
from ..language import syntax
from ..language.words import Type
from .resolved import UNKNOWN, Binding, Resolved


class Inference(ABC):
    """The types of expressions and the diagnostics so far.

    `within`: the words around the current expression whose `while=` contains it, `accept` or `window`;
    innermost last.
    """

    def __init__(self, resolved: Resolved) -> None:
        self.resolved = resolved
        self.types: dict[syntax.Expression, Type] = {}
        self.diagnostics: list[Diagnostic] = []
        self.within: list[str] = []

    @abstractmethod
    def infer(self, expression: syntax.Expression) -> Type:
        """The type of an expression, which is also stored in `types`; unknown after a mistake in it."""

    def binding(self, expression: syntax.Expression) -> Binding | None:
        """The parameter, state or let that an expression names."""
        return self.resolved.bindings.get(expression) if isinstance(expression, syntax.Name) else None

    def wrong(
        self,
        code: str,
        message: str,
        node: syntax.Node,
        label: str = "",
        help: str = "",
        fix: Fix | str | None = None,
    ) -> Type:
        """Adds a diagnostic; the type of an expression with a mistake is unknown and fits everywhere.

        A `fix` that is a text is written in place of the node.
        """
        if isinstance(fix, str):
            fix = Fix(node.span, fix)
        self.diagnostics.append(Diagnostic(code, message, node.span, label, help, fix))
        return UNKNOWN
