"""The inputs of a step that hold the patterns of its rows: their names, and their values without a pattern.

A parameter `shape` of kind `pattern` has no number. Its inputs are tensors: `shape` `[B, 1]`, which pattern a
row has, and for P patterns, padded to common sizes, the tables of `dsldec.patterns.tables`. Shapes: B rows, P
patterns, S states, C classes, N chunks, M groups, V vocabulary. Not here: their values (`runtime`).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ..ir.nodes import Program
from ..language.words import Kind

# What follows the name of the parameter; a dot is in no name of a policy.
FOLLOWING = ".following"  # `[P, C, S + 1]`
CLASSES = ".classes"  # `[P, V]`
CHUNKS = ".chunks"  # `[P, N, 64]`
GROUPS = ".groups"  # `[P, M, 64]`
TOPS = ".tops"  # `[P, C, K]`
WIDE = ".wide"  # `[P, 2]`: the first chunk of the class with the most ids, and the one after its last
ENDS = ".ends"  # `[B, S]` bool: the states in which the window of each row may end
PARTS = ("", FOLLOWING, CLASSES, CHUNKS, GROUPS, TOPS, WIDE, ENDS)


def patterns(program: Program) -> tuple[str, ...]:
    """The parameters of a program that are patterns."""
    return tuple(name for name, one in program.parameters.items() if one.kind is Kind.PATTERN)


def input_names(program: Program) -> Iterator[str]:
    """The names of the inputs among the parameters of a program."""
    for name, parameter in program.parameters.items():
        yield from (name + part for part in PARTS) if parameter.kind is Kind.PATTERN else (name,)


def no_pattern(name: str, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The inputs of a parameter whose rows have no pattern."""
    sizes = {
        "": (),
        FOLLOWING: (1, 1, 2),
        CLASSES: (1, 1),
        CHUNKS: (1, 1, 64),
        GROUPS: (1, 1, 64),
        TOPS: (1, 1, 1),
        WIDE: (1, 2),
    }
    inputs = {
        name + part: torch.zeros(size, dtype=torch.int64, device=device) for part, size in sizes.items()
    }
    return inputs | {name + ENDS: torch.zeros((1, 1), dtype=torch.bool, device=device)}
