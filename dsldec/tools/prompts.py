"""Which prompts must be answered? They come from arguments, a file, or standard input.

Not here: prompts that have an answer already (`results`), prompts too long for the model (`run`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from ..diagnostics import Diagnostic, UsageError, did_you_mean
from ..files import NotJSON, Unreadable, json_of, lines, opened
from ..runtime.messages import EXAMPLE, Message, WrongMessagesError, turns_of
from . import quoted, quoted_path
from .line_options import options_of_line

STANDARD_INPUT = "-"
LESS_WANTED = "split it into several files, one prompt a line, and run these one after the other"
FILE_WANTED = "`--prompts` takes a file, text or `.jsonl`, one prompt a line; a pipe goes to `dsldec run -`"
DEEPEST_FIELD = 90  # the result nests it one level deeper, and deep JSON is not read
INPUT = "input"  # in a result: the fields of the prompt's line whose names are also fields of a result
RESULT_FIELDS = frozenset(
    ("id", "sample", "prompt", "messages", "text", "finish_reason", "ids", "forwards", "rows", "tokens", "tokens_per_forward",
     "seconds", "proposed", "accepted", "logprobs", "error", "policy", "run", INPUT)
)  # fmt: skip
LINE_WANTED = 'a line is a string, "How many ...", or an object, {"prompt": "How many ...", "id": 7}'
CHAT_WANTED = f'for example {{"messages": {EXAMPLE}, "id": 7}}'


@dataclass(frozen=True, slots=True)
class Prompt:
    """One text to answer. `number` counts the input's lines, or the arguments, from 0; `id` names the result.

    `extra`: the other fields of its line, as they go into the result: JSON without the braces. `moved`:
    fields with the name of a field of results, which go under `input`.

    `messages`: the turns of a chat, whose last one is `text`. `given`: the options that its line sets. `n`:
    the samples of the prompt; `sample`: the one that a result is.
    """

    number: int
    id: str | int
    text: str
    extra: bytes = field(default=b"", compare=False)
    moved: tuple[str, ...] = field(default=(), compare=False)
    messages: list[Message] | None = field(default=None, compare=False)
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)
    n: int = 1
    sample: int = 0

    @property
    def asked(self) -> str | list[Message]:
        """The prompt as `decode` takes it."""
        return self.text if self.messages is None else self.messages


def read(arguments: Sequence[str], file: str | None) -> list[Prompt]:
    """Every prompt, from the one source that the user named. Raises UsageError before any slow work."""
    if arguments and file is not None:
        raise _wrong_together("both arguments and `--prompts` give prompts")
    if STANDARD_INPUT in arguments and len(arguments) > 1:
        raise _wrong_together("`-` (standard input) is given beside other prompts")
    if arguments and STANDARD_INPUT not in arguments:
        return [_prompt(number, text, place=f"prompt {number + 1}") for number, text in enumerate(arguments)]
    if file is not None and file != STANDARD_INPUT:
        return _from_file(file)
    return _from_standard_input(named=bool(arguments) or file is not None)


def _wrong_together(message: str) -> UsageError:
    return UsageError(
        Diagnostic(
            "E0423", message, help='give prompts in one way: `dsldec run "..."`, `--prompts FILE` or `-`'
        )
    )


def _from_standard_input(named: bool) -> list[Prompt]:
    if sys.stdin is None or (sys.stdin.isatty() and not named):
        raise UsageError(
            Diagnostic(
                "E0425", "no prompt was given", help='`dsldec run "How many ...?"` or `--prompts FILE`'
            )
        )
    try:
        return _some(list(_from_text(sys.stdin.buffer, "standard input")), "standard input")
    except Unreadable as failure:
        raise UsageError(
            Diagnostic("E0426", f"standard input is not read: {failure.why}", help=LESS_WANTED)
        ) from None
    except OSError as failure:  # a folder, for example: `dsldec run < .`
        why = (failure.strerror or "no reason is given").lower()
        raise UsageError(
            Diagnostic("E0426", f"standard input cannot be read: {why}", help="`dsldec run < questions.txt`")
        ) from None


def _from_file(name: str) -> list[Prompt]:
    parse = _from_jsonl if name.lower().endswith(".jsonl") else _from_text
    try:
        with opened(name) as stream:
            return _some(list(parse(stream, quoted_path(name))), quoted_path(name))
    except Unreadable as failure:
        raise UsageError(_unreadable(Path(name), failure)) from None


def _unreadable(path: Path, failure: Unreadable) -> Diagnostic:
    message = f"the file of prompts {quoted_path(path)} cannot be read: {failure.why}"
    if not failure.missing:
        help = LESS_WANTED if failure.too_large else FILE_WANTED
        return Diagnostic("E0426", message, help=help)
    if not os.path.isdir(path.parent):
        return Diagnostic("E0426", message, help=f"there is no folder {quoted_path(path.parent)}")
    near = did_you_mean(path.name, os.listdir(path.parent)) if os.access(path.parent, os.R_OK) else None
    help = f"did you mean {quoted_path(path.with_name(near))}?" if near else f"look with `ls {path.parent}`"
    return Diagnostic("E0426", message, help=help)


def _some(prompts: list[Prompt], name: str) -> list[Prompt]:
    if not prompts:
        raise UsageError(Diagnostic("E0425", f"{name} holds no prompt", help="write one prompt a line"))
    return prompts


def _from_text(stream: BinaryIO, name: str) -> Iterator[Prompt]:
    # Blank lines separate prompts. They are no mistake in a text, and count as lines. Write the empty prompt
    # as JSON, or as an argument.
    return (
        _prompt(number, line, place=f"line {number + 1} of {name}") for number, line in _lines(stream, name)
    )


def _lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, each with its number from 0. Only a line feed ends a line: a prompt may
    hold U+2028.
    """
    for number, raw in enumerate(lines(stream)):
        if number == 0:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            line = raw.removesuffix(b"\r").decode("utf-8")
        except UnicodeDecodeError as failure:
            message = f"line {number + 1} of {name} is not UTF-8: byte {failure.start + 1} is 0x{raw[failure.start]:02x}"
            raise UsageError(
                Diagnostic("E0427", message, help="convert it: `iconv -f LATIN1 -t UTF-8 OLD > NEW`")
            ) from None
        if line.strip():
            yield number, line


def _from_jsonl(stream: BinaryIO, name: str) -> list[Prompt]:
    return _identified(
        [_from_json(number, line, f"line {number + 1} of {name}") for number, line in _lines(stream, name)]
    )


def _identified(lines: Sequence[tuple[Prompt, bool]]) -> list[Prompt]:
    """The prompts, each with an id. A prompt without one (False) gets its line number, unless another prompt
    has that id.
    """
    # A reader of the results may treat "1" and 1 as equal.
    taken = {str(prompt.id) for prompt, given in lines if given}
    prompts = []
    for prompt, given in lines:
        own: str | int = prompt.id
        if not given and str(own) in taken:
            own = f"line {prompt.number + 1}"
            while own in taken:
                own += "'"
        prompts.append(prompt if own == prompt.id else replace(prompt, id=own))
    return prompts


def _from_json(number: int, line: str, place: str) -> tuple[Prompt, bool]:
    """The prompt of a line, and whether it has its own id."""
    try:
        value = json_of(line, strict=True)
    except NotJSON as failure:
        where = "" if failure.column is None else f" at column {failure.column}"
        raise UsageError(
            Diagnostic("E0428", f"{place} {failure.why}{where}: {quoted(line)}", help=LINE_WANTED)
        ) from None
    if isinstance(value, str):
        return _prompt(number, value, place), False
    if isinstance(value, dict) and "messages" in value:
        text, messages = _chat(value, place)
    elif isinstance(value, dict) and isinstance(value.get("prompt"), str):
        text, messages = value["prompt"], None
    else:
        what = (
            "an object without a `prompt` that is a string, or `messages`"
            if isinstance(value, dict)
            else "neither a string nor an object"
        )
        raise UsageError(Diagnostic("E0428", f"{place} is {what}: {quoted(line)}", help=LINE_WANTED))
    fields = value.get("id", number)
    # `true` is an int in Python, and would be the same key as 1.
    if not isinstance(fields, str | int) or isinstance(fields, bool):
        message = f"the `id` on {place} is neither a string nor a whole number: {quoted(json.dumps(fields))}"
        raise UsageError(Diagnostic("E0428", message, help=LINE_WANTED))
    given = options_of_line(value, place)
    # `logprobs` is not copied: the result has its own field of this name.
    ours = ("id", "prompt", "messages", "logprobs")
    others = {name: one for name, one in value.items() if name not in ours}
    moved = tuple(name for name in others if name in RESULT_FIELDS)
    prompt = replace(_prompt(number, text, place, fields), messages=messages, given=given)
    return (
        replace(prompt, extra=_encoded(others, moved, place), moved=moved) if others else prompt
    ), "id" in value


def _chat(fields: Mapping[str, Any], place: str) -> tuple[str, list[Message]]:
    """The last turn and the messages of a line. Raises `UsageError` (E0427, E0428)."""
    if "prompt" in fields:
        message = f"{place} has `prompt` and `messages`, which both are the prompt"
        raise UsageError(Diagnostic("E0428", message, help="delete one of them, or give it another name"))
    try:
        messages = turns_of(fields["messages"])
    except WrongMessagesError as wrong:
        raise UsageError(Diagnostic("E0428", f"{place}: {wrong}", help=CHAT_WANTED)) from None
    for one in messages:
        _prompt(0, one["content"], place, one["role"])  # requires Unicode
    if _is_deep(messages):
        message = f"`messages` on {place} is nested more than {DEEPEST_FIELD} deep"
        raise UsageError(Diagnostic("E0428", message, help=CHAT_WANTED))
    return messages[-1]["content"], messages


def _encoded(others: Mapping[str, Any], moved: Sequence[str], place: str) -> bytes:
    """The other fields of a line as JSON without the braces. Encoded now, so that a run of hours does not
    fail at one that cannot be written.
    """
    if (name := next((name for name, value in others.items() if _is_deep(value)), None)) is not None:
        message = f"the field {quoted(name)} on {place} is nested more than {DEEPEST_FIELD} deep"
        raise UsageError(
            Diagnostic("E0428", message, help="it goes into the result as it is: leave it out, or flatten it")
        )
    fields = {name: value for name, value in others.items() if name not in moved}
    fields |= {INPUT: {name: others[name] for name in moved}} if moved else {}
    try:
        return json.dumps(fields, ensure_ascii=False).encode()[1:-1]
    except UnicodeEncodeError:  # a lone surrogate: it can be written in its escaped form
        return json.dumps(fields).encode()[1:-1]


def _is_deep(value: Any) -> bool:
    inside = [value]
    for _ in range(DEEPEST_FIELD):
        inside = [
            part
            for one in inside
            if isinstance(one, list | dict)
            for part in (one.values() if isinstance(one, dict) else one)
        ]
        if not inside:
            return False
    return True


def _prompt(number: int, text: str, place: str, fields: str | int | None = None) -> Prompt:
    for part in (text, fields):
        if isinstance(part, str) and not _is_unicode(part):
            # A lone surrogate: no tokenizer accepts it and no file can hold it.
            message = f"{place} is not valid Unicode: {quoted(part)}"
            raise UsageError(
                Diagnostic("E0427", message, help="write it as UTF-8, or a `\\ud83d\\ude00` pair whole")
            )
    return Prompt(number, number if fields is None else fields, text)


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) < 0xE000 for character in text)
