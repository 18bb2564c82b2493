"""The meaning of the reductions by group: at each position, the reduction over the positions of its group.

A group is a number of 0 or more; positions with a number below 0 are in no group. Not here: the reductions
(`reference_numbers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..language.arithmetic import AnyNumber
from .reference_numbers import ROWS


def _each(reduction: str, groups: Sequence[int], *values: Sequence[AnyNumber]) -> list[AnyNumber]:
    """The reduction of `values`, the mask last, over each position's group; over nothing outside all groups."""
    *x, mask = values
    of_group: dict[int, AnyNumber] = {}
    for group in {*groups, -1}:
        inside = [
            chosen and group >= 0 and other == group for chosen, other in zip(mask, groups, strict=True)
        ]
        of_group[group] = ROWS[reduction](*x, inside)
    return [of_group[group if group >= 0 else -1] for group in groups]


# Each input has one value for each position.
GROUPS: Mapping[str, Callable[..., Any]] = {
    "group_any": lambda mask, groups: _each("any", groups, mask),
    "group_count": lambda mask, groups: _each("count", groups, mask),
    "group_sum": lambda x, mask, groups: _each("sum", groups, x, mask),
    "group_mean": lambda x, mask, groups: _each("mean", groups, x, mask),
    "group_least": lambda x, mask, groups: _each("least", groups, x, mask),
    "group_greatest": lambda x, mask, groups: _each("greatest", groups, x, mask),
}
