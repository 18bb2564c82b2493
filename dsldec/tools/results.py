"""What came out of the prompts, and the file that keeps it: one JSON object a prompt, written as each finishes.

Not here: decoding (`run`) or what a reader on a terminal sees (`live`).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic, Self, TypeVar

from ..diagnostics import Diagnostic, UsageError
from . import quoted, quoted_path
from .prompts import Prompt

T = TypeVar("T")
ERRORS_SHOWN = 5
DEPTHS_SHOWN = 8

STANDARD_OUTPUT = "-"
# Every line starts so: what a last line without its end must agree with before it may be cut.
LINE_START = b'{"id": '


@dataclass(frozen=True, slots=True)
class Result:
    """One prompt's answer, or why there is none. `ids` are the generated ones; `seconds` from its first forward to its end.

    `proposed`, `accepted`: drafts one step ahead of the next one, two steps, ...; empty where nothing is drafted.
    """

    prompt: Prompt
    text: str = ""
    ids: tuple[int, ...] = ()
    forwards: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    proposed: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()
    error: Diagnostic | None = None

    @property
    def tokens_per_forward(self) -> float:
        return self.tokens / self.forwards if self.forwards else 0.0

    def line(self) -> dict[str, Any]:
        """The object written to a results file."""
        if self.error is not None:
            why = f"{self.error.code}: {self.error.message}"
            return {"id": self.prompt.id, "error": f"{why} ({self.error.help})" if self.error.help else why}
        return {
            "id": self.prompt.id,
            "prompt": self.prompt.text,
            "text": self.text,
            "ids": list(self.ids),
            "forwards": self.forwards,
            "rows": self.rows,
            "tokens": self.tokens,
            "tokens_per_forward": round(self.tokens_per_forward, 4),
            "seconds": round(self.seconds, 4),
            **({"proposed": list(self.proposed), "accepted": list(self.accepted)} if self.proposed else {}),
        }


class InOrder(Generic[T]):
    """Takes things in any order, each with its place from 0, and gives them back in the order of their places."""

    def __init__(self) -> None:
        self._waiting: dict[int, T] = {}
        self._next = 0

    def put(self, place: int, thing: T) -> None:
        self._waiting[place] = thing

    def ready(self) -> Iterator[T]:
        """Those before which nothing is missing."""
        while self._next in self._waiting:
            self._next += 1
            yield self._waiting.pop(self._next - 1)

    def rest(self) -> list[T]:
        """All that are left, whatever is missing between them."""
        rest = [self._waiting[place] for place in sorted(self._waiting)]
        self._waiting.clear()
        return rest


class ResultsFile:
    """A results file: checked when made, opened by `with`, one line longer after each `append`.

    `finished` holds the ids that a resumed file has answers for; `retried` counts its failed prompts, whose lines go. `made_by` stands in
    every line: the `policy`, and under `run` a digest of all that decides an answer beside the prompt.
    """

    def __init__(self, name: str, prompts: Sequence[Prompt], *, resume: bool = False, made_by: Mapping[str, str] | None = None) -> None:
        self._made_by = dict(made_by or {})
        self.finished: set[str | int] = set()
        self.retried = 0
        self._name = name
        self._path = Path(os.path.realpath(name))
        self._kept: bytes | None = None
        self._stream: BinaryIO | None = None
        self._written = 0
        if name == STANDARD_OUTPUT:
            if resume:
                help = "name a file: `--out results.jsonl`"
                raise UsageError(Diagnostic("E0423", "`--resume` cannot continue standard output", help=help))
            return
        self._is_new = not self._path.exists()
        self._check_place()
        _check_unique(prompts)
        if resume:
            self._take_over(prompts)
        elif self._path.is_file() and self._path.stat().st_size > 0:
            help = "`--resume` continues it; or give `--out` another name"
            raise UsageError(Diagnostic("E0433", f"the results file {quoted_path(name)} exists already", help=help))

    def __enter__(self) -> Self:
        if self._name == STANDARD_OUTPUT:
            self._stream = sys.stdout.buffer
            return self
        try:
            if self._kept is not None:
                _replace(self._path, self._kept)
            self._stream = self._path.open("ab")
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stream is None or self._name == STANDARD_OUTPUT:
            return
        try:
            self._stream.close()
        except OSError:
            if error is None:  # else what failed before is the news: closing tries the same write again
                raise
        # An empty file left behind by a run that never began would make the same command be refused next time.
        if self._is_new and not self._written and self._path.is_file() and self._path.stat().st_size == 0:
            self._path.unlink()

    def append(self, result: Result) -> None:
        """Write one line and hand it to the operating system: it outlives this process from here on."""
        assert self._stream is not None, "append outside `with`"
        try:
            self._stream.write(json.dumps(result.line() | self._made_by, ensure_ascii=False).encode() + b"\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        self._written += 1

    def _check_place(self) -> None:
        folder = self._path.parent
        if not folder.is_dir():
            message = f"the folder of the results file {quoted_path(self._name)} does not exist"
            raise UsageError(Diagnostic("E0432", message, help=f"make it: `mkdir -p {folder}`"))
        if self._path.is_dir():
            message = f"the results file {quoted_path(self._name)} is a folder"
            raise UsageError(Diagnostic("E0432", message, help=f"`--out {self._name.rstrip('/')}/results.jsonl`"))
        if not os.access(folder if self._is_new else self._path, os.W_OK):
            raise UsageError(self._unwritable(PermissionError(13, "permission denied")))

    def _unwritable(self, failure: OSError) -> Diagnostic:
        why = (failure.strerror or str(failure)).lower()
        message = f"the results file {quoted_path(self._name)} cannot be written: {why}"
        return Diagnostic("E0432", message, help="give `--out` a file in a folder of yours with room left")

    def _take_over(self, prompts: Sequence[Prompt]) -> None:
        """Read what an earlier run left: answers stay, failed prompts of this input and a half-written line go."""
        if self._is_new:
            return
        if not self._path.is_file():
            raise UsageError(self._unwritable(OSError(0, "only a plain file can be resumed")))
        try:
            data = self._path.read_bytes()
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        wanted = {prompt.id: prompt for prompt in prompts}
        kept = []
        for number, line in enumerate(_whole_lines(data, self._name)):
            entry = _entry(line, number, self._name)
            if "error" in entry and entry["id"] in wanted:
                self.retried += 1
                continue
            kept.append(line + b"\n")
            if "error" not in entry:
                self._check_same(entry, wanted.get(entry["id"]), number)
                self.finished.add(entry["id"])
        if (clean := b"".join(kept)) != data:
            self._kept = clean

    def _check_same(self, entry: dict[str, Any], prompt: Prompt | None, number: int) -> None:
        run = self._made_by.get("run")
        if run is not None and entry.get("run", run) != run:  # a file of before that was noted has no `run`
            by = quoted(str(entry.get("policy")))
            how = "another policy" if entry.get("policy") != self._made_by.get("policy") else "another model, seed or option"
            message = f"line {number + 1} of {quoted_path(self._name)} was written with {how}, by {by}: answers would be mixed"
            raise UsageError(Diagnostic("E0437", message, help="give `--out` another name, or what this file was begun with"))
        if prompt is not None and entry.get("prompt") != prompt.text:
            other = quoted(str(entry.get("prompt")))
            message = f"{quoted_path(self._name)} answers another prompt under the id {quoted(str(prompt.id))}: {other}"
            raise UsageError(Diagnostic("E0435", message, help="give `--out` another name, or the prompts this file was made from"))


def _check_unique(prompts: Sequence[Prompt]) -> None:
    first: dict[str | int, Prompt] = {}
    for prompt in prompts:
        if (earlier := first.setdefault(prompt.id, prompt)) is not prompt:
            message = f"the id {quoted(str(prompt.id))} is on line {earlier.number + 1} and on line {prompt.number + 1}"
            raise UsageError(Diagnostic("E0431", message, help="give each prompt an `id` of its own: `--resume` knows them by it"))


def _whole_lines(data: bytes, name: str) -> list[bytes]:
    """The lines of a results file, without a last one that was cut short while it was written."""
    *lines, last = data.split(b"\n")
    if not last:
        return lines
    if not (last.startswith(LINE_START) or LINE_START.startswith(last)):
        raise UsageError(_foreign(len(lines), last, name))
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        return lines
    return [*lines, last]


def _entry(line: bytes, number: int, name: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if isinstance(entry, dict) and isinstance(entry.get("id"), str | int) and ("text" in entry or "error" in entry):
        return entry
    raise UsageError(_foreign(number, line, name))


def _foreign(number: int, line: bytes, name: str) -> Diagnostic:
    message = f"line {number + 1} of {quoted_path(name)} is not a result: {quoted(line.decode('utf-8', 'replace'))}"
    return Diagnostic("E0434", message, help="`--resume` continues a file that `--out` wrote; give `--out` another name")


def _replace(path: Path, data: bytes) -> None:
    """Write the whole file anew beside the old one, then swap: a crash between leaves one or the other, never less."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as new:
        try:
            new.write(data)
            new.flush()
            shutil.copymode(path, new.name)
            os.replace(new.name, path)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise


class Tally:
    """What a run adds up to, and the sentences about it."""

    def __init__(self, prompts: int, earlier: int = 0) -> None:
        self._prompts, self._earlier = prompts, earlier
        self._decoded = self._forwards = self._rows = self._tokens = 0
        self._drafts: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self._failures: list[Result] = []
        self._started = self._stopped = 0.0

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    def start(self) -> None:
        self._started = time.monotonic()

    def stop(self) -> None:
        self._stopped = time.monotonic()

    def add(self, result: Result) -> None:
        if result.error is not None:
            self._failures.append(result)
            return
        self._decoded += 1
        self._forwards += result.forwards
        self._rows += result.rows
        self._drafts += [(result.proposed, result.accepted)] if result.proposed else []
        self._tokens += result.tokens

    def errors(self) -> Iterator[str]:
        """Each different failure once, with the prompts it befell: a model that runs out of memory fails them all alike."""
        alike: dict[str, list[str]] = {}
        for failure in self._failures:
            alike.setdefault(str(failure.error), []).append(quoted(str(failure.prompt.id)))
        for error, (first, *others) in list(alike.items())[:ERRORS_SHOWN]:
            yield f"prompt {first}{f' and {len(others)} more' * bool(others)}: {error}"
        if (hidden := len(alike) - ERRORS_SHOWN) > 0:
            yield f"and {_count(hidden, 'other failure')}"

    def summary(self) -> str:
        decoded = f"{self._decoded} of {self._prompts} prompts" if self.failed else _count(self._prompts, "prompt")
        if not self._decoded:
            return f"{decoded} decoded"
        seconds = max(1e-9, self._stopped - self._started)
        return (
            f"{decoded}, {self._forwards / self._decoded:.1f} forwards per prompt, "
            f"{self._tokens / max(1, self._forwards):.2f} tokens per forward, {self._tokens / seconds:.0f} tokens/s{self._of_drafts()}"
        )

    def _of_drafts(self) -> str:
        """How many rows drafts cost, and what share of them was accepted one step ahead, two steps, ..."""
        if not self._drafts:
            return ""
        proposed, accepted = ([sum(column) for column in zip(*rows, strict=True)] for rows in zip(*self._drafts, strict=True))
        shares = [f"{100 * some / all_:.0f} %" for some, all_ in zip(accepted, proposed, strict=True) if all_]
        by_depth = f", drafts accepted by depth: {' '.join(shares[:DEPTHS_SHOWN])}" if shares else ""
        return f", {self._rows / self._decoded:.1f} rows per prompt{by_depth}"

    def interrupted(self, out: str | None) -> str:
        done, total = self._decoded + self._earlier, self._prompts + self._earlier
        said = f"interrupted: {done} of {total} prompts are decoded"
        if out is None or out == STANDARD_OUTPUT:
            return f"{said}\n  = help: with `--out results.jsonl` a run can be continued by `--resume`"
        return f"{said} and kept in {quoted_path(out)}\n  = help: the same command with `--resume` decodes the other {total - done}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
