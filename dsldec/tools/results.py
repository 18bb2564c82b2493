"""What came out of the prompts, and the file that keeps it: one JSON object a prompt, written as each
finishes.

Not here: decoding (`run`) or what a reader on a terminal sees (`live`).
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Generic, Self, TypeVar

from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_RESULTS, json_of
from . import quoted, quoted_path
from .differences import differences
from .owned import OwnedFile
from .prompts import Prompt

T = TypeVar("T")
ERRORS_SHOWN = 5
DEPTHS_SHOWN = 8

STANDARD_OUTPUT = "-"
# Every line starts so: what a last line without its end must agree with before it may be cut.
LINE_START = b'{"id": '


@dataclass(frozen=True, slots=True)
class Result:
    """One prompt's answer, or why there is none. `ids` are the generated ones; `seconds` from its first
    forward to its end.

    `proposed`, `accepted`: drafts one step ahead of the next one, two steps, ...; empty where nothing is
    drafted.
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
            line = {"id": self.prompt.id, "error": f"{why} ({self.error.help})" if self.error.help else why}
            return line | ({"ids": list(self.ids)} if self.ids else {})  # of which no text could be made
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
    """Takes things in any order, each with its place from 0, and gives them back in the order of their
    places.
    """

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
    """A results file: owned from when this is made until it is closed, one line longer after each `append`
    inside `with`.

    `finished` holds the ids that a resumed file has answers for; `retried` counts its failed prompts and
    `torn` its damaged lines, which go. `made_by` stands in every line: the `policy`, and under `run` all that
    decides an answer beside the prompt, with a `digest` of it. `unlocked` warns where nothing keeps another
    run away.
    """

    def __init__(
        self,
        name: str,
        prompts: Sequence[Prompt],
        *,
        resume: bool = False,
        made_by: Mapping[str, Any] | None = None,
    ) -> None:
        self._made_by = dict(made_by or {})
        self.finished: set[str | int] = set()
        self.retried = self.torn = 0
        self.unlocked: Diagnostic | None = None
        self.name = name
        self._kept: bytes | None = None
        self._stream: BinaryIO | io.FileIO | None = None  # of what is no plain file
        self._file: OwnedFile | None = None
        if name == STANDARD_OUTPUT:
            if resume:
                help = "name a file: `--out results.jsonl`"
                raise UsageError(Diagnostic("E0423", "`--resume` cannot continue standard output", help=help))
            return
        _check_unique(prompts)
        try:
            if not self._is_plain(resume):
                self._stream = _special(name)
                return
            self._file = OwnedFile(name)
        except (OSError, ValueError) as failure:
            raise UsageError(self._unwritable(failure)) from None
        try:
            self._begin(prompts, resume)
        except BaseException:
            self.close()
            raise

    def _begin(self, prompts: Sequence[Prompt], resume: bool) -> None:
        assert self._file is not None
        if not resume and self._file.size:
            help = "`--resume` continues it; or give `--out` another name"
            raise UsageError(
                Diagnostic("E0433", f"the results file {quoted_path(self.name)} exists already", help=help)
            )
        if self._file.size > LARGEST_RESULTS:
            message = f"the results file {quoted_path(self.name)} cannot be read: it is larger than {LARGEST_RESULTS >> 20} MiB"
            raise UsageError(Diagnostic("E0434", message, help="give `--out` another name"))
        try:
            self._take_over(self._file.read(), prompts)
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        if not self._file.locked:
            message = f"the file system of {quoted_path(self.name)} knows no locks: a second run is not kept from writing it"
            self.unlocked = Diagnostic(
                "W0403", message, help="start no second run with this `--out`; before the end it is checked"
            )

    def __enter__(self) -> Self:
        try:
            if self.name == STANDARD_OUTPUT:
                self._stream = sys.stdout.buffer
            elif self._file is not None and self._kept is not None:
                self._file.replace(self._kept)
        except OSError as failure:
            self.close()
            raise UsageError(self._unwritable(failure)) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Who interrupts is told what is kept: that is to be true too. Of other failures, what failed is
            # the news.
            if self._file is not None and (error is None or isinstance(error, KeyboardInterrupt)):
                self._file.require_whole()
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        finally:
            self.close()

    def close(self) -> None:
        """Leave the file to others; again does nothing."""
        if self._file is not None:
            self._file.close()
        elif self._stream is not None and self.name != STANDARD_OUTPUT:
            self._stream.close()

    def append(self, result: Result) -> None:
        """Write one line and hand it to the operating system: it outlives this process from here on."""
        line = _line(result, self._made_by)
        try:
            if self._file is not None:
                self._file.append(line)
                return
            assert self._stream is not None, "append outside `with`"
            while line:  # a pipe may take a part of it
                line = line[self._stream.write(line) :]
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None

    def _is_plain(self, resume: bool) -> bool:
        """Whether the name is, or will be, a plain file; False for a pipe and the like. Raises `UsageError`
        (E0432).
        """
        folder = os.path.dirname(os.path.realpath(self.name))
        if os.path.isdir(self.name):
            message = f"the results file {quoted_path(self.name)} is a folder"
            raise UsageError(
                Diagnostic("E0432", message, help=f"`--out {self.name.rstrip('/')}/results.jsonl`")
            )
        if not os.path.exists(self.name):
            if not os.path.isdir(folder):
                message = f"the folder of the results file {quoted_path(self.name)} does not exist"
                raise UsageError(Diagnostic("E0432", message, help=f"make it: `mkdir -p {folder}`"))
            return True
        kind = os.stat(self.name).st_mode
        if stat.S_ISBLK(kind):
            raise UsageError(self._unwritable(OSError(0, "it is a disk, not a file")))
        if resume and not stat.S_ISREG(kind):
            raise UsageError(self._unwritable(OSError(0, "only a plain file can be resumed")))
        return stat.S_ISREG(kind)

    def _unwritable(self, failure: OSError | ValueError) -> Diagnostic:
        why = (isinstance(failure, OSError) and failure.strerror) or str(failure)
        what = (
            "standard output"
            if self.name == STANDARD_OUTPUT
            else f"the results file {quoted_path(self.name)}"
        )
        message = f"{what} cannot be written: {why.lower()}"
        return Diagnostic("E0432", message, help="give `--out` a file in a folder of yours with room left")

    def _take_over(self, data: bytes, prompts: Sequence[Prompt]) -> None:
        """Read what an earlier run left: answers stay, failed prompts of this input and lines that were cut
        short go.
        """
        wanted = {prompt.id: prompt for prompt in prompts}
        kept = []
        for number, line in enumerate(self._whole_lines(data)):
            if line is None:
                continue
            entry = _entry(line, number, self.name)
            if "error" in entry and entry["id"] in wanted:
                self.retried += 1
                continue
            kept.append(line + b"\n")
            if "error" not in entry:
                self._check_same(entry, wanted.get(entry["id"]), number)
                self.finished.add(entry["id"])
        if (clean := b"".join(kept)) != data:
            self._kept = clean

    def _whole_lines(self, data: bytes) -> list[bytes | None]:
        """The lines of the file, `None` for one that was cut short while it was written."""
        *lines, last = data.split(b"\n")
        whole: list[bytes | None] = [line if _parsed(line) is not None else None for line in lines]
        # Where no line is a result it is somebody else's file, however it begins.
        ours = any(line is not None for line in (*whole, _parsed(last), *map(_rest, lines)))
        for number, line in enumerate(lines):
            if whole[number] is None:
                whole[number] = _rest(line) if ours and (_is_torn(line) or line.startswith(b"\0")) else line
                self.torn += whole[number] != line
        zeros, last = last, last.rstrip(b"\0")
        if _parsed(last) is None:
            if not (_is_torn(last) or (ours and zeros.startswith(b"\0"))):
                raise UsageError(_foreign(len(lines), last, self.name))
            self.torn += bool(zeros)
            last = _rest(last) or b""
        return [*whole, last or None]

    def _check_same(self, entry: dict[str, Any], prompt: Prompt | None, number: int) -> None:
        run = self._made_by.get("run")
        # A file of before that was noted has no `run`, one of before it said what differs a digest alone.
        if run is not None and entry.get("run", run) not in (run, run["digest"]):
            by = quoted(str(entry.get("policy")))
            how = (
                "another policy"
                if entry.get("policy") != self._made_by.get("policy")
                else "another model, seed or option"
            )
            what = self._differences(entry)
            message = f"line {number + 1} of {quoted_path(self.name)} was written with {how}, by {by}{what}: answers would be mixed"
            raise UsageError(
                Diagnostic(
                    "E0437",
                    message,
                    help="give `--out` another name, or use the same policy and options as before",
                )
            )
        if prompt is not None and entry.get("prompt") != prompt.text:
            other = quoted(str(entry.get("prompt")))
            message = f"{quoted_path(self.name)} answers another prompt under the id {quoted(str(prompt.id))}: {other}"
            raise UsageError(
                Diagnostic(
                    "E0435", message, help="give `--out` another name, or the prompts this file was made from"
                )
            )

    def _differences(self, entry: dict[str, Any]) -> str:
        """The differences from the settings in a line; empty for an old line that holds a digest only."""
        before = entry.get("run")
        told = differences(before, self._made_by["run"]) if isinstance(before, dict) else []
        return f" ({'; '.join(told)})" if told else ""


def _check_unique(prompts: Sequence[Prompt]) -> None:
    first: dict[str | int, Prompt] = {}
    for prompt in prompts:
        if (earlier := first.setdefault(prompt.id, prompt)) is not prompt:
            message = f"the id {quoted(str(prompt.id))} is on line {earlier.number + 1} and on line {prompt.number + 1}"
            raise UsageError(
                Diagnostic(
                    "E0431", message, help="give each prompt an `id` of its own: `--resume` knows them by it"
                )
            )


def _line(result: Result, made_by: Mapping[str, Any]) -> bytes:
    """A result as a line of the file: our fields, then the other fields of its input line."""
    said = result.line() | dict(made_by)
    try:
        ours = json.dumps(said, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a tokenizer: escaped it can be written
        ours = json.dumps(said).encode()
    return ours[:-1] + (b", " + result.prompt.extra if result.prompt.extra else b"") + b"}\n"


def _special(name: str) -> io.FileIO:
    """Opens a pipe or a device for writing. A pipe needs a reader: without one, opening would wait."""
    try:
        handle = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(name).st_mode):
            raise OSError(0, "it is a named pipe that nobody reads") from None
        raise
    os.set_blocking(handle, True)  # a line waits for its reader
    return io.FileIO(handle, "w")


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
    """Whether a line is, as far as it goes, one of ours: cut short, run together with the next one, or zeros
    after a power cut.
    """
    if _json(line) is not None:
        return False  # nothing is missing: whatever it is, it was not cut
    begins = line.strip(b"\0")
    return begins.startswith(LINE_START) or LINE_START.startswith(begins)


def _rest(line: bytes) -> bytes | None:
    """The whole result at the end of a damaged line, `None` if there is none: one may have been written
    behind what was left of another.

    Where a value of the damaged result may stand it is none: a field of the input can look like a result.
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

    @property
    def decoded(self) -> int:
        return self._decoded

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
        """Each different failure once, with the prompts it befell: a model that runs out of memory fails them
        all alike.
        """
        alike: dict[str, list[str]] = {}
        for failure in self._failures:
            alike.setdefault(str(failure.error), []).append(quoted(str(failure.prompt.id)))
        for error, (first, *others) in list(alike.items())[:ERRORS_SHOWN]:
            yield f"prompt {first}{f' and {len(others)} more' * bool(others)}: {error}"
        if (hidden := len(alike) - ERRORS_SHOWN) > 0:
            yield f"and {_count(hidden, 'other failure')}"

    def summary(self) -> str:
        decoded = (
            f"{self._decoded} of {self._prompts} prompts" if self.failed else _count(self._prompts, "prompt")
        )
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
        proposed, accepted = (
            [sum(column) for column in zip(*rows, strict=True)] for rows in zip(*self._drafts, strict=True)
        )
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
