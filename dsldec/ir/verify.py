"""Checks a program: every operation against its signature, the state and the events against the protocol.

`lower` calls it if the environment has `DSLDEC_VERIFY=1`, as in all tests. It finds faults of `lower`. Not
here: mistakes of a policy's author (`checks`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..checks.values import Scalar
from ..language.words import CONDITIONS, SPECIAL_IDS, Extent, Kind
from .nodes import OPERATIONS, Operation, Program
from .protocol import EVENTS, NOT_FINITE, Writer, field_of
from .signatures import CHOSEN, KINDS, SITED, SIZED, STRUCTURES, Form, OperandRule, forms


class InvalidProgram(AssertionError):
    """A program that breaks a rule: the operation, or the field or event, and the rule."""


def verify(program: Program) -> None:
    """Raises `InvalidProgram` for the first rule that the program breaks."""
    words = verify_operations(program)
    _verify_results(program, words)
    _verify_state(program, words)
    _verify_events(program)
    _verify_use(program)


def verify_operations(program: Program) -> list[str]:
    """Checks that each operation reads earlier operations, has a valid attribute, and has a form of its
    signature.

    The result: for each operation the structure that it gives, or an empty text for a value with a kind.
    """
    structures: list[str] = []
    for index, operation in enumerate(program.operations):
        place = f"%{index} = {operation}"
        if operation.name not in OPERATIONS:
            raise InvalidProgram(f"{place}: no such operation")
        if not all(0 <= i < index for i in operation.inputs):
            raise InvalidProgram(f"{place}: an input is no earlier operation")
        if (why := _wrong_attribute(program, operation)) is not None:
            raise InvalidProgram(f"{place}: {why}")
        fitting = [form for form in forms(operation) if _fits(program, operation, form, structures)]
        if not fitting:
            inputs = ", ".join(str(program.operations[i]) for i in operation.inputs)
            raise InvalidProgram(f"{place}: not in its signature, with the inputs {inputs or 'none'}")
        word = fitting[0].result.word
        structures.append(word if word in STRUCTURES else "")
    return structures


def _wrong_attribute(program: Program, operation: Operation) -> str | None:
    name, attribute = operation.name, operation.attribute
    if name == "number":
        return None if _is_constant(attribute, operation.kind) else "the constant is not of its kind"
    if name == "parameter":
        parameter = program.parameters.get(str(attribute))
        known = parameter is not None and parameter.kind is operation.kind
        return None if known else "the program has no such parameter of that kind"
    if name == "special":
        return None if attribute in SPECIAL_IDS else "there is no such token"
    if name == "state":
        carried = program.carried.get(str(attribute))
        known = carried is not None and (carried.kind, carried.extent) == (operation.kind, operation.extent)
        return None if known else "the state has no such field of that kind and extent"
    if name == "path":
        parameter = program.parameters.get(str(attribute))
        known = parameter is not None and parameter.kind is Kind.PATTERN
        return None if known else "the program has no such pattern"
    if name == "learned":
        parameter = program.parameters.get(str(attribute))
        known = parameter is not None and parameter.kind is Kind.NETWORK
        return None if known else "the program has no such network"
    if name in SIZED:
        fits = attribute in program.parameters if isinstance(attribute, str) else _is_int(attribute)
        return None if fits else "the size is neither an int nor a parameter"
    if name in SITED:
        return None if _is_int(attribute) else "the place of a random number is no int"
    if name in CHOSEN or attribute is None:
        return None
    return "the operation takes no attribute"


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_constant(value: Scalar | str | None, kind: Kind) -> bool:
    if kind in CONDITIONS:
        return isinstance(value, bool)
    return _is_int(value) if kind is Kind.INT else isinstance(value, int | float)


def _fits(program: Program, operation: Operation, form: Form, structures: Sequence[str]) -> bool:
    inputs = [program.operations[i] for i in operation.inputs]
    if not form.takes(len(inputs)):
        return False
    for place, (index, given) in enumerate(zip(operation.inputs, inputs, strict=True)):
        if not _is_operand(given, structures[index], form.input(place)):
            return False
        wanted = form.input(place).extent
        if wanted is not None and given.extent > wanted:
            return False
    return _is_result(program, operation, form, max((one.extent for one in inputs), default=Extent.RUN))


def _is_operand(given: Operation, structure: str, operand: OperandRule) -> bool:
    if operand.word in STRUCTURES or structure:
        return structure == operand.word
    return given.kind in KINDS[operand.word]


def _is_result(program: Program, operation: Operation, form: Form, widest: Extent) -> bool:
    word, extent = form.result.word, form.result.extent
    if word in STRUCTURES:
        carried = program.carried.get(str(operation.attribute))
        if operation.name == "state" and not (carried is not None and carried.distribution):
            return False
        return operation.extent is Extent.POSITION
    if operation.name == "state" and program.carried[str(operation.attribute)].distribution:
        return False
    if operation.kind not in KINDS[word]:
        return False
    return operation.extent >= widest if extent is None else operation.extent is extent


def _verify_results(program: Program, structures: Sequence[str]) -> None:
    for name, index, kinds, extent in (
        ("canvas", program.canvas, {Kind.TOKEN}, Extent.POSITION),
        ("done", program.done, {Kind.BOOL}, Extent.ROW),
        ("finite", program.finite, CONDITIONS, Extent.POSITION),
    ):
        result = _operation(program, index, name)
        if structures[index] or result.kind not in kinds or result.extent > extent:
            raise InvalidProgram(f"{name} is {result}")


def _verify_state(program: Program, structures: Sequence[str]) -> None:
    for name, carried in program.carried.items():
        try:
            field = field_of(name)
        except KeyError:
            raise InvalidProgram(f"the protocol has no field {name}") from None
        if field.kind not in (None, carried.kind) or field.extent not in (None, carried.extent):
            raise InvalidProgram(f"{name}: {carried} is not the kind and the extent of the protocol")
        if (field.writer is Writer.STEP) != (name in program.next):
            raise InvalidProgram(f"{name} is written by the {field.writer}")
    for name, index in program.next.items():
        if (kept := program.carried.get(name)) is None:
            raise InvalidProgram(f"the state has no field {name}")
        following = _operation(program, index, name)
        if (structures[index] == "distribution") != kept.distribution:
            raise InvalidProgram(f"next {name} is {following}, and the field is {kept}")
        if following.kind is not kept.kind or following.extent > kept.extent:
            raise InvalidProgram(f"next {name} is {following}, and the field is {kept}")
        if kept.distribution and following.attribute != kept.keep:
            raise InvalidProgram(f"next {name} holds {following.attribute} ids, and the field {kept.keep}")


def _verify_events(program: Program) -> None:
    for name, index in program.events.items():
        event = None if name == NOT_FINITE else EVENTS.get(name)
        if event is None:
            raise InvalidProgram(f"the protocol has no event {name} that a program gives")
        value = _operation(program, index, name)
        # A score may have a unit: it is compared with scores of the same expression alone.
        kinds = KINDS["real"] if event.kind is Kind.REAL else {event.kind}
        if value.kind not in kinds or value.extent > event.extent:
            raise InvalidProgram(
                f"{name} is {value}, and the event {event.kind} per {event.extent.name.lower()}"
            )


def _verify_use(program: Program) -> None:
    """Every operation is an input or a result, and no two are equal."""
    used = {program.canvas, program.done, program.finite, *program.next.values(), *program.events.values()}
    used |= {i for operation in program.operations for i in operation.inputs}
    known: dict[tuple[object, ...], int] = {}
    for index, operation in enumerate(program.operations):
        if index not in used:
            raise InvalidProgram(f"%{index} = {operation}: nothing reads it")
        # `repr` of the attribute, because NaN is not equal to itself.
        key = (operation.name, operation.inputs, operation.kind, operation.extent, repr(operation.attribute))
        if (earlier := known.setdefault(key, index)) != index:
            raise InvalidProgram(f"%{index} = {operation}: the same as %{earlier}")


def _operation(program: Program, index: int, name: str) -> Operation:
    if not 0 <= index < len(program.operations):
        raise InvalidProgram(f"{name} is no operation: %{index}")
    return program.operations[index]
