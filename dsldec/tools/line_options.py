"""The options of `decode` that a line of a JSONL file may set for its own prompt.

A field with such a name is a setting, and is also copied into the result, so that `--resume` can compare it.
Not here: the other fields of a line (`prompts`), the options of a run (`options`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..options import DECODE, DecodeOptions
from ..patterns import Pattern
from ..runtime.prompt_options import NOT_WITH_INFILL
from . import quoted

LINE_OPTIONS = (
    "gen_length",
    "min_length",
    "stop",
    "stop_ids",
    "n",
    "seed",
    "system",
    "logprobs",
    "constrain",
)
# More samples do not change the first ones, and logprobs no answer.
COMPARED = tuple(name for name in LINE_OPTIONS if name not in ("n", "logprobs"))
RENAME = "the field is an option of `decode`: correct it, or give your own field another name"


def options_of_line(fields: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The options that a line sets. `null` sets nothing. Raises `UsageError` (E0428) for a wrong value."""
    given = {name: fields[name] for name in LINE_OPTIONS if fields.get(name) is not None}
    for name, value in given.items():
        try:
            if name == "gen_length":
                DECODE[name].require_count(value)
            elif name == "constrain":
                Pattern.of(value)  # of no file: a line may be of another author
            else:
                DECODE[name].require(value)
        except UsageError as wrong:
            message = f"{place} has a wrong value: {wrong.diagnostic.message}"
            raise UsageError(Diagnostic("E0428", message, help=RENAME)) from None
    return given


def with_line(options: DecodeOptions, given: Mapping[str, Any]) -> DecodeOptions:
    """The options of a run with those of a line in their place."""
    return replace(options, **given) if given else options


def require_no_infill(given: Mapping[str, Any], messages: object, place: str) -> None:
    """Raise `UsageError` (E0423) for a line that `--infill` cannot follow."""
    names = ["messages"] * (messages is not None) + [
        n for n in given if n in (*NOT_WITH_INFILL, "gen_length")
    ]
    if names:
        message = f"{place} has {quoted(names[0])}, which cannot be used with `--infill`"
        help = "an infilling is a `prompt` with masks: its gaps give the number of tokens"
        raise UsageError(Diagnostic("E0423", message, help=help))
