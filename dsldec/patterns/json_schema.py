"""How does a JSON schema become a regular expression? Every text that matches is JSON and fits the schema.

Objects have their properties in the order of the schema, and no others. A feature without an expression is
refused, with its place in the schema. The converter of outlines_core is not used: it writes names without
JSON's escapes, and ignores `minimum`, `uniqueItems` and `required` names without a schema. Source: JSON
Schema 2020-12, RFC 8259. Not here: the check of the expression (`regular`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from .number_ranges import integers

SPACE = " ?"  # between the parts of an object or a list
# One character of a string, as JSON writes it: a control character only as an escape.
LETTER = r'(?:[^"\\\x00-\x1f\x7f-\x9f]|\\["\\/bfnrt])'
DIGITS = r"(?:0|[1-9][0-9]{0,17})"  # Python reads at most 4,300 digits, and most languages 64 bits
NUMBER = rf"-?{DIGITS}(?:\.[0-9]{{1,17}})?(?:[eE][+-]?[0-9]{{1,2}})?"
_DAY = "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
_DATE, _CLOCK = f"[0-9]{{4}}-{_DAY}", r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?"
_ZONE = r"(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
FORMATS = {
    "date": _DATE,  # without the 29th of February
    "time": _CLOCK + _ZONE,
    "date-time": f"{_DATE}T{_CLOCK}{_ZONE}",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": rf"(?:{_BYTE}\.){{3}}{_BYTE}",
    "email": r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?:\.[A-Za-z0-9]+)+",
}
NOTES = set(
    "title description default examples $schema $id $comment deprecated readOnly writeOnly $defs definitions discriminator".split()
)
WORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "additionalItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": set(),
    "boolean": set(),
    "null": set(),
}  # fmt: skip
ANY_KIND = {"type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
DEEPEST, MOST_CHARACTERS, MOST_REPEATS = 32, 64 * 1024, 1000
_EXAMPLE = '{"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}'


def regex_of(schema: Any, require_string_pattern: Callable[[str], str]) -> str:
    """The expression of a schema. `require_string_pattern` checks the value of a `pattern`, and returns it
    without anchors. Raises `UsageError`: E0492 for a wrong schema, E0493 for a feature that is not
    supported, E0494 for one that is too large.
    """
    return _Conversion(schema, require_string_pattern).regex(schema, "#", 0)


class _Conversion:
    """The conversion of one schema. `place`: a JSON pointer into it, for messages."""

    def __init__(self, root: Any, require_string_pattern: Callable[[str], str]) -> None:
        self.root, self.require_string_pattern = root, require_string_pattern
        self.written = 0  # characters of all parts: references may double a schema again and again
        self.opened: list[str] = []

    def regex(self, schema: Any, place: str, depth: int) -> str:
        if not isinstance(schema, Mapping):
            what = (
                "any value"
                if schema is True
                else "no value"
                if schema is False
                else f"`{type(schema).__name__}`"
            )
            raise _unsupported(place, f"it is {what}, and a pattern needs a `type`", '`{"type": "string"}`')
        if depth > DEEPEST:
            raise _too_large(f"it is nested more than {DEEPEST} deep")
        made = self._one(schema, place, depth)
        self.written += len(made)
        if len(made) > MOST_CHARACTERS or self.written > 16 * MOST_CHARACTERS:
            raise _too_large(f"its regular expression has more than {MOST_CHARACTERS:,} characters")
        return made

    def _one(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        if "$ref" in schema:
            return self._reference(schema, place, depth)
        for word in ("const", "enum", "allOf", "anyOf", "oneOf"):
            if word in schema:
                _require_words(schema, place, {word, "type"})
                return self._choice(word, schema, place, depth)
        kinds = schema.get("type")
        if isinstance(kinds, list) and kinds:
            known = set[str]().union(*(WORDS.get(kind, set()) for kind in kinds if isinstance(kind, str)))
            _require_words(schema, place, {"type", *known})
            each = (
                {key: value for key, value in schema.items() if key in WORDS.get(kind, set())}
                | {"type": kind}
                for kind in kinds
            )
            return _any_of(self.regex(one, place, depth + 1) for one in each)
        if kinds is None:
            help = '`"type": "string"`, or `object`, `array`, `integer`, `number`, `boolean`, `null`'
            raise _unsupported(place, "it has no `type`, and a pattern cannot be of any value", help)
        if not isinstance(kinds, str) or kinds not in WORDS:
            raise _wrong(
                place, f"there is no type `{kinds}`", f"one of {', '.join(f'`{one}`' for one in WORDS)}"
            )
        _require_words(schema, place, {"type", *WORDS[kinds]})
        made: str = getattr(self, f"_{kinds}")(schema, place, depth)
        return made

    def _reference(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        _require_words(schema, place, {"$ref"})
        name = schema["$ref"]
        if not isinstance(name, str) or not name.startswith("#"):
            raise _unsupported(place, f"`$ref` leads to another file: `{name}`", '`{"$ref": "#/$defs/NAME"}`')
        if name in self.opened:
            help = "write the levels that may occur, each with a name of its own"
            raise _unsupported(place, f"`{name}` contains itself, and a pattern has no recursion", help)
        target = self.root
        for part in name.lstrip("#").split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, Mapping) or part not in target:
                raise _wrong(
                    place, f"`$ref` leads to `{name}`, which the schema does not have", "add it below `$defs`"
                )
            target = target[part]
        self.opened.append(name)
        made = self.regex(target, name, depth + 1)
        self.opened.pop()
        return made

    def _choice(self, word: str, schema: Mapping[str, Any], place: str, depth: int) -> str:
        if word == "const":
            return _constant(schema["const"], place, depth)
        values = schema[word]
        if not isinstance(values, list) or not values:
            raise _wrong(place, f"`{word}` is no list with entries", f'`"{word}": [...]`')
        if word == "enum":
            return _any_of(
                _constant(value, place, depth) for value in values if _has_type(value, schema.get("type"))
            )
        if word == "allOf" and len(values) > 1:
            raise _unsupported(
                place, "`allOf` joins several schemas", "write one schema with the words of all"
            )
        if word == "oneOf" and not _disjoint([self._resolved(value) for value in values]):
            help = "write `anyOf`, or give each object a property with its own `const`"
            raise _unsupported(place, "`oneOf` has alternatives that a value may fit both", help)
        return _any_of(
            self.regex(value, f"{place}/{word}/{at}", depth + 1) for at, value in enumerate(values)
        )

    def _resolved(self, schema: Any) -> Any:
        name = schema.get("$ref") if isinstance(schema, Mapping) else None
        target = self.root
        for part in name.split("/")[1:] if isinstance(name, str) else ():
            target = target.get(part) if isinstance(target, Mapping) else None
        return target if isinstance(name, str) else schema

    def _object(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
        required = schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise _wrong(
                place, "`properties` is no object, or `required` no list", f"for example `{_EXAMPLE}`"
            )
        if lacking := next((name for name in required if name not in properties), None):
            help = f'add `"{lacking}": {{"type": ...}}` to `properties`'
            raise _unsupported(place, f"`required` names `{lacking}`, which `properties` lacks", help)
        if not properties and isinstance(more, Mapping):
            entry = (
                f'"{LETTER}*"{SPACE}:{SPACE}{self.regex(more, f"{place}/additionalProperties", depth + 1)}'
            )
            return rf"\{{{SPACE}(?:{entry}(?:{SPACE},{SPACE}{entry})*{SPACE})?\}}"
        if not properties and more is not False:
            help = f"for example `{_EXAMPLE}`"
            raise _unsupported(place, "it is an object of any properties: name them", help)
        parts = [
            (
                rf"{_escaped(json.dumps(str(name), ensure_ascii=False))}{SPACE}:{SPACE}{self.regex(value, f'{place}/properties/{name}', depth + 1)}",
                name in required,
            )
            for name, value in properties.items()
        ]
        return rf"\{{{SPACE}{_listed(parts)}{SPACE}\}}"

    def _array(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        least, most = _bounds(schema, place, "minItems", "maxItems")
        first, items = schema.get("prefixItems", []), schema.get("items", True)
        if not isinstance(first, list):
            raise _wrong(place, "`prefixItems` is no list", '`"prefixItems": [{"type": "integer"}]`')
        if schema.get("uniqueItems") and (most is None or most > 1):
            raise _unsupported(place, "`uniqueItems` compares the entries of a list", "leave it out")
        if first:
            if least > len(first) or (most is not None and most < len(first)):
                raise _unsupported(
                    place,
                    "a list with `prefixItems` has exactly these",
                    "leave `minItems` and `maxItems` out",
                )
            parts = [self.regex(one, f"{place}/prefixItems/{at}", depth + 1) for at, one in enumerate(first)]
            return rf"\[{SPACE}{f'{SPACE},{SPACE}'.join(parts)}{SPACE}\]"
        if items is True:
            raise _unsupported(place, "it is a list of any values", '`"items": {"type": "integer"}`')
        if most == 0 or items is False:
            return rf"\[{SPACE}\]"
        one = self.regex(items, f"{place}/items", depth + 1)
        repeat = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        inner = f"{one}(?:{SPACE},{SPACE}{one}){repeat}{SPACE}"
        return rf"\[{SPACE}{inner if least else f'(?:{inner})?'}\]"

    def _string(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        least, most = _bounds(schema, place, "minLength", "maxLength")
        form, pattern = schema.get("format"), schema.get("pattern")
        if pattern is not None or form is not None:
            if "minLength" in schema or "maxLength" in schema or (pattern is not None and form is not None):
                help = "write the length into the pattern: `[a-z]{2,8}`"
                raise _unsupported(place, "it has a `pattern` or `format` beside other words", help)
            if form is not None and form not in FORMATS:
                help = f"one of {', '.join(f'`{one}`' for one in FORMATS)}, or a `pattern`"
                raise _unsupported(place, f"the format `{form}` is not known", help)
            if form is None and not isinstance(pattern, str):
                raise _wrong(place, "`pattern` is no text", '`"pattern": "[a-z]+"`')
            inner = FORMATS[form] if form is not None else self.require_string_pattern(str(pattern))
            return f'"(?:{inner})"'
        bounds = "*" if (least, most) == (0, None) else f"{{{least},{'' if most is None else most}}}"
        return f'"{LETTER}{bounds}"'

    def _integer(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        low, high = schema.get("minimum"), schema.get("maximum")
        for name, step in (("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
            if name in schema:
                value = _whole(schema[name], place, name) + step
                low = max(value, low) if step > 0 and isinstance(low, int) else value if step > 0 else low
                high = min(value, high) if step < 0 and isinstance(high, int) else value if step < 0 else high
        low = None if low is None else _whole(low, place, "minimum")
        high = None if high is None else _whole(high, place, "maximum")
        if low is None and high is None:
            return f"-?{DIGITS}"
        if low is not None and high is not None and low > high:
            raise _wrong(place, f"no integer is from {low} to {high}", "exchange the bounds")
        return integers(low, high)

    def _number(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        return NUMBER

    def _boolean(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        return "(?:true|false)"

    def _null(self, schema: Mapping[str, Any], place: str, depth: int) -> str:
        return "null"


def _listed(parts: list[tuple[str, bool]]) -> str:
    """Parts with commas between the ones that occur; each with whether it must occur."""
    comma = f"{SPACE},{SPACE}"
    rest = [f"{comma}{part}" if must else f"(?:{comma}{part})?" for part, must in parts]
    begins = []
    for at, (part, must) in enumerate(parts):
        begins.append(part + "".join(rest[at + 1 :]))
        if must:
            return _any_of(begins)
    return f"{_any_of(begins)}?" if begins else ""


def _any_of(parts: Any) -> str:
    return f"(?:{'|'.join(dict.fromkeys(parts))})"


def _constant(value: Any, place: str, depth: int) -> str:
    """The expression of one value, as JSON writes it."""
    try:
        if depth > DEEPEST:
            raise _too_large(f"it is nested more than {DEEPEST} deep")
        if isinstance(value, Mapping):
            parts = (
                f"{_constant(str(key), place, depth)}{SPACE}:{SPACE}{_constant(one, place, depth + 1)}"
                for key, one in value.items()
            )
            return rf"\{{{SPACE}{f'{SPACE},{SPACE}'.join(parts)}{SPACE}\}}"
        if isinstance(value, list | tuple):
            return rf"\[{SPACE}{f'{SPACE},{SPACE}'.join(_constant(one, place, depth + 1) for one in value)}{SPACE}\]"
        return _escaped(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (TypeError, ValueError):
        raise _wrong(
            place, "it has a constant that JSON cannot write", "use texts, numbers, true, false and null"
        ) from None


def _escaped(text: str) -> str:
    """A text as an expression that matches it alone. Surrogates, which UTF-8 lacks, are JSON escapes."""
    written = "".join(f"\\u{ord(one):04x}" if 0xD800 <= ord(one) < 0xE000 else one for one in text)
    return re.sub(r"[.^$*+?{}\[\]\\|()#&~-]", lambda match: "\\" + match[0], written)


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a constant has the type of its schema, or one of several."""
    if kind is None:
        return True
    kinds = kind if isinstance(kind, list) else [kind]
    return _kind_of(value) in kinds or (_kind_of(value) == "integer" and "number" in kinds)


def _kind_of(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    names = ((float, "number"), (str, "string"), (list, "array"), (Mapping, "object"))
    return next((name for kind, name in names if isinstance(value, kind)), "")


def _disjoint(schemas: list[Any]) -> bool:
    """Whether no value fits two of these schemas, as far as their types and constants show."""
    return all(_apart(one, other) for at, one in enumerate(schemas) for other in schemas[:at])


def _apart(one: Any, other: Any) -> bool:
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return False
    values, others = _values(one), _values(other)
    if values is not None and others is not None:
        return not any(
            json.dumps(value, sort_keys=True) == json.dumps(two, sort_keys=True)
            for value in values
            for two in others
        )
    kind, second = one.get("type"), other.get("type")
    if isinstance(kind, str) and isinstance(second, str) and kind != second:
        return {kind, second} != {"integer", "number"}
    first, rest = one.get("properties"), other.get("properties")
    if not (kind == second == "object" and isinstance(first, Mapping) and isinstance(rest, Mapping)):
        return False
    both = [
        name
        for name in first
        if name in rest and name in one.get("required", ()) and name in other.get("required", ())
    ]
    return any(_values(first[name]) is not None and _apart(first[name], rest[name]) for name in both)


def _values(schema: Any) -> list[Any] | None:
    if not isinstance(schema, Mapping):
        return None
    return (
        [schema["const"]]
        if "const" in schema
        else schema.get("enum")
        if isinstance(schema.get("enum"), list)
        else None
    )


def _bounds(schema: Mapping[str, Any], place: str, low: str, high: str) -> tuple[int, int | None]:
    least = _whole(schema.get(low, 0), place, low)
    most = None if schema.get(high) is None else _whole(schema[high], place, high)
    if least < 0 or (most is not None and most < least):
        raise _wrong(place, f"`{low}` and `{high}` leave no length", f'`"{low}": 1, "{high}": 8`')
    if max(least, most or 0) > MOST_REPEATS:
        raise _unsupported(
            place, f"`{low}` and `{high}` are at most {MOST_REPEATS}", f'`"{high}": {MOST_REPEATS}`'
        )
    return least, most


def _whole(value: Any, place: str, name: str) -> int:
    if isinstance(value, bool) or not (
        isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    ):
        raise _wrong(place, f"`{name}` is no whole number", f'`"{name}": 1`')
    return int(value)


def _require_words(schema: Mapping[str, Any], place: str, known: set[str]) -> None:
    for word in schema:
        if word not in known and word not in NOTES:
            kind = schema.get("type")
            help = f"leave it out; of `{kind}` a pattern knows {', '.join(f'`{one}`' for one in sorted(known)) or 'no word'}"
            raise _unsupported(place, f"`{word}` is not supported here", help)


def _unsupported(place: str, message: str, help: str) -> UsageError:
    return UsageError(
        Diagnostic("E0493", f"the schema cannot become a pattern, at `{place}`: {message}", help=help)
    )


def _wrong(place: str, message: str, help: str) -> UsageError:
    return UsageError(Diagnostic("E0492", f"the schema is not valid, at `{place}`: {message}", help=help))


def _too_large(why: str) -> UsageError:
    return UsageError(
        Diagnostic(
            "E0494",
            f"the schema is too large for a pattern: {why}",
            help="describe less: fewer fields, fewer levels",
        )
    )
