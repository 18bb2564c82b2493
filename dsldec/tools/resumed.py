"""Reads the results of an earlier run from its file: the answers that stay, and the lines to remove.

A line is removed if it was cut short when the earlier run stopped, or if its prompt failed. Not here: writing
(`results_file`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..files import json_of
from . import quoted, quoted_path
from .differences import differences
from .line_options import COMPARED
from .prompts import Prompt

# The start of every line. A last line without its end is removed only if it starts so.
LINE_START = b'{"id": '


@dataclass(frozen=True, slots=True)
class Resumed:
    """`remaining`: the file without the removed lines. `answered`: the answers, each an id and the number of a
    sample. `retried`: failed prompts of this run. `torn`: lines that were cut short.
    """

    remaining: bytes
    answered: frozenset[tuple[str | int, int]]
    retried: int
    torn: int


def resumed(data: bytes, name: str, prompts: Sequence[Prompt], made_by: Mapping[str, Any]) -> Resumed:
    """The content of the results file `name`, for a run of `prompts` with the settings `made_by`.

    Raises `UsageError` (E0434, E0435, E0437) for another file, and for answers that this run must not
    continue.
    """
    wanted = {prompt.id: prompt for prompt in prompts}
    remaining, answered, retried = [], set(), 0
    lines, torn = _whole_lines(data, name)
    for number, line in enumerate(lines):
        if line is None:
            continue
        entry = _entry(line, number, name)
        if "error" in entry and entry["id"] in wanted:
            retried += 1
            continue
        remaining.append(line + b"\n")
        if "error" not in entry:
            _require_same_run(entry, number, name, made_by)
            _require_same_prompt(entry, wanted.get(entry["id"]), name)
            answered.add((entry["id"], _sample(entry)))
    return Resumed(b"".join(remaining), frozenset(answered), retried, torn)


def _whole_lines(data: bytes, name: str) -> tuple[list[bytes | None], int]:
    """The lines of the file, `None` for a line that was cut short while it was written; and the number of
    these.
    """
    *lines, last = data.split(b"\n")
    torn = 0
    whole: list[bytes | None] = [line if _parsed(line) is not None else None for line in lines]
    # A file without any result belongs to another program, whatever its start.
    ours = any(line is not None for line in (*whole, _parsed(last), *map(_rest, lines)))
    for number, line in enumerate(lines):
        if whole[number] is None:
            whole[number] = _rest(line) if ours and (_is_torn(line) or line.startswith(b"\0")) else line
            torn += whole[number] != line
    zeros, last = last, last.rstrip(b"\0")
    if _parsed(last) is None:
        if not (_is_torn(last) or (ours and zeros.startswith(b"\0"))):
            raise UsageError(_foreign(len(lines), last, name))
        torn += bool(zeros)
        last = _rest(last) or b""
    return [*whole, last or None], torn


def _require_same_run(entry: Mapping[str, Any], number: int, name: str, made_by: Mapping[str, Any]) -> None:
    """Raise `UsageError` (E0437) for an answer of another policy, model, seed or option."""
    run, before = made_by.get("run"), entry.get("run")
    # An old file has no `run`, or a digest alone.
    if run is None or entry.get("run", run) in (run, run["digest"]):
        return
    same_policy = entry.get("policy") == made_by.get("policy")
    how = "another model, seed or option" if same_policy else "another policy"
    changes = differences(before, run) if isinstance(before, dict) else []
    what = f" ({'; '.join(changes)})" if changes else ""
    by = quoted(str(entry.get("policy")))
    message = f"line {number + 1} of {quoted_path(name)} was written with {how}, by {by}{what}: answers would be mixed"
    help = "give `--out` another name, or use the same policy and options as before"
    raise UsageError(Diagnostic("E0437", message, help=help))


def _require_same_prompt(entry: Mapping[str, Any], prompt: Prompt | None, name: str) -> None:
    """Raise `UsageError` (E0435) for an answer to another prompt with the same id."""
    if prompt is None:
        return
    before = entry.get("prompt" if prompt.messages is None else "messages")
    if before == prompt.asked:
        _require_same_options(entry, prompt, name)
        return
    other = quoted(str(entry.get("prompt", entry.get("messages"))))
    message = f"{quoted_path(name)} answers another prompt under the id {quoted(str(prompt.id))}: {other}"
    help = "give `--out` another name, or the prompts this file was made from"
    raise UsageError(Diagnostic("E0435", message, help=help))


def _require_same_options(entry: Mapping[str, Any], prompt: Prompt, name: str) -> None:
    """Raise `UsageError` (E0435) for an answer with other options of its line."""
    for option in COMPARED:
        before, now = entry.get(option), prompt.given.get(option)
        if before != now:
            was, is_ = ("no value" if one is None else quoted(str(one)) for one in (before, now))
            message = f"{quoted_path(name)} answers the prompt {quoted(str(prompt.id))} with another `{option}`: {was}, and now {is_}"
            help = "give `--out` another name, or the prompts this file was made from"
            raise UsageError(Diagnostic("E0435", message, help=help))


def _sample(entry: Mapping[str, Any]) -> int:
    """The number of the sample that a result is. A result without one is the first."""
    sample = entry.get("sample", 0)
    return sample if isinstance(sample, int) else 0


def _json(line: bytes) -> Any:
    """A line as JSON, `None` if it is none."""
    try:
        return json_of(line.decode("utf-8"))
    except ValueError:
        return None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line as a result, `None` if it is none."""
    entry = _json(line)
    if (
        isinstance(entry, dict)
        and isinstance(entry.get("id"), str | int)
        and ("text" in entry or "error" in entry)
    ):
        return entry
    return None


def _is_torn(line: bytes) -> bool:
    """Whether a line is a damaged result: cut short, joined with the next one, or zeros after a power cut."""
    if _json(line) is not None:
        return False  # complete JSON was not cut
    begins = line.strip(b"\0")
    return begins.startswith(LINE_START) or LINE_START.startswith(begins)


def _rest(line: bytes) -> bytes | None:
    """The whole result at the end of a damaged line, or `None`. A result may follow the rest of another one.

    JSON in the place of a value of the damaged result does not count: a field of the input can look like a
    result.
    """
    at = line.find(LINE_START)
    while at >= 0:
        if not line[:at].rstrip(b" \0").endswith((b":", b",", b"[")) and _parsed(line[at:]) is not None:
            return line[at:]
        at = line.find(LINE_START, at + 1)
    return None


def _entry(line: bytes, number: int, name: str) -> dict[str, Any]:
    entry = _parsed(line)
    if entry is None:
        raise UsageError(_foreign(number, line, name))
    return entry


def _foreign(number: int, line: bytes, name: str) -> Diagnostic:
    message = (
        f"line {number + 1} of {quoted_path(name)} is not a result: {quoted(line.decode('utf-8', 'replace'))}"
    )
    return Diagnostic(
        "E0434", message, help="`--resume` continues a file that `--out` wrote; give `--out` another name"
    )
