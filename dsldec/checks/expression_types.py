"""The type of every expression.

Inference goes from the leaves up, and continues after a mistake. Not here: the types of operators
(`operators`) and calls (`calls`), whether a value fits its place (`fitting`).
"""

from __future__ import annotations

from typing import assert_never

from ..language import syntax
from ..language.words import PARAMETER_KINDS, WORDS, Extent, Kind, Type
from . import calls, operators
from .arguments import signature
from .fitting import condition
from .inference import Inference
from .kinds import of_state
from .resolved import UNKNOWN


class Typing(Inference):
    """Infers the types of expressions."""

    def infer(self, expression: syntax.Expression) -> Type:
        type_ = self._infer(expression)
        self.types[expression] = type_
        return type_

    def _infer(self, expression: syntax.Expression) -> Type:
        match expression:
            case syntax.Number():
                return Type(Kind.INT if isinstance(expression.value, int) else Kind.REAL, Extent.RUN)
            case syntax.Boolean():
                return Type(Kind.BOOL, Extent.RUN)
            case syntax.Name():
                return self._name(expression)
            case syntax.Call():
                return calls.call_type(self, expression)
            case syntax.Negation():
                return operators.negation(self, expression)
            case syntax.Arithmetic():
                return operators.arithmetic(self, expression)
            case syntax.Comparison():
                return operators.comparison(self, expression)
            case syntax.Inversion():
                return condition(self, expression.operand)
            case syntax.Conjunction() | syntax.Disjunction():
                return operators.logic(self, expression)
            case syntax.Conditional():
                return operators.conditional(self, expression)
            case syntax.Alternative():
                return operators.alternative(self, expression)
            case _:
                assert_never(expression)

    def _name(self, name: syntax.Name) -> Type:
        binding = self.binding(name)
        if isinstance(binding, syntax.Parameter):
            known = binding.kind.text in PARAMETER_KINDS
            return Type(Kind(binding.kind.text), Extent.RUN) if known else UNKNOWN
        if isinstance(binding, syntax.StateDeclaration):
            return of_state(binding)
        if isinstance(binding, syntax.Let):
            return self.types.get(binding.value, UNKNOWN)
        if isinstance(binding, syntax.Branch):
            return Type(Kind.INT, Extent.ROW)
        if name.identifier == "before":
            return Type(Kind.PREVIOUS, Extent.POSITION)
        word = WORDS.get(name.identifier)
        if word is None:
            return calls.no_value(self, name, name.identifier)
        if any(not slot.optional for slot in word.slots):
            help_ = f"write `{signature(word)}`"
            return self.wrong("E0203", f"`{word.name}` needs arguments", name, help=help_)
        return calls.of_word(self, word, name)
