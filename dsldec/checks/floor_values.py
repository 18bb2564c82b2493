"""A floor: the least number of masked positions that a step commits, and the order of floors.

Not here: the floor of a statement or an expression (`floors`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..language import syntax

Floor = int | syntax.Parameter
ALL = 10**9  # more positions than any window has: every masked position


@dataclass(frozen=True, slots=True)
class KnownLet:
    """The proofs about a let's value.

    `floor`: its floor, if it is a mask. `only_masks`: whether it selects only masked positions, if it is a
    mask. `count`: the least value it has, if it is an int.
    """

    floor: Floor
    only_masks: bool
    count: Floor


def suggested(parameter: syntax.Parameter) -> int:
    """A default of 1 or more for a help text: the parameter's own, if it is one."""
    return max(1, int(parameter.number))


def smallest(floor: Floor) -> int:
    """The least value of a floor over all values of its parameter."""
    if isinstance(floor, int):
        return floor
    if floor.range is None or floor.kind.text != "int":
        return 0
    return int(floor.range.first.value)


def lower(left: Floor, right: Floor) -> Floor:
    """A floor that is below both, for all values of their parameters."""
    if left is right or right == ALL:
        return left
    return right if left == ALL else min(smallest(left), smallest(right))


def higher(left: Floor, right: Floor) -> Floor:
    """The higher of two proved floors."""
    return max(left, right, key=smallest)
