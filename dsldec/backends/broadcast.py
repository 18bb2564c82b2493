"""Facts of a program that every backend needs before it computes an operation."""

from __future__ import annotations

from ..ir.nodes import Program


def wanted(program: Program, index: int) -> frozenset[str]:
    """The observations that the program reads from the operation `observe` at `index`."""
    return frozenset(
        str(operation.attribute)
        for operation in program.operations
        if operation.name == "observation" and index in operation.inputs
    )
