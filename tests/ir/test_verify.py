"""Does `verify` accept every program that `lower` gives, and find a program with one thing changed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

import dsldec
from dsldec.ir import protocol
from dsldec.ir.nodes import OPERATIONS, LoopCarried, Operation, Program
from dsldec.ir.signatures import CHOSEN, FORMS, SIGNATURES
from dsldec.ir.verify import InvalidProgram, verify
from dsldec.language.words import Extent, Kind

from ..backends.policies import random_policy
from ..shipped import LIBRARY

TEXT = """policy broad(level: prob = 0.5):
  window sliding(max_masks=4, max_length=8)
  lookahead 2 accept conf > level
  draw gumbel(0.5)
  state calm: int each = 0 per block
  phase opening:
    set calm = calm + 1 if same(before) else 0
    commit masked and kl(before) < 0.5 and before(conf) > level at least 1 by conf
    next ending when any(masked and calm > 1)
  phase ending:
    commit prefix(masked, by=conf, while=rank < 3) at least 1 by conf
    finish when eos_closed
"""


def test_programs_of_policies_are_valid() -> None:
    for source in (*LIBRARY, *(random_policy(seed)[0] for seed in range(150))):
        verify(dsldec.load(source).program)


def test_every_operation_has_a_signature() -> None:
    assert {name.split()[0] for name in SIGNATURES} == set(OPERATIONS)
    assert {name.split()[0] for name in SIGNATURES if " " in name} == CHOSEN
    for name, forms in FORMS.items():
        assert forms, name


def test_lowering_verifies_in_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(program: Program) -> None:
        raise InvalidProgram(program.name)

    monkeypatch.setattr("dsldec.ir.lower.verify", refuse)
    with pytest.raises(InvalidProgram, match="p"):
        dsldec.load("policy p():\n  window all\n  commit masked\n").program  # noqa: B018
    monkeypatch.setenv("DSLDEC_VERIFY", "0")
    assert dsldec.load("policy p():\n  window all\n  fill\n").program.name == "p"


def index_of(program: Program, name: str) -> int:
    return next(i for i, operation in enumerate(program.operations) if operation.name == name)


def with_operation(program: Program, called: str, /, **changes: Any) -> Program:
    """The first operation of that name with some attributes changed."""
    index = index_of(program, called)
    operations = list(program.operations)
    operations[index] = replace(operations[index], **changes)
    return replace(program, operations=tuple(operations))


def with_more(program: Program, operation: Operation) -> Program:
    return replace(program, operations=(*program.operations, operation))


def without_last_input(program: Program, name: str) -> Program:
    return with_operation(program, name, inputs=program.operations[index_of(program, name)].inputs[:-1])


def carrying(program: Program, name: str, carried: LoopCarried) -> Program:
    return replace(program, carried={**program.carried, name: carried})


def keeping(program: Program, keep: int) -> Program:
    name = protocol.distribution_field(256)
    return carrying(program, name, replace(program.carried[name], keep=keep))


def dropped(mapping: Mapping[str, int], name: str) -> dict[str, int]:
    return {other: index for other, index in mapping.items() if other != name}


MUTANTS: Mapping[str, tuple[Callable[[Program], Program], str]] = {
    "an unknown operation": (lambda p: with_operation(p, "top", name="best"), "no such operation"),
    "an input behind the operation": (
        lambda p: with_operation(p, "not", inputs=(len(p.operations) - 1,)),
        "an input is no earlier operation",
    ),
    "an input before the first": (lambda p: with_operation(p, "not", inputs=(-1,)), "no earlier operation"),
    "an input less": (lambda p: without_last_input(p, "write"), "not in its signature"),
    "an input more": (lambda p: with_operation(p, "any", inputs=(0, 0)), "not in its signature"),
    "another kind": (lambda p: with_operation(p, "count", kind=Kind.BOOL), "not in its signature"),
    "another extent": (lambda p: with_operation(p, "count", extent=Extent.POSITION), "not in its signature"),
    "an extent below that of the input": (
        lambda p: with_operation(p, "is_mask", extent=Extent.ROW),
        "not in its signature",
    ),
    "logits for an order": (
        lambda p: with_operation(p, "top", inputs=(index_of(p, "logits"), index_of(p, "number"))),
        "not in its signature",
    ),
    "a mask for an order": (
        lambda p: with_operation(p, "prefix", inputs=(index_of(p, "is_mask"),) * 2),
        "not in its signature",
    ),
    "an attribute too many": (lambda p: with_operation(p, "canvas", attribute=1), "takes no attribute"),
    "a way to draw that does not exist": (
        lambda p: with_operation(p, "observe", attribute="dice"),
        "not in its signature",
    ),
    "a way to draw with other inputs": (
        lambda p: with_operation(p, "observe", attribute="argmax"),
        "not in its signature",
    ),
    "an observation of another kind": (
        lambda p: with_operation(p, "observation", attribute="entropy"),
        "not in its signature",
    ),
    "a constant of another kind": (lambda p: with_operation(p, "number", attribute=True), "not of its kind"),
    "a parameter less": (lambda p: replace(p, parameters={}), "no such parameter"),
    "a state without its field": (
        lambda p: with_operation(p, "state", attribute="calm"),
        "the state has no such field",
    ),
    "a size that is none": (
        lambda p: with_operation(p, "kl", attribute=None),
        "neither an int nor a parameter",
    ),
    "a canvas of truths": (lambda p: replace(p, canvas=p.done), "canvas is"),
    "done at each position": (lambda p: replace(p, done=p.finite), "done is"),
    "finite that does not exist": (lambda p: replace(p, finite=len(p.operations)), "finite is no operation"),
    "a field that is not in the protocol": (
        lambda p: carrying(p, "mood", LoopCarried(Kind.INT, Extent.ROW)),
        "the protocol has no field mood",
    ),
    "a field of another kind": (
        lambda p: carrying(p, protocol.AGE, LoopCarried(Kind.BOOL, Extent.POSITION)),
        "not the kind and the extent",
    ),
    "a field that the step does not write": (
        lambda p: replace(p, next=dropped(p.next, protocol.STEP)),
        "step is written by the step",
    ),
    "a field of the host that the step writes": (
        lambda p: replace(p, next={**p.next, protocol.WINDOW_START: p.next[protocol.STEP]}),
        "window_start is written by the host",
    ),
    "a next value of another kind": (
        lambda p: replace(p, next={**p.next, protocol.STEP: p.done}),
        "next step is",
    ),
    "a distribution for a number": (
        lambda p: replace(p, next={**p.next, protocol.before_field(0): index_of(p, "log_probabilities")}),
        "next before_0 is",
    ),
    "a distribution of other ids": (lambda p: keeping(p, 7), "ids, and the field 7"),
    "an event that is not in the protocol": (
        lambda p: replace(p, events={**p.events, "picked": p.done}),
        "no event picked",
    ),
    "an event of another kind": (
        lambda p: replace(p, events={**p.events, protocol.PHASE: p.done}),
        "phase is",
    ),
    "an operation that nothing reads": (
        lambda p: with_more(p, Operation("number", (), Kind.INT, Extent.RUN, 12345)),
        "nothing reads it",
    ),
    "two equal operations": (
        lambda p: replace(with_more(p, p.operations[p.canvas]), canvas=len(p.operations)),
        "the same as",
    ),
}


@pytest.fixture(scope="module")
def broad() -> Program:
    program = dsldec.load(TEXT).program
    verify(program)
    return program


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_program_with_one_thing_changed_is_found(mutant: str, broad: Program) -> None:
    change, says = MUTANTS[mutant]
    with pytest.raises(InvalidProgram, match=says):
        verify(change(broad))


def test_no_operation_may_lack_an_input_or_have_another_kind(broad: Program) -> None:
    """Of every operation in turn; `and` and `or` take any number of inputs from two on."""
    for index, operation in enumerate(broad.operations):
        changed = [replace(operation, kind=Kind.TABLE)]
        if len(operation.inputs) > 2 or operation.name not in ("and", "or", "order"):
            changed += [replace(operation, inputs=operation.inputs[:-1])] * bool(operation.inputs)
        for other in changed:
            operations = (*broad.operations[:index], other, *broad.operations[index + 1 :])
            if other.name not in ("logits", "observe", "order", "log_probabilities", "shift_distributions"):
                with pytest.raises(InvalidProgram):
                    verify(replace(broad, operations=operations))
