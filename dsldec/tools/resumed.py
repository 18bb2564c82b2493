"""Reads the results and the traces of an earlier run from their files: the lines that stay, and the lines to
remove.

A line is removed if it was cut short when the earlier run stopped, or if its prompt failed. The trace of a
prompt without an answer is removed too: the prompt is decoded again. Not here: writing (`results_file`,
`trace_file`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from ..files import json_of
from . import quoted, quoted_path
from .differences import differences
from .line_options import COMPARED
from .prompts import Prompt


@dataclass(frozen=True, slots=True)
class LineKind:
    """The lines of a file. `start`: of every line; a last line without its end is removed only if it starts
    so. `name`: of one line; `flag`: that names the file; `fields`: of which each line has one.
    """

    start: bytes
    name: str
    flag: str
    fields: tuple[str, ...]


RESULT = LineKind(b'{"id": ', "result", "--out", ("text", "error"))
TRACE = LineKind(b'{"id":', "trace", "--trace", ("step_map",))


@dataclass(frozen=True, slots=True)
class Resumed:
    """`remaining`: the file without the removed lines. `answered`: the answers, each an id and the number of
    a sample. `retried`: failed prompts of this run. `torn`: lines that were cut short.
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
    lines, torn = _whole_lines(data, name, RESULT)
    for number, line in enumerate(lines):
        if line is None:
            continue
        entry = _entry(line, number, name, RESULT)
        if "error" in entry and entry["id"] in wanted:
            retried += 1
            continue
        remaining.append(line + b"\n")
        if "error" not in entry:
            _require_same_run(entry, number, name, made_by)
            _require_same_prompt(entry, wanted.get(entry["id"]), name)
            answered.add((entry["id"], _sample(entry)))
    return Resumed(b"".join(remaining), frozenset(answered), retried, torn)


@dataclass(frozen=True, slots=True)
class ResumedTraces:
    """`remaining`: the file without the removed lines. `there`: the traces that stay, each an id and the
    number of a sample. `torn`: lines that were cut short; `removed`: traces of prompts without an answer;
    `recorded`: traces that stay and have values.
    """

    remaining: bytes
    there: frozenset[tuple[str | int, int]]
    torn: int
    removed: int
    recorded: int = 0


def resumed_traces(
    data: bytes, name: str, prompts: Sequence[Prompt], answered: Collection[tuple[str | int, int]], run: str
) -> ResumedTraces:
    """The content of the trace file `name`, for a run of `prompts` with the digest `run`. `answered`: the
    answers that the results file has. Raises `UsageError` (E0434, E0437) for another file.
    """
    wanted = {prompt.id for prompt in prompts}
    remaining, there, removed, recorded = [], set(), 0, 0
    lines, torn = _whole_lines(data, name, TRACE)
    for number, line in enumerate(lines):
        if line is None:
            continue
        entry = _entry(line, number, name, TRACE)
        if entry.get("run") != run:
            message = f"line {number + 1} of {quoted_path(name)} was written with another policy, model, seed or option: traces would be mixed"
            help = "give `--trace` another name, or use the same policy and options as before"
            raise UsageError(Diagnostic("E0437", message, help=help))
        which = (entry["id"], _sample(entry))
        if which not in there and (which in answered or entry["id"] not in wanted):
            remaining.append(line + b"\n")
            there.add(which)
            recorded += "values" in entry
        else:
            removed += 1
    return ResumedTraces(b"".join(remaining), frozenset(there), torn, removed, recorded)


def _whole_lines(data: bytes, name: str, kind: LineKind) -> tuple[list[bytes | None], int]:
    """The lines of the file, `None` for a line that was cut short while it was written; and the number of
    these.
    """
    *lines, last = data.split(b"\n")
    torn = 0
    whole: list[bytes | None] = [line if _parsed(line, kind) is not None else None for line in lines]
    # A file without any result belongs to another program, whatever its start.
    ours = any(
        line is not None for line in (*whole, _parsed(last, kind), *(_rest(line, kind) for line in lines))
    )
    for number, line in enumerate(lines):
        if whole[number] is None:
            whole[number] = (
                _rest(line, kind) if ours and (_is_torn(line, kind) or line.startswith(b"\0")) else line
            )
            torn += whole[number] != line
    zeros, last = last, last.rstrip(b"\0")
    if _parsed(last, kind) is None:
        if not (_is_torn(last, kind) or (ours and zeros.startswith(b"\0"))):
            raise UsageError(_foreign(len(lines), last, name, kind))
        torn += bool(zeros)
        last = _rest(last, kind) or b""
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


def _parsed(line: bytes, kind: LineKind) -> dict[str, Any] | None:
    """A line as an object of this kind, `None` if it is none."""
    entry = _json(line)
    if (
        isinstance(entry, dict)
        and isinstance(entry.get("id"), str | int)
        and any(field in entry for field in kind.fields)
    ):
        return entry
    return None


def _is_torn(line: bytes, kind: LineKind) -> bool:
    """Whether a line is damaged: cut short, joined with the next one, or zeros after a power cut."""
    if _json(line) is not None:
        return False  # complete JSON was not cut
    begins = line.strip(b"\0")
    return begins.startswith(kind.start) or kind.start.startswith(begins)


def _rest(line: bytes, kind: LineKind) -> bytes | None:
    """The whole object at the end of a damaged line, or `None`. One may follow the rest of another one.

    JSON in the place of a value of the damaged one does not count: a field of the input can look like a
    result.
    """
    at = line.find(kind.start)
    while at >= 0:
        if not line[:at].rstrip(b" \0").endswith((b":", b",", b"[")) and _parsed(line[at:], kind) is not None:
            return line[at:]
        at = line.find(kind.start, at + 1)
    return None


def _entry(line: bytes, number: int, name: str, kind: LineKind) -> dict[str, Any]:
    entry = _parsed(line, kind)
    if entry is None:
        raise UsageError(_foreign(number, line, name, kind))
    return entry


def _foreign(number: int, line: bytes, name: str, kind: LineKind) -> Diagnostic:
    shown = quoted(line.decode("utf-8", "replace"))
    message = f"line {number + 1} of {quoted_path(name)} is not a {kind.name}: {shown}"
    help = f"`--resume` continues a file that `{kind.flag}` wrote; give `{kind.flag}` another name"
    return Diagnostic("E0434", message, help=help)
