"""Does the protocol's table describe every field of every policy's step, and does each backend keep to it?"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import dsldec
from dsldec.backends.path_first import without_path
from dsldec.backends.step import DTYPES, Events
from dsldec.ir import protocol
from dsldec.ir.nodes import Program
from dsldec.ir.protocol import EVENTS, FIELDS, PREFIXES, Writer, field_of
from dsldec.language.words import NUMBERS, Extent

from ..backends.policies import random_policy
from ..shipped import LIBRARY
from ..tables import require_tables

PACKAGE = Path(dsldec.__file__).parent
SHAPES = {Extent.ROW: (2,), Extent.POSITION: (2, 8)}
VOCABULARY = 31


def policies() -> Iterator[str | Path]:
    yield from LIBRARY
    yield from (random_policy(seed, patterns=True)[0] for seed in range(150))


def test_every_field_of_every_policy_is_in_the_table() -> None:
    fields, events = set[str](), set[str]()
    for source in policies():
        program = dsldec.load(source).program
        for one in (program, without_path(program)):  # compiled code has a field of its own
            holds(one)
            fields |= one.carried.keys()
        events |= program.events.keys()
    assert fields >= FIELDS.keys(), "no policy has these"
    assert {prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in fields)} == {*PREFIXES}
    assert events | {protocol.NOT_FINITE} == EVENTS.keys()


def holds(program: Program) -> None:
    """Kind, extent and writer of each field, and kind and extent of each event, are those of the table."""
    for name, carried in program.carried.items():
        field = field_of(name)
        assert field.kind in (None, carried.kind), name
        assert field.extent in (None, carried.extent), name
        assert (field.writer is Writer.STEP) == (name in program.next), name
        assert carried.distribution == name.startswith(protocol.DISTRIBUTION_PREFIX), name
    for name, index in program.events.items():
        kind = program.operations[index].kind  # a score may have a unit
        assert kind is EVENTS[name].kind or (name == protocol.SCORE and kind in NUMBERS), name
        assert program.operations[index].extent <= EVENTS[name].extent, name


@pytest.mark.parametrize("backend", ["reference", "eager"])
def test_a_step_gives_the_fields_it_takes_and_the_events_of_its_program(backend: str) -> None:
    for source in [*LIBRARY, *(random_policy(seed)[0] for seed in range(12))]:
        step = dsldec.load(source).compile(backend, mask_id=VOCABULARY - 1, eos_id=4)
        state = step.start(2, 8, vocab_size=VOCABULARY)
        logits = torch.randn(2, 8, VOCABULARY, generator=torch.Generator().manual_seed(0))
        canvas, editable = torch.full((2, 8), VOCABULARY - 1), torch.ones(2, 8, dtype=torch.bool)
        output = step(logits, canvas, editable, state)
        assert list(output.state) == list(state)
        for name, value in output.state.items():
            assert (value.dtype, value.shape) == (state[name].dtype, state[name].shape), name
        events = output.events.by_name()
        assert events.keys() == step.program.events.keys() | {protocol.NOT_FINITE}
        for name, value in events.items():
            event = EVENTS[name]
            dtype = DTYPES.get(event.kind, torch.float32)
            assert (value.dtype, tuple(value.shape)) == (dtype, SHAPES[event.extent]), name
        for name, value in step.no_events(2, 8).by_name().items():
            assert (value.dtype, value.shape) == (events[name].dtype, events[name].shape), name
            assert not value.any()


def test_the_events_have_the_names_of_the_table() -> None:
    assert list(EVENTS) == list(Events._fields)


def test_what_a_name_from_the_policy_may_be() -> None:
    assert field_of(protocol.state_field("step")) is PREFIXES[protocol.STATE_PREFIX]
    assert field_of(protocol.before_field(3)) is PREFIXES[protocol.BEFORE_PREFIX]
    assert field_of(protocol.distribution_field("keep")) is PREFIXES[protocol.DISTRIBUTION_PREFIX]
    assert field_of(protocol.visits_field("wide")) is PREFIXES[protocol.VISITS_PREFIX]
    for name in ("ran", "state_", "before", protocol.NOT_FINITE):
        with pytest.raises(KeyError):
            field_of(name)


@pytest.mark.parametrize("package", ["ir", "backends"])
def test_no_field_is_named_outside_the_table(package: str) -> None:
    """By a string in the place of a key: the constants of the table are for that."""
    names = {*FIELDS, *EVENTS}
    for file in sorted((PACKAGE / package).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for key in keys(node):
                assert not (isinstance(key, ast.Constant) and key.value in names), f"{file.name}:{key.lineno}"


def keys(node: ast.AST) -> list[ast.expr]:
    """What a node looks up: an index, the left of `in` or `==`, the first argument of `state` and its
    like.
    """
    match node:
        case ast.Subscript():
            return [node.slice]
        case ast.Compare():
            return [node.left, *node.comparators]
        case ast.Call(func=ast.Attribute(attr="state" | "kept_at_positions" | "get")):
            return node.args[:1]
    return []


DOCS = Path(__file__).parent.parent.parent / "docs" / "protocol.md"


def test_the_page_says_what_the_table_says(request: pytest.FixtureRequest) -> None:
    """`pytest --accept` writes the tables of the page anew."""
    state = [("field", "kind", "one per", "set by", "meaning")]
    for name, field in (*FIELDS.items(), *((f"{prefix}…", field) for prefix, field in PREFIXES.items())):
        extent = "of the policy" if field.extent is None else field.extent.name.lower()
        kind = "of the policy" if field.kind is None else str(field.kind)
        state.append((f"`{name}`", kind, extent, str(field.writer), field.meaning))
    events = [("event", "kind", "one per", "meaning")]
    for name, event in EVENTS.items():
        events.append((f"`{name}`", str(event.kind), event.extent.name.lower(), event.meaning))
    require_tables(DOCS, {"state": state, "events": events}, request)
