"""A file of lines that an option names, one JSON object a line, each written as soon as it exists.

Not here: the lines (`results_file`, `trace_file`), locks (`owned`).
"""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from types import TracebackType
from typing import BinaryIO, ClassVar, Self

from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_RESULTS
from . import quoted_path
from .owned import OwnedFile

STANDARD_OUTPUT = "-"


class LinesFile:
    """A file, a pipe, a device, or standard output. This process owns it until it is closed. Inside `with`,
    each `write` adds one line.

    A file that exists is only continued, with `resume`. `unlocked`: the warning that another run could write
    the file, too.
    """

    what: ClassVar[str]  # the file in a message
    flag: ClassVar[str]  # the option that names it
    example: ClassVar[str]

    def __init__(self, name: str, *, resume: bool) -> None:
        self.unlocked: Diagnostic | None = None
        self.name = name
        self._remaining: bytes | None = None
        self._stream: BinaryIO | io.FileIO | None = None  # of a pipe or a device
        self._file: OwnedFile | None = None
        if name == STANDARD_OUTPUT:
            if resume:
                help = f"name a file: `{self.flag} {self.example}`"
                raise UsageError(Diagnostic("E0423", "`--resume` cannot continue standard output", help=help))
            return
        try:
            if not self._is_plain(resume):
                self._stream = _special(name)
                return
            self._file = OwnedFile(name, self.what, self.flag)
        except (OSError, ValueError) as failure:
            raise UsageError(self._unwritable(failure)) from None
        try:
            self._begin(resume)
        except BaseException:
            self.close()
            raise

    def _stays(self, data: bytes) -> bytes:
        """The part of an earlier content that stays. Raises `UsageError` for lines that this run must not
        continue.
        """
        raise NotImplementedError

    def _begin(self, resume: bool) -> None:
        assert self._file is not None
        other = f"give `{self.flag}` another name"
        if not resume and self._file.size:
            message = f"the {self.what} {quoted_path(self.name)} exists already"
            raise UsageError(Diagnostic("E0433", message, help=f"`--resume` continues it; or {other}"))
        if self._file.size > LARGEST_RESULTS:
            message = f"the {self.what} {quoted_path(self.name)} cannot be read: it is larger than {LARGEST_RESULTS >> 20} MiB"
            raise UsageError(Diagnostic("E0434", message, help=other))
        try:
            data = self._file.read()
        except OSError as failure:
            raise UsageError(self._unwritable(failure)) from None
        remaining = self._stays(data)
        self._remaining = remaining if remaining != data else None
        if not self._file.locked:
            message = (
                f"the file system of {quoted_path(self.name)} has no locks: a second run could write it too"
            )
            self.unlocked = Diagnostic(
                "W0403",
                message,
                help=f"do not start a second run with this `{self.flag}`; the file is checked at the end",
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

    def write(self, line: bytes) -> None:
        """Write one line to the operating system: a crash of this process does not lose it."""
        try:
            if self._file is not None:
                self._file.append(line)
                return
            assert self._stream is not None, "write outside `with`"
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
            message = f"the {self.what} {quoted_path(self.name)} is a folder"
            raise UsageError(
                Diagnostic("E0432", message, help=f"`{self.flag} {self.name.rstrip('/')}/{self.example}`")
            )
        if not os.path.exists(self.name):
            if not os.path.isdir(folder):
                message = f"the folder of the {self.what} {quoted_path(self.name)} does not exist"
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
            "standard output" if self.name == STANDARD_OUTPUT else f"the {self.what} {quoted_path(self.name)}"
        )
        message = f"{what} cannot be written: {why.lower()}"
        return Diagnostic(
            "E0432", message, help=f"give `{self.flag}` a file in your own folder with free space"
        )


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
