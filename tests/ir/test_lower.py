"""Checked policy to program: what becomes which operations, and that equal ones are there once."""

from __future__ import annotations

import dsldec
from dsldec.ir.nodes import OPERATIONS, Program


def program(*statements: str, parameters: str = "") -> Program:
    lines = [f"policy p({parameters}):", "  window all", *(f"  {line}" for line in statements)]
    return dsldec.load("\n".join([*lines, ""])).program


def names(of: Program) -> list[str]:
    return [operation.name for operation in of.operations]


def test_a_program_as_text() -> None:
    assert str(program("commit top(masked, n, by=conf)", parameters="n: int = 2 in 1..8")) == (
        "program p\n"
        "  n: int = 2\n"
        "  %0 = canvas(): int per position\n"
        "  %1 = masked(%0): mask per position\n"
        "  %2 = observation conf(): prob per position\n"
        "  %3 = order(%1, %2): mask per position\n"
        "  %4 = parameter n(): int per parameter\n"
        "  %5 = top(%3, %4): mask per position\n"
        "  %6 = and(%5, %1): mask per position\n"
        "  %7 = commit(%0, %6): int per position\n"
        "  canvas %7"
    )


def test_masked_after_a_commit_is_another_mask() -> None:
    lowered = program("first_half = masked and pos < 4", "commit first_half", "commit top(masked, 1, by=conf)")
    masked = [operation for operation in lowered.operations if operation.name == "masked"]
    assert len(masked) == 2
    assert lowered.operations[masked[1].inputs[0]].name == "commit"


def test_equal_operations_stand_once_and_unequal_constants_do_not_meet() -> None:
    lowered = program("x = conf + margin", "y = conf + margin", "commit masked and x * 1 > 1.0 - y at least 1 by conf")
    assert names(lowered).count("add") == 1
    numbers = [(o.of, str(o.kind)) for o in lowered.operations if o.name == "number"]
    assert numbers == [(1, "int"), (1.0, "real")]


def test_a_chain_computes_its_middle_once() -> None:
    lowered = program("commit masked and 0.1 < conf * margin < 0.9 at least 1 by conf")
    assert names(lowered).count("multiply") == 1


def test_inputs_come_first_and_every_operation_is_known() -> None:
    for name in dsldec.shipped_policies():
        for index, operation in enumerate(dsldec.load(name).program.operations):
            assert operation.name in OPERATIONS
            assert all(i < index for i in operation.inputs)


def test_a_program_says_what_it_observes() -> None:
    assert dsldec.load("frechet").program.observations == {"conf", "doubt"}
    assert dsldec.load("entropy_bounded").program.observations == {"entropy"}
