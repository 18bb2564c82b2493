"""What an operation wants of its operands, alike in every backend."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..ir.nodes import Program

# The inputs that hold one value a position; a value of a lower place is repeated there before the operation
# sees it. Elementwise operations are not listed: their inputs broadcast to the operation's own place.
OVER_POSITIONS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "probability": (1,),
        "orelse": (0, 1),
        "any": (0,),
        "count": (0,),
        "sum": (0, 1),
        "mean": (0, 1),
        "std": (0, 1),
        "least": (0, 1),
        "greatest": (0, 1),
        "order": (0, 1, 2),
        "cumsum": (1,),
        "cummax": (1,),
        "prefix": (1,),
        "thin": (0, 1, 2),
        "thin_by_kernel": (0, 1, 2),
        "runs": (0,),
        "run_count": (0,),
        "run_length": (0,),
        "runs_holding": (0, 1),
        "grow": (0, 1, 2, 5),
        "trim": (0, 1),
        "shift": (0,),
        "distance": (0,),
        "density": (0,),
        "is_mask": (0,),
        "is_end": (0,),
        "is_word": (0,),
        "write": (0, 1, 2),
        "erase": (0, 1),
    }
)


def wanted(program: Program, index: int) -> frozenset[str]:
    """The parts of what the operation at `index` observes that the program goes on to use."""
    return frozenset(
        str(operation.attribute)
        for operation in program.operations
        if operation.name == "observation" and index in operation.inputs
    )
