"""Is a score high or low where the denoiser is confident, after arithmetic on it?

Only a literal number has a known sign. Where the polarity is unknown, the score may rank positions.
"""

from __future__ import annotations

from ..language import syntax
from ..language.words import Extent, Polarity, Type

FLIPPED = {Polarity.HIGH: Polarity.LOW, Polarity.LOW: Polarity.HIGH, Polarity.NONE: Polarity.NONE}


def of_sum(left: Type, right: Type) -> Polarity:
    """Polarity of a sum: a term with one value for all positions does not change it."""
    varying = [t.polarity for t in (left, right) if t.extent is Extent.POSITION]
    if not varying or any(p is not varying[0] for p in varying):
        return Polarity.NONE
    return varying[0]


def of_product(expression: syntax.Arithmetic, left: Type, right: Type) -> Polarity:
    """Polarity of a product or quotient with a literal number; any other factor may have either sign."""
    if expression.operator in ("*", "/") and (sign := _sign(expression.right)) != 0:
        return left.polarity if sign > 0 else FLIPPED[left.polarity]
    if expression.operator == "*" and (sign := _sign(expression.left)) != 0:
        return right.polarity if sign > 0 else FLIPPED[right.polarity]
    return Polarity.NONE


def _sign(factor: syntax.Expression) -> int:
    """1 or -1 for a literal number, 0 for anything else."""
    if isinstance(factor, syntax.Negation):
        return -_sign(factor.operand)
    return int(isinstance(factor, syntax.Number) and factor.value > 0)


def flipped(score: syntax.Expression) -> str:
    """The text of a score with the opposite polarity."""
    if isinstance(score, syntax.Negation):
        return score.operand.span.text
    atom = isinstance(score, syntax.Name | syntax.Call)
    return f"-{score.span.text}" if atom else f"-({score.span.text})"
