"""Which prompts are to be answered: from arguments, a file, or standard input.

Not here: which of them are answered already (`results`) or too long for the model (`run`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from . import quoted, quoted_path

STANDARD_INPUT = "-"
LINE_WANTED = 'a line is a string, "How many ...", or an object, {"prompt": "How many ...", "id": 7}'


@dataclass(frozen=True, slots=True)
class Prompt:
    """One text to answer. `number` counts the input's lines, or the arguments, from 0; `id` names the result."""

    number: int
    id: str | int
    text: str


def read(arguments: Sequence[str], file: str | None) -> list[Prompt]:
    """Every prompt, from the one place the user named. Raises UsageError before anything slow has happened."""
    if arguments and file is not None:
        raise _wrong_together("both arguments and `--prompts` give prompts")
    if STANDARD_INPUT in arguments and len(arguments) > 1:
        raise _wrong_together("`-` (standard input) stands beside other prompts")
    if arguments and STANDARD_INPUT not in arguments:
        return [_prompt(number, text, place=f"prompt {number + 1}") for number, text in enumerate(arguments)]
    if file is not None and file != STANDARD_INPUT:
        return _from_file(file)
    return _from_standard_input(asked=bool(arguments) or file is not None)


def _wrong_together(message: str) -> UsageError:
    return UsageError(Diagnostic("E0423", message, help='give prompts in one way: `dsldec run "..."`, `--prompts FILE` or `-`'))


def _from_standard_input(asked: bool) -> list[Prompt]:
    if sys.stdin is None or (sys.stdin.isatty() and not asked):
        raise UsageError(Diagnostic("E0425", "no prompt was given", help='`dsldec run "How many ...?"` or `--prompts FILE`'))
    return _some(_from_text(sys.stdin.buffer.read(), "standard input"), "standard input")


def _from_file(name: str) -> list[Prompt]:
    path = Path(name)
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as failure:
        raise UsageError(_unreadable(path, failure)) from None
    parse = _from_jsonl if path.suffix.lower() == ".jsonl" else _from_text
    return _some(parse(data, quoted_path(name)), quoted_path(name))


def _unreadable(path: Path, failure: Exception) -> Diagnostic:
    why = failure.strerror if isinstance(failure, OSError) else str(failure)
    message = f"the file of prompts {quoted_path(path)} cannot be read: {(why or 'unknown reason').lower()}"
    if not isinstance(failure, FileNotFoundError):
        return Diagnostic("E0426", message, help="`--prompts` takes a file, text or `.jsonl`, one prompt a line")
    if not path.parent.is_dir():
        return Diagnostic("E0426", message, help=f"there is no folder {quoted_path(path.parent)}")
    near = did_you_mean(path.name, os.listdir(path.parent)) if os.access(path.parent, os.R_OK) else None
    help = f"did you mean {quoted_path(path.with_name(near))}?" if near else f"look with `ls {path.parent}`"
    return Diagnostic("E0426", message, help=help)


def _some(prompts: list[Prompt], name: str) -> list[Prompt]:
    if not prompts:
        raise UsageError(Diagnostic("E0425", f"{name} holds no prompt", help="write one prompt a line"))
    return prompts


def _from_text(data: bytes, name: str) -> list[Prompt]:
    # Blank lines separate; they are no mistake in a text, and keep their numbers. The empty prompt is written as JSON, or as an argument.
    return [_prompt(number, line, place=f"line {number + 1} of {name}") for number, line in _lines(data, name)]


def _lines(data: bytes, name: str) -> Iterable[tuple[int, str]]:
    """The lines that are not blank, each with its number from 0. Only a line feed ends a line: a prompt may hold U+2028."""
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n")):
        try:
            line = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as failure:
            message = f"line {number + 1} of {name} is not UTF-8: byte {failure.start + 1} is 0x{raw[failure.start]:02x}"
            raise UsageError(Diagnostic("E0427", message, help="convert it: `iconv -f LATIN1 -t UTF-8 OLD > NEW`")) from None
        if line.strip():
            yield number, line


def _from_jsonl(data: bytes, name: str) -> list[Prompt]:
    return [_from_json(number, line, f"line {number + 1} of {name}") for number, line in _lines(data, name)]


def _from_json(number: int, line: str, place: str) -> Prompt:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as failure:
        where = f" at column {failure.colno}" if isinstance(failure, json.JSONDecodeError) else ""
        raise UsageError(Diagnostic("E0428", f"{place} is not JSON{where}: {quoted(line)}", help=LINE_WANTED)) from None
    if isinstance(value, str):
        return _prompt(number, value, place)
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
        what = "an object without a `prompt` that is a string" if isinstance(value, dict) else "neither a string nor an object"
        raise UsageError(Diagnostic("E0428", f"{place} is {what}: {quoted(line)}", help=LINE_WANTED))
    given = value.get("id", number)
    # `true` is an int to Python, and would be the same key as 1.
    if not isinstance(given, str | int) or isinstance(given, bool):
        message = f"the `id` on {place} is neither a string nor a whole number: {quoted(json.dumps(given))}"
        raise UsageError(Diagnostic("E0428", message, help=LINE_WANTED))
    return _prompt(number, value["prompt"], place, given)


def _prompt(number: int, text: str, place: str, given: str | int | None = None) -> Prompt:
    for part in (text, given):
        if isinstance(part, str) and not _is_unicode(part):
            # Half of a surrogate pair: no tokenizer takes it and no file can hold it.
            message = f"{place} is not valid Unicode: {quoted(part)}"
            raise UsageError(Diagnostic("E0427", message, help="write it as UTF-8, or a `\\ud83d\\ude00` pair whole"))
    return Prompt(number, number if given is None else given, text)


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)
