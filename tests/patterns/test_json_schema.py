"""Is every text of a schema's pattern JSON that fits the schema, and is every other feature refused?"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dsldec.diagnostics import UsageError
from dsldec.patterns import Pattern
from dsldec.patterns.automaton import DEAD
from dsldec.patterns.byte_automaton import ByteAutomaton, byte_automaton
from dsldec.patterns.json_schema import FORMATS
from dsldec.patterns.minimal import distances
from dsldec.patterns.number_ranges import integers

from .slow import accepts, matches

jsonschema = pytest.importorskip("jsonschema")
PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 4},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "kind": {"enum": ['a"b', "é\n", 1.5, None, {"x": [1, True]}]},
        "at": {"$ref": "#/$defs/point"},
    },
    "required": ["name", "at"],
    "$defs": {"point": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}},
}
SCHEMAS: list[Any] = [
    PERSON,
    {"type": "string"},
    {"type": "integer"},
    {"type": "integer", "exclusiveMinimum": -3, "exclusiveMaximum": 12},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "null"},
    {"type": ["string", "null", "integer"], "maxLength": 2, "minimum": 3},
    {"const": "a\\b\u2028\x7f/."},
    {"enum": ["yes", "no"], "type": "string"},
    {"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]},
    {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]},
    {"allOf": [{"type": "integer"}]},
    {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
    {"type": "array", "items": {"type": "boolean"}},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}},
    {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}, "c": {"type": "null"}}, "required": ["b"], "additionalProperties": False},
    {"type": "object", "properties": {"a\"b.*\n": {"type": "null"}, "": {"const": [{}]}}, "required": ["a\"b.*\n", ""]},
    {"type": "object", "properties": {}, "additionalProperties": False},
    {"type": "string", "pattern": "^[a-z]{2,4}(-[0-9]+)?$"},
    {"oneOf": [
        {"type": "object", "properties": {"k": {"const": 1}, "x": {"type": "null"}}, "required": ["k"]},
        {"type": "object", "properties": {"k": {"const": 2}}, "required": ["k"]},
    ]},
    *({"type": "string", "format": form} for form in FORMATS),
]  # fmt: skip


def walked(automaton: ByteAutomaton, draw: random.Random) -> str:
    """A random text of an automaton: random bytes, and the shortest way to an end after a while."""
    table = automaton.by_byte()
    left = distances(table, automaton.final)
    state, text = 0, bytearray()
    patience = draw.randint(0, 60)
    while not (automaton.final[state] and (len(text) >= patience or draw.random() < 0.2)):
        bytes_ = np.flatnonzero(table[state] != DEAD)
        if not len(bytes_):
            break
        if len(text) >= patience:
            bytes_ = bytes_[left[table[state, bytes_]] < left[state]]
        byte = int(draw.choice(bytes_.tolist()))
        text.append(byte)
        state = int(table[state, byte])
    return text.decode()


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_every_text_fits_the_schema(schema: Any) -> None:
    automaton = byte_automaton(Pattern.of(schema).regex)
    judge = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker(CHECKED))
    draw = random.Random(0)
    for _ in range(60):
        text = walked(automaton, draw)
        assert accepts(automaton, text.encode())
        judge.validate(json.loads(text))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (
            PERSON,
            {"name": "Ada", "age": 36, "tags": ["x", "y"], "kind": {"x": [1, True]}, "at": [1.5, -2e-3]},
        ),
        (PERSON, {"name": "Ada", "at": [0, 0]}),
        ({"type": "string"}, 'a "b" \\ / é 語 🙂\n'),
        ({"type": "integer"}, -12),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {"a": 1, "b c": 2}),
        ({"type": "string", "format": "date-time"}, "2024-03-31T23:59:00.5+02:00"),
        ({"type": "string", "format": "email"}, "ada.l@example.org"),
    ],
)
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_usual_json_matches(schema: Any, value: Any, separators: tuple[str, str]) -> None:
    automaton = byte_automaton(Pattern.of(schema).regex)
    assert accepts(automaton, json.dumps(value, ensure_ascii=False, separators=separators).encode())


@pytest.mark.parametrize(
    "text",
    [
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "NaN",
        '"a',
        "'a'",
        '"\n"',
        '"\\x"',
        '"\\u12"',
        "True",
        "None",
        "[1,]",
        '{"a":1,}',
    ],
)
def test_no_schema_matches_what_is_not_json(text: str) -> None:
    for schema in SCHEMAS[:6]:
        assert not accepts(byte_automaton(Pattern.of(schema).regex), text.encode())


# Of jsonschema without its extras; its `time` is not that of RFC 3339.
CHECKED = ("date", "email", "ipv4", "uuid")
POINT = {"type": "array", "prefixItems": [{"type": "number"}]}


@pytest.mark.parametrize(
    ("schema", "code", "says"),
    [
        ({}, "E0493", "has no `type`"),
        ({"type": "object"}, "E0493", "of any properties"),
        ({"type": "array"}, "E0493", "a list of any values"),
        ({"type": "array", "items": True}, "E0493", "a list of any values"),
        ({"type": "text"}, "E0492", "there is no type `text`"),
        ({"type": "number", "minimum": 1}, "E0493", "`minimum` is not supported"),
        ({"type": "integer", "multipleOf": 2}, "E0493", "`multipleOf` is not supported"),
        ({"type": "integer", "minimum": 4, "maximum": 3}, "E0492", "no integer is from 4 to 3"),
        ({"type": "integer", "minimum": "4"}, "E0492", "`minimum` is no whole number"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "E0492", "leave no length"),
        ({"type": "string", "maxLength": 5000}, "E0493", "at most 1000"),
        ({"type": "string", "format": "uri"}, "E0493", "the format `uri` is not known"),
        ({"type": "string", "pattern": "a.*"}, "E0493", "which JSON writes with an escape"),
        ({"type": "string", "pattern": "a(?=b)"}, "E0491", "look ahead"),
        ({"type": "string", "pattern": "[a-z]", "maxLength": 4}, "E0493", "beside other words"),
        ({"type": "string", "pattern": 3}, "E0492", "`pattern` is no text"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["b"]}, "E0493", "`required` names `b`"),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "patternProperties": {}}, "E0493", "`patternProperties`"),
        ({"type": "object", "properties": {"a": {"not": {}}}}, "E0493", "at `#/properties/a`"),
        ({"type": "array", "items": {"type": "null"}, "uniqueItems": True}, "E0493", "`uniqueItems`"),
        (POINT | {"maxItems": 0}, "E0493", "exactly these"),
        ({"allOf": [{"type": "integer"}, {"type": "number"}]}, "E0493", "`allOf` joins"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "E0493", "may fit both"),
        ({"anyOf": []}, "E0492", "no list with entries"),
        ({"$ref": "#/$defs/x"}, "E0492", "does not have"),
        ({"$ref": "other.json"}, "E0493", "another file"),
        ({"$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}, "$ref": "#/$defs/n"}, "E0493", "contains itself"),
        ({"enum": [float("nan")]}, "E0492", "JSON cannot write"),
        ({"enum": [{1, 2}]}, "E0492", "JSON cannot write"),
        ('{"type": "integer"', "E0492", "is not JSON"),
        ('{"type": "integer", "type": "string"}', "E0492", "twice"),
        ("{" * 500, "E0492", "100 deep"),
    ],
)  # fmt: skip
def test_another_feature_is_refused(schema: Any, code: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        Pattern.of(schema)
    assert refused.value.diagnostic.code == code
    assert says in str(refused.value)
    assert refused.value.diagnostic.help


def test_a_schema_that_doubles_itself_is_stopped() -> None:
    defs: dict[str, Any] = {"a0": {"type": "null"}}
    for n in range(1, 30):
        defs[f"a{n}"] = {"type": "array", "prefixItems": [{"$ref": f"#/$defs/a{n - 1}"}] * 2}
    with pytest.raises(UsageError, match=r"E0494"):
        Pattern.of({"$defs": defs, "$ref": "#/$defs/a29"})


def test_a_schema_may_be_a_dict_a_text_a_class_or_a_file(tmp_path: Path) -> None:
    class Answer:
        @classmethod
        def model_json_schema(cls) -> dict[str, Any]:
            return {"type": "integer"}

    file = tmp_path / "schema.json"
    file.write_text('\ufeff{"type": "integer"}\n')
    given = [{"type": "integer"}, '{"type": "integer"}', Answer]
    patterns = [Pattern.of(one) for one in given] + [
        Pattern.of(f"@{file}", files=True),
        Pattern.of(str(file), files=True),
        Pattern.of_file(str(file)),
    ]
    assert {pattern.regex for pattern in patterns} == {"-?(?:0|[1-9][0-9]{0,17})"}
    assert all(Pattern.of(pattern.text) == pattern for pattern in patterns)
    lines = tmp_path / "regex.txt"
    lines.write_text("[0-9]+\n")
    assert Pattern.of(f"@{lines}", files=True) == Pattern.of("[0-9]+")
    with pytest.raises(UsageError, match=r"E0499.*is the name of a file"):
        Pattern.of(f"{file}")  # nor is it taken as a regular expression
    with pytest.raises(UsageError, match=r"E0499.*no such file"):
        Pattern.of("@nowhere.json", files=True)


def test_integers_of_a_range_are_those_of_the_range() -> None:
    draw = random.Random(3)
    for _ in range(150):
        low, high = sorted((draw.randint(-1200, 1200), draw.randint(-1200, 1200)))
        regex = integers(low, high)
        for number in [low - 1, low, high, high + 1, *(draw.randint(-1300, 1300) for _ in range(60))]:
            assert matches(regex, str(number)) == (low <= number <= high), (low, high, number)
        assert not any(matches(regex, text) for text in ("", "-0", "00", f"0{abs(high)}", "-"))
    for low, high in ((0, None), (None, 5), (7, None), (None, -3)):
        for number in (-(10**17), -3, -2, 0, 5, 6, 7, 10**17):
            inside = (low is None or low <= number) and (high is None or number <= high)
            assert matches(integers(low, high), str(number)) == inside
