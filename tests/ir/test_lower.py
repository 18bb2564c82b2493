"""From a checked policy to a program: the operations of words and statements, each only once."""

from __future__ import annotations

import pytest

import dsldec
from dsldec.ir.nodes import OPERATIONS, Program
from dsldec.language.words import WORDS


def program(*statements: str, parameters: str = "") -> Program:
    lines = [f"policy p({parameters}):", "  window all", *(f"  {line}" for line in statements)]
    return dsldec.load("\n".join([*lines, ""])).program


def names(of: Program) -> list[str]:
    return [operation.name for operation in of.operations]


def test_a_program_as_text() -> None:
    assert str(program("commit top(masked, n, by=conf)", parameters="n: int = 2 in 1..8")) == (
        "program p\n"
        "  n: int = 2\n"
        "  window all\n"
        "  carries step: int per row\n"
        "  carries window_start: int per row\n"
        "  carries generation_length: int per row\n"
        "  %0 = state step(): int per row\n"
        "  %1 = editable(): mask per position\n"
        "  %2 = canvas(): token per position\n"
        "  %3 = number 0(): int per run\n"
        "  %4 = logits(): logit per position\n"
        "  %5 = observe argmax(%4): logit per position\n"
        "  %6 = observation finite(%5): mask per position\n"
        "  %7 = is_mask(%2): mask per position\n"
        "  %8 = and(%7, %1): mask per position\n"
        "  %9 = observation conf(%5): prob per position\n"
        "  %10 = order(%8, %9): mask per position\n"
        "  %11 = parameter n(): int per run\n"
        "  %12 = top(%10, %11): mask per position\n"
        "  %13 = observation token(%5): token per position\n"
        "  %14 = write(%2, %12, %13): token per position\n"
        "  %15 = any(%8): bool per row\n"
        "  %16 = where(%15, %14, %2): token per position\n"
        "  %17 = is_mask(%16): mask per position\n"
        "  %18 = and(%17, %1): mask per position\n"
        "  %19 = any(%18): bool per row\n"
        "  %20 = not(%19): bool per row\n"
        "  %21 = number 1(): int per run\n"
        "  %22 = where(%15, %21, %3): int per row\n"
        "  %23 = add(%0, %22): int per row\n"
        "  next step = %23\n"
        "  canvas %16\n"
        "  done %20"
    )


def test_masked_after_a_commit_is_another_mask() -> None:
    lowered = program(
        "first_half = masked and pos < 4", "commit first_half", "commit top(masked, 1, by=conf)"
    )
    read = [lowered.operations[o.inputs[0]].name for o in lowered.operations if o.name == "is_mask"]
    assert read == ["canvas", "write", "where"]


def test_equal_operations_stand_once_and_unequal_constants_do_not_meet() -> None:
    lowered = program(
        "x = conf + margin", "y = conf + margin", "commit masked and x * 1 > 1.0 - y at least 1 by conf"
    )
    adds = [
        o
        for o in lowered.operations
        if o.name == "add" and lowered.operations[o.inputs[0]].attribute == "conf"
    ]
    assert len(adds) == 1
    numbers = {(o.attribute, str(o.kind)) for o in lowered.operations if o.name == "number"}
    assert {(1, "int"), (1.0, "real")} <= numbers


def test_only_what_a_result_needs_is_kept() -> None:
    lowered = program("unread = entropy * margin", "commit masked")
    assert lowered.observations == {"token"}
    assert "multiply" not in names(lowered)


def test_a_policy_carries_only_what_it_reads() -> None:
    always = {"step", "window_start", "generation_length"}
    assert set(program("commit masked").carried) == always
    assert set(program("commit masked and committed_before > 1 at least 1 by conf").carried) == always | {
        "committed_before",
        "steps_in_window",
    }
    assert (
        program("commit masked and kl(before) < 1 at least 1 by conf").carried["distribution_before_256"].keep
        == 256
    )


def test_a_row_with_nothing_masked_changes_nothing() -> None:
    lowered = program("edit committed as token at most 3", "commit masked")
    assert lowered.operations[lowered.canvas].name == "where"


@pytest.mark.parametrize("name", [word.name for word in WORDS.values() if word.reduction])
def test_a_reduction_is_over_the_masks_or_over_its_own_set(name: str) -> None:
    def over(*mask: str) -> str:
        arguments = ", ".join(["conf", *(f"over={one}" for one in mask)])
        return str(program(f"commit masked and conf > {name}({arguments}) at least 1 by conf"))

    assert over() == over("masked")
    assert len({over("masked"), over("committed"), over("pos < 2")}) == 3


def test_a_chain_computes_its_middle_once() -> None:
    lowered = program("commit masked and 0.1 < conf * margin < 0.9 at least 1 by conf")
    assert names(lowered).count("multiply") == 1


def test_inputs_come_first_and_every_operation_is_known() -> None:
    for name in dsldec.shipped_policies():
        for index, operation in enumerate(dsldec.load(name).program.operations):
            assert operation.name in OPERATIONS
            assert all(i < index for i in operation.inputs)


def test_a_program_says_what_it_observes() -> None:
    assert dsldec.load("frechet").program.observations == {"token", "conf", "doubt"}
    assert dsldec.load("entropy_bounded").program.observations == {"token", "entropy"}


def test_a_constant_that_is_no_number_is_one_operation() -> None:
    """Whatever Python takes for equal: NaN is not equal to itself, and in a dataclass not even the same
    one.
    """
    text = "policy p():\n  window all\n" + "".join(f"  x{i} = before(before(conf)) + {i}\n" for i in range(6))
    text += "  commit masked and " + " + ".join(f"x{i}" for i in range(6)) + " > 3 at least 1 by conf\n"
    program = dsldec.load(text).program
    assert (
        sum(
            operation.name == "number" and operation.attribute != operation.attribute
            for operation in program.operations
        )
        == 1
    )
    assert len(program.operations) == len(set(map(str, program.operations)))
