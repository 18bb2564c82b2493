"""Is every option the same in the table, the signatures, the documentation and on the command line?"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec import backends
from dsldec.cli import decoding, exporting
from dsldec.engines.transformers import custom_generate
from dsldec.options import (
    BACKENDS,
    DECODE,
    DECODE_OF_GENERATE,
    LOAD,
    LOAD_OF_GENERATE,
    DecodeOptions,
    LoadOptions,
    Option,
)
from dsldec.runtime.decode import stream
from dsldec.spelling import flag

from .tables import require_tables

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


def keywords(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function, with their defaults."""
    of = inspect.signature(function).parameters.values()
    return {one.name: one.default for one in of if one.kind is one.KEYWORD_ONLY}


def described(function: Callable[..., Any]) -> dict[str, str]:
    """The text about each argument in a docstring."""
    part = inspect.cleandoc(function.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    ([\w, ]+): (.*(?:\n {8}.*)*)", part, re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


@pytest.mark.parametrize(
    ("function", "table"), [(dsldec.decode, DECODE), (stream, DECODE), (dsldec.from_pretrained, LOAD)]
)
def test_a_signature_is_that_of_the_table(function: Callable[..., Any], table: dict[str, Option]) -> None:
    written = keywords(function)
    written.pop("on_step", None)
    assert written == {name: one.default for name, one in table.items()}


def test_custom_generate_takes_what_the_table_says() -> None:
    of_loading = {"tokenizer", *LOAD_OF_GENERATE}
    assert set(keywords(custom_generate)) == of_loading | set(DECODE_OF_GENERATE)
    assert set(keywords(custom_generate).values()) == {None}
    assert of_loading | set(DECODE_OF_GENERATE) < set(described(custom_generate))


@pytest.mark.parametrize("name", DECODE)
def test_the_documentation_of_decode_explains_an_option(name: str) -> None:
    one, text = DECODE[name], described(dsldec.decode)[name]
    assert f"Default: {one.shown_default}." in text
    if one.unit:
        assert one.unit in text.lower()
    for choice in one.choices:
        assert f"`{choice}`" in text


def test_the_documentation_of_decode_explains_nothing_else() -> None:
    assert list(described(dsldec.decode)) == list(inspect.signature(dsldec.decode).parameters)


def test_the_command_line_has_the_flags_of_the_table() -> None:
    run = {name for action in decoding._run_parser()._actions for name in action.option_strings}
    for name, one in (DECODE | LOAD).items():
        if name != "trace":  # `--trace` takes a file
            assert (flag(name) in run) == one.flag, name
    export = {name for action in exporting._export_hf_parser()._actions for name in action.option_strings}
    assert {flag(name) for name in (*DECODE_OF_GENERATE, *LOAD_OF_GENERATE)} < export


def test_the_registry_has_the_backends_of_the_table() -> None:
    assert ["auto", *backends.BACKENDS] == list(BACKENDS)
    assert all(one.help == BACKENDS[name] for name, one in backends.REGISTRY.items())
    assert {"inductor", "tensorrt"} == backends.COMPILED


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ({"gen_length": 0}, "E0409", "`gen_length` must be a whole number of 1 or more, not `0`"),
        ({"batch": 2**31}, "E0409", "`batch` is at most 2147483647"),
        ({"batch": None}, "E0409", "`batch` must be a whole number of 1 or more, not `None`"),
        ({"lookahead": 2000}, "E0409", "`lookahead` must be a whole number from 1 to 1024"),
        ({"seed": None}, "E0409", "`seed` takes whole numbers"),
        ({"trace": "yes"}, "E0409", '`trace` is True, False or `"values"`'),
        ({"cache": "prefx"}, "E0414", "did you mean `prefix`?"),
        ({"cache": None}, "E0414", "there is no cache `None`"),
        ({"verify_rows": "xyz"}, "E0409", "write one of `batch`, `sequential`"),
        ({"backend": ["eager"]}, "E0404", "there is no backend"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_refused(given: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(dsldec.UsageError) as refused:
        DecodeOptions(**given)
    assert refused.value.diagnostic.code == code
    assert says in str(refused.value)


def test_the_page_has_the_options_and_the_backends(request: pytest.FixtureRequest) -> None:
    """`pytest --accept` writes the tables of the page anew."""
    options = [("option", "flag", "default", "meaning")]
    for name, one in DECODE.items():
        options.append((f"`{name}`", f"`{flag(name)}`" if one.flag else "", one.shown_default, one.help))
    names = [("backend", "meaning"), *((f"`{name}`", help) for name, help in BACKENDS.items())]
    require_tables(PAGE, {"options": options, "backends": names}, request)


def test_options_are_taken_from_values_by_name() -> None:
    values = {"batch": 3, "seed": 4, "dtype": "bfloat16", "policy": "static"}
    assert DecodeOptions.of(values) == DecodeOptions(batch=3, seed=4)
    assert LoadOptions.of(values) == LoadOptions(dtype="bfloat16")
