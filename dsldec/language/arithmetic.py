"""What does each arithmetic operation return for one number? Bounds proved before a run and the slow loop
share these functions.

Reals are rounded to float32 after every operation (a double holds the exact result up to then). Ints have 64
bits. Where Python raises, such as for a division by 0, the result follows IEEE 754.
"""

from __future__ import annotations

import ctypes
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

AnyNumber = Any  # int, float or bool, according to the operation's kind

LARGEST_INT = 10**18  # bound for a real converted to an int

# The operation of each operator.
ARITHMETIC: Mapping[str, str] = {
    "+": "add", "-": "subtract", "*": "multiply", "/": "divide",
    "//": "floor_divide", "%": "remainder", "**": "power",
}  # fmt: skip
COMPARISONS: Mapping[str, str] = {
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal", "==": "equal", "!=": "not_equal",
}  # fmt: skip


def float32(value: float) -> float:
    """The nearest float32. The argument may be an int too large for a double."""
    if isinstance(value, int) and abs(value) >= 2**53:
        # Rounding twice, to a double and then to float32, could round a value just above a tie down. One
        # sticky bit prevents that.
        value = (value & ~0xFFF) | (0x800 if value & 0xFFF else 0)
    return ctypes.c_float(value).value


def int64(value: int) -> int:
    """The int as 64 bits hold it. An overflow wraps around."""
    return ctypes.c_int64(value).value


def quotient(a: float, b: float) -> float:
    """a / b for two doubles."""
    if b == 0:
        return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1, b)
    return a / b


def larger(a: AnyNumber, b: AnyNumber) -> AnyNumber:
    return a if a != a or a >= b else b  # NaN stays


def smaller(a: AnyNumber, b: AnyNumber) -> AnyNumber:
    return a if a != a or a <= b else b


def are_ints(*values: AnyNumber) -> bool:
    return all(isinstance(value, int) for value in values)


def less(a: AnyNumber, b: AnyNumber) -> bool:
    """Whether a < b: as ints if both are ints, else as reals."""
    return bool(a < b if are_ints(a, b) else float32(a) < float32(b))


def _rounded(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def apply(a: AnyNumber, b: AnyNumber) -> AnyNumber:
        if are_ints(a, b):
            return int64(function(a, b))
        return float32(function(float32(a), float32(b)))

    return apply


def _divide(a: AnyNumber, b: AnyNumber) -> float:
    return float32(quotient(float32(a), float32(b)))


def _floor_divide(a: AnyNumber, b: AnyNumber) -> AnyNumber:
    if are_ints(a, b):
        return int64(a // b) if b != 0 else 0
    ratio = _divide(a, b)
    return math.copysign(math.floor(ratio), ratio) if math.isfinite(ratio) else ratio


def _remainder(a: AnyNumber, b: AnyNumber) -> AnyNumber:
    if are_ints(a, b):
        return a % b if b != 0 else 0
    return float32(float32(a) - float32(float32(b) * _floor_divide(a, b)))


def _power(a: AnyNumber, b: AnyNumber) -> float:
    a, b = float32(a), float32(b)
    try:
        return float32(math.pow(a, b))
    except ValueError:
        if a < 0:
            return math.nan
    except OverflowError:
        pass
    is_negative = b % 2 == 1 and math.copysign(1, a) < 0
    return -math.inf if is_negative else math.inf


def _exp(a: AnyNumber) -> float:
    try:
        return float32(math.exp(float32(a)))
    except OverflowError:
        return math.inf


def _log(a: AnyNumber) -> float:
    a = float32(a)
    if a == 0:
        return -math.inf
    return math.nan if a < 0 else float32(math.log(a))


def _sqrt(a: AnyNumber) -> float:
    a = float32(a)
    return math.nan if a < 0 else float32(math.sqrt(a))


def _compared(function: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda a, b: function(a, b) if are_ints(a, b) else function(float32(a), float32(b))


def _whole(rounding: Callable[[float], int]) -> Callable[[AnyNumber], int]:
    def apply(a: AnyNumber) -> int:
        if are_ints(a):
            return int(a)
        if math.isnan(a):
            return 0
        return rounding(max(-LARGEST_INT, min(LARGEST_INT, a)))

    return apply


def _cosine_left(masks: int, done: int, steps: int) -> int:
    share = quotient(done, steps)
    # Of the fractions between 0 and 1, only 2/3 has a rational cosine: 1/2.
    wave = 0.5 if share == 2 / 3 else math.nan if math.isinf(share) else math.cos(math.pi / 2 * share)
    return _whole(math.floor)(0.0 if share >= 1 else masks * wave)


ELEMENTWISE: Mapping[str, Callable[..., AnyNumber]] = {
    "negate": lambda a: int64(-a) if are_ints(a) else -a,
    "add": _rounded(operator.add),
    "subtract": _rounded(operator.sub),
    "multiply": _rounded(operator.mul),
    "divide": _divide,
    "floor_divide": _floor_divide,
    "remainder": _remainder,
    "power": _power,
    "less": less,
    "less_equal": _compared(operator.le),
    "greater": _compared(operator.gt),
    "greater_equal": _compared(operator.ge),
    "equal": _compared(operator.eq),
    # NaN is not even different from anything.
    "not_equal": _compared(lambda a, b: a < b or a > b),
    "not": operator.not_,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "absolute": lambda a: int64(abs(a)) if are_ints(a) else abs(a),
    "minimum": lambda a, b: smaller(a, b) if are_ints(a, b) else smaller(float32(a), float32(b)),
    "maximum": lambda a, b: larger(a, b) if are_ints(a, b) else larger(float32(a), float32(b)),
    "where": lambda condition, a, b: a if condition else b,
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "cosine_left": _cosine_left,
    "floor": _whole(math.floor),
    "ceil": _whole(math.ceil),
    "truncate": _whole(math.trunc),
    "real": float32,
}
