"""Between which two numbers does the result of an operation lie, for inputs between two numbers?

Ints have 64 bits: where a result may be too large, it may be any int. Reals are rounded to float32, which
keeps the order of numbers. An operation on an int and a real rounds the int first. Not here: the range of an
expression (`expression_ranges`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..language.arithmetic import LARGEST_INT as LARGEST_OF_A_REAL
from ..language.arithmetic import float32

SMALLEST_INT64, LARGEST_INT64 = -(2**63), 2**63 - 1
LARGEST_KNOWN = 2**60  # of a result beyond this nothing is known
LARGEST_SLOW = 2**61  # no state gets there from LARGEST_KNOWN by small steps
SLACK = 2.0**-20  # between two ways to compute an exponential or a logarithm


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers from `low` to `high`. `integer`: only ints. `gap`: it may also have no value (NaN)."""

    low: float
    high: float
    integer: bool = False
    gap: bool = False

    def joined(self, other: NumberRange) -> NumberRange:
        """An interval with the numbers of both."""
        a, b = alike(self, other)
        return NumberRange(min(a.low, b.low), max(a.high, b.high), a.integer, a.gap or b.gap)

    def within(self, low: float, high: float) -> NumberRange:
        """The numbers that are also between two others; the same interval if there is none."""
        low, high = max(self.low, low), min(self.high, high)
        return NumberRange(low, high, self.integer, self.gap) if low <= high else self


ANY_INT = NumberRange(SMALLEST_INT64, LARGEST_INT64, integer=True)
ANY_REAL = NumberRange(-math.inf, math.inf, gap=True)


def exactly(value: float) -> NumberRange:
    """The interval of one number."""
    return NumberRange(value, value, integer=isinstance(value, int) and not isinstance(value, bool))


def as_real(x: NumberRange) -> NumberRange:
    """The range of the same numbers as reals."""
    return NumberRange(float32(x.low), float32(x.high), gap=x.gap)


def alike(a: NumberRange, b: NumberRange) -> tuple[NumberRange, NumberRange]:
    """Two ranges of ints, or two of reals."""
    return (a, b) if a.integer and b.integer else (as_real(a), as_real(b))


def ints(low: int, high: int) -> NumberRange:
    """An interval of ints; any int if one may be so large that it wraps around."""
    return (
        NumberRange(low, high, integer=True) if low >= -LARGEST_KNOWN and high <= LARGEST_KNOWN else ANY_INT
    )


def _reals(low: float, high: float, *inputs: NumberRange, gap: bool = False) -> NumberRange:
    return NumberRange(float32(low), float32(high), gap=gap or any(x.gap for x in inputs))


def _product(a: float, b: float) -> float:
    return 0 if a == 0 or b == 0 else a * b


def _corners(function: Callable[[float, float], float], a: NumberRange, b: NumberRange) -> list[float]:
    return [function(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]


def _infinite(x: NumberRange) -> bool:
    return not x.integer and (math.isinf(x.low) or math.isinf(x.high))


def _holds(x: NumberRange, value: float) -> bool:
    return x.low <= value <= x.high


def _add(a: NumberRange, b: NumberRange) -> NumberRange:
    a, b = alike(a, b)
    if a.integer and b.integer:
        return ints(int(a.low + b.low), int(a.high + b.high))
    if _infinite(a) and _infinite(b) and (a.low == -b.high or a.high == -b.low):
        return ANY_REAL
    return _reals(a.low + b.low, a.high + b.high, a, b)


def negate(a: NumberRange) -> NumberRange:
    """The range of -a."""
    if a.integer:
        return ints(-int(a.high), -int(a.low))
    return NumberRange(-a.high, -a.low, gap=a.gap)


def _multiply(a: NumberRange, b: NumberRange) -> NumberRange:
    a, b = alike(a, b)
    found = _corners(_product, a, b)
    if a.integer and b.integer:
        return ints(int(min(found)), int(max(found)))
    gap = (_infinite(a) and _holds(b, 0)) or (_infinite(b) and _holds(a, 0))
    return _reals(min(found), max(found), a, b, gap=gap)


def _divide(a: NumberRange, b: NumberRange) -> NumberRange:
    a, b = as_real(a), as_real(b)
    # A divisor of 0 may be -0, by which a number above 0 gives -inf.
    if b.low <= 0 or (_infinite(a) and _infinite(b)):
        return ANY_REAL
    found = _corners(lambda x, y: 0 if x == 0 or y == math.inf else x / y, a, b)
    return _reals(min(found), max(found), a, b)


def _floor_divide(a: NumberRange, b: NumberRange) -> NumberRange:
    if not (a.integer and b.integer):
        quotient = _divide(a, b)
        low, high = (math.floor(x) if math.isfinite(x) else x for x in (quotient.low, quotient.high))
        return NumberRange(low, high, gap=quotient.gap)
    if b.low < 0:
        return ANY_INT
    found: list[float] = [0] if b.low == 0 else []
    if b.high >= 1:
        found += _corners(lambda x, y: x // y, a, NumberRange(max(1, b.low), b.high))
    return ints(int(min(found)), int(max(found)))


def _remainder(a: NumberRange, b: NumberRange) -> NumberRange:
    if not (a.integer and b.integer):
        return ANY_REAL
    if b.low < 0:
        return ANY_INT
    high = max(b.high - 1, 0)
    return ints(0, int(min(high, a.high) if a.low >= 0 else high))


def _power(a: NumberRange, b: NumberRange) -> NumberRange:
    if a.low < 0 or (a.low == 0 and b.low < 0):
        return ANY_REAL  # -0 to the power of -1 is -inf
    highest = 1.0 if a.high <= 1 and b.low >= 0 else math.inf
    return NumberRange(0.0, highest, gap=a.gap or b.gap)


def _absolute(a: NumberRange) -> NumberRange:
    low = 0 if a.low <= 0 <= a.high else min(abs(a.low), abs(a.high))
    high = max(abs(a.low), abs(a.high))
    return ints(int(low), int(high)) if a.integer else NumberRange(low, high, gap=a.gap)


def _extreme(choose: Callable[[float, float], float]) -> Callable[[NumberRange, NumberRange], NumberRange]:
    def apply(a: NumberRange, b: NumberRange) -> NumberRange:
        a, b = alike(a, b)
        return NumberRange(choose(a.low, b.low), choose(a.high, b.high), a.integer, a.gap or b.gap)

    return apply


def _monotone(
    function: Callable[[float], float], least: float = -math.inf, slack: float = 0.0
) -> Callable[[NumberRange], NumberRange]:
    """The range of a function that never falls and has a value from `least` on. `slack`: the relative error
    of its values, except 0, 1 and the infinite ones.
    """

    def off(x: float) -> float:
        return 0.0 if x in (0, 1) or math.isinf(x) else abs(x) * slack

    def apply(a: NumberRange) -> NumberRange:
        a = as_real(a)
        if a.low < least:
            return ANY_REAL
        low, high = function(a.low), function(a.high)
        return _reals(low - off(low), high + off(high), a)

    return apply


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    return -math.inf if x == 0 else math.log(x)


def _whole(rounding: Callable[[float], int]) -> Callable[[NumberRange], NumberRange]:
    def apply(a: NumberRange) -> NumberRange:
        if a.integer:
            return a
        low, high = (rounding(max(-LARGEST_OF_A_REAL, min(LARGEST_OF_A_REAL, x))) for x in (a.low, a.high))
        return ints(min(low, 0), max(high, 0)) if a.gap else ints(low, high)  # no value becomes 0

    return apply


OPERATIONS: Mapping[str, Callable[..., NumberRange]] = {
    "add": _add,
    "subtract": lambda a, b: _add(a, negate(b)) if not b.integer or b.low > SMALLEST_INT64 else ANY_INT,
    "multiply": _multiply,
    "divide": _divide,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "power": _power,
    "negate": negate,
    "absolute": _absolute,
    "minimum": _extreme(min),
    "maximum": _extreme(max),
    "exp": _monotone(_exp, slack=SLACK),
    "log": _monotone(_log, 0.0, slack=SLACK),
    "sqrt": _monotone(math.sqrt, 0.0),
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "truncate": _whole(math.trunc),
}


def hull(intervals: Iterable[NumberRange]) -> NumberRange:
    """The smallest interval with all numbers of the others, at least one."""
    first, *rest = intervals
    for one in rest:
        first = first.joined(one)
    return first


def widened(old: NumberRange, new: NumberRange) -> NumberRange:
    """An interval with both, whose ends are among a few numbers where they moved, so that a search for
    invariants ends.
    """
    both = old.joined(new)
    low, high = both.low, both.high
    lowest, highest = (SMALLEST_INT64, LARGEST_INT64) if both.integer else (-math.inf, math.inf)
    if low < old.low:
        low = max([x for x in (1, 0, -1, lowest) if x <= low])
    if high > old.high:
        high = min([x for x in (0, 1, 65536, LARGEST_SLOW, highest) if x >= high])
    return NumberRange(low, high, both.integer, both.gap)
