"""The file of a run's results: one JSON object for each prompt, written as each is finished.

Not here: the results (`results`), reading those of an earlier run (`resumed`), locks (`owned`).
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Self

from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_RESULTS
from . import quoted, quoted_path
from .owned import OwnedFile
from .prompts import Prompt
from .results import Result
from .resumed import resumed

STANDARD_OUTPUT = "-"


class ResultsFile:
    """A results file. This process owns it until it is closed. Inside `with`, each `append` adds one line.

    `answered`: the answers of a resumed file, each an id and the number of a sample; `finished`: the ids of
    prompts with all their answers; `retried`: the number of its failed prompts; `torn`:
    the number of its damaged lines, which are removed. `made_by` is in every line: the `policy`, and under
    `run` the settings that decide an answer, with a `digest` of them. `unlocked`: the warning that another
    run could write the file, too.
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
        self.answered: frozenset[tuple[str | int, int]] = frozenset()
        self.finished: frozenset[str | int] = frozenset()
        self.retried = self.torn = 0
        self.unlocked: Diagnostic | None = None
        self.name = name
        self._remaining: bytes | None = None
        self._stream: BinaryIO | io.FileIO | None = None  # of a pipe or a device
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
            data = self._file.read()
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        before = resumed(data, self.name, prompts, self._made_by)
        self.answered, self.retried, self.torn = before.answered, before.retried, before.torn
        samples = {prompt.id: prompt.n for prompt in prompts}
        ids = {id_ for id_, _ in self.answered}
        self.finished = frozenset(
            id_ for id_ in ids if all((id_, one) in self.answered for one in range(samples.get(id_, 1)))
        )
        self._remaining = before.remaining if before.remaining != data else None
        if not self._file.locked:
            message = (
                f"the file system of {quoted_path(self.name)} has no locks: a second run could write it too"
            )
            self.unlocked = Diagnostic(
                "W0403",
                message,
                help="do not start a second run with this `--out`; the file is checked at the end",
            )

    def __enter__(self) -> Self:
        try:
            if self.name == STANDARD_OUTPUT:
                self._stream = sys.stdout.buffer
            elif self._file is not None and self._remaining is not None:
                self._file.replace(self._remaining)
        except OSError as failure:
            self.close()
            raise UsageError(self._unwritable(failure)) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # After Ctrl-C a line reports the stored answers, so the file is checked. After another failure
            # only the failure is reported.
            if self._file is not None and (error is None or isinstance(error, KeyboardInterrupt)):
                self._file.require_whole()
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        finally:
            self.close()

    def close(self) -> None:
        """Release the file. A second call does nothing."""
        if self._file is not None:
            self._file.close()
        elif self._stream is not None and self.name != STANDARD_OUTPUT:
            self._stream.close()

    def append(self, result: Result) -> None:
        """Write one line to the operating system: a crash of this process does not lose it."""
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
        return Diagnostic("E0432", message, help="give `--out` a file in your own folder with free space")


def _check_unique(prompts: Sequence[Prompt]) -> None:
    first: dict[str | int, Prompt] = {}
    for prompt in prompts:
        if (earlier := first.setdefault(prompt.id, prompt)) is not prompt:
            message = f"the id {quoted(str(prompt.id))} is on line {earlier.number + 1} and on line {prompt.number + 1}"
            raise UsageError(
                Diagnostic(
                    "E0431",
                    message,
                    help="give each prompt an `id` of its own: `--resume` identifies prompts by it",
                )
            )


def _line(result: Result, made_by: Mapping[str, Any]) -> bytes:
    """A result as a line of the file: our fields, then the other fields of its input line."""
    fields = result.line() | dict(made_by)
    try:
        ours = json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a tokenizer: escaped it can be written
        ours = json.dumps(fields).encode()
    return ours[:-1] + (b", " + result.prompt.extra if result.prompt.extra else b"") + b"}\n"


def _special(name: str) -> io.FileIO:
    """Opens a pipe or a device for writing. A pipe needs a reader: without one, opening would wait."""
    try:
        handle = os.open(name, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        if failure.errno == errno.ENXIO and stat.S_ISFIFO(os.stat(name).st_mode):
            raise OSError(0, "it is a named pipe without a reader") from None
        raise
    os.set_blocking(handle, True)  # a line waits for its reader
    return io.FileIO(handle, "w")
