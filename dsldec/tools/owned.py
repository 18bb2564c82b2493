"""A file that one process owns while it appends lines, with a check of its content.

The owner holds a lock of the operating system (`flock`) on the file itself. The lock ends with the process,
and applies to each name of the file. A file system without locks lets a second process write; the check finds
its changes, before each line and at the end. Not here: the content of the lines (`results`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..diagnostics import Diagnostic, UsageError
from . import quoted_path

try:
    import fcntl
except ImportError:  # pragma: no cover (a system without locks: treated like a file system without them)
    fcntl = None  # type: ignore[assignment]

TRIES = 8  # a file may be replaced between opening and locking
CHUNK = 1 << 20
# Special files, and some file systems, do not support fsync.
NEVER_MIND = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Content:
    """The whole content of a file, by its length and digest."""

    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def more(self, data: bytes) -> Content:
        digest = self.digest.copy()
        digest.update(data)
        return Content(self.size + len(data), digest)

    def same(self, other: Content) -> bool:
        return self.size == other.size and self.digest.digest() == other.digest.digest()


class OwnedFile:
    """A plain file, opened or created. Until it is closed, no other dsldec process writes it.

    Raises `OSError` where the file system does, `UsageError` (E0438) where another process owns it. `locked`:
    whether the file system could lock it. `what`, `flag`: the file in a message, and the option that names
    it.
    """

    def __init__(self, name: str, what: str = "results file", flag: str = "--out") -> None:
        self.name, self.path = name, os.path.abspath(name)
        self.what, self.flag = what, flag
        self.is_new = not os.path.exists(self.path)
        self._raw, self.locked = self._claimed()
        # The expected contents. There are two while a line is being written: the write may be interrupted
        # before or after.
        self._expected: tuple[Content, ...] = (Content(),)

    def _claimed(self) -> tuple[io.FileIO, bool]:
        for _ in range(TRIES):
            raw = io.FileIO(self.path, "a+", opener=_open)
            try:
                locked = _lock(raw)
                if _same_file(os.fstat(raw.fileno()), _stat(self.path)):
                    return raw, locked
            except BlockingIOError:
                raw.close()
                raise UsageError(self._taken()) from None
            raw.close()
        raise UsageError(self._taken())

    def _taken(self) -> Diagnostic:
        message = f"another run writes the {self.what} {quoted_path(self.name)} at this moment"
        return Diagnostic(
            "E0438",
            message,
            help=f"wait for its end, then continue with `--resume`; or give `{self.flag}` another name",
        )

    @property
    def size(self) -> int:
        """The current size in bytes."""
        return os.fstat(self._raw.fileno()).st_size

    def read(self) -> bytes:
        """The whole content of a file that is not empty, before the first `append`."""
        data = b"".join(_chunks(self._raw))
        self._expected = (Content().more(data),)
        return data

    def append(self, line: bytes) -> None:
        """Write one line, whole or not at all. Raises `UsageError` (E0439) where another process has changed
        the file.
        """
        self._require_in_place(line)
        before = self._expected[-1]
        self._expected = (before, before.more(line))
        try:
            self._write(line)
        except OSError:
            with suppress(OSError):
                self._raw.truncate(
                    before.size
                )  # the next run would cut off a half-written line, so remove it now
            self._expected = (before,)
            raise
        self._expected = self._expected[1:]

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[self._raw.write(rest) :]

    def replace(self, data: bytes) -> None:
        """Replace the content: written to a temporary file, then renamed. A crash in between leaves the old
        or the new content.
        """
        target = Path(os.path.realpath(self.path))
        handle, new = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
        raw = io.FileIO(handle, "a+")
        try:
            _lock(raw)  # before it has the name: another process that opens it finds it locked
            for begin in range(0, len(data), CHUNK):
                raw.write(data[begin : begin + CHUNK])
            _through(raw)
            shutil.copymode(target, new)
            os.replace(new, target)
        except BaseException:
            raw.close()
            Path(new).unlink(missing_ok=True)
            raise
        old, self._raw, self._expected = self._raw, raw, (Content().more(data),)
        old.close()

    def require_whole(self) -> None:
        """Raise `UsageError` (E0439) unless the file of this name holds exactly the written lines, and is on
        the disk.
        """
        self._require_in_place()
        _through(self._raw)
        with suppress(OSError):
            _through_folder(os.path.dirname(self.path))
        there = _content(self._raw)
        if len(self._expected) == 2 and self._expected[0].size < there.size < self._expected[1].size:
            self._raw.truncate(self._expected[0].size)  # interrupted within a line
            there = _content(self._raw)
        if not any(there.same(content) for content in self._expected):
            raise UsageError(self._changed())

    def close(self) -> None:
        """Release the file; a second call does nothing. A new and empty file is deleted, because the same
        command would fail on it next time.
        """
        if self._raw.closed:
            return
        own = os.fstat(self._raw.fileno())
        if self.is_new and own.st_size == 0 and _same_file(own, _stat(self.path)):
            with suppress(OSError):
                os.unlink(os.path.realpath(self.path))
        self._raw.close()

    # --- changes by other processes

    def _require_in_place(self, pending: bytes = b"") -> None:
        own = os.fstat(self._raw.fileno())
        if not _same_file(own, _stat(self.path)):
            raise UsageError(self._gone(own, pending))
        sizes = [content.size for content in self._expected]
        if not sizes[0] <= own.st_size <= sizes[-1]:
            raise UsageError(self._changed())

    def _changed(self) -> Diagnostic:
        message = f"the {self.what} {quoted_path(self.name)} was changed by another program during the run"
        return Diagnostic(
            "E0439",
            message,
            help=f"check it; `--resume` continues with its content, `{self.flag}` with another name starts again",
        )

    def _gone(self, own: os.stat_result, pending: bytes) -> Diagnostic:
        same, name = _stat(self.path), _name_of(self._raw)
        shown = quoted_path(self.name)
        if own.st_nlink and not os.path.basename(name or "").startswith(
            ".nfs"
        ):  # NFS keeps a deleted file under such a name while it is open
            with suppress(OSError):
                self._write(pending)
            message = f"the {self.what} {shown} was moved during the run"
            help = f"it is {quoted_path(name) if name else 'whole under its new name'}: continue with that as `{self.flag}` and `--resume`"
            return Diagnostic("E0439", message, help=help)
        what = "was deleted" if same is None else "was replaced by another file"
        message = f"the {self.what} {shown} {what} during the run"
        saved = self._saved(pending)
        help = (
            f"its lines are now in {quoted_path(saved)}: continue with that as `{self.flag}` and `--resume`"
            if saved
            else ""
        )
        return Diagnostic(
            "E0439", message, help=help or f"give `{self.flag}` a file that no other program changes"
        )

    def _saved(self, pending: bytes) -> str | None:
        """Save the lines of a deleted file, and one more line. Returns the new file, or `None` without lines
        or without a place.
        """
        if not pending and not self.size:
            return None
        name = os.path.basename(self.path)
        for folder in (os.path.dirname(self.path), tempfile.gettempdir()):
            with suppress(OSError):
                handle, saved = tempfile.mkstemp(prefix=f"{name[:100]}.", suffix=".rescued.jsonl", dir=folder)
                with io.FileIO(handle, "w") as raw:
                    for chunk in (*_chunks(self._raw), pending):
                        raw.write(chunk)
                    _through(raw)
                return saved
        return None


def _open(path: str, flags: int) -> int:
    """Open a file, but not with the number of a closed standard stream: output of other code would go into
    the file.
    """
    handle = os.open(path, flags, 0o666)
    if handle > 2 or fcntl is None:
        return handle
    try:
        return fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(handle)


def _lock(raw: io.FileIO) -> bool:
    """Whether the file is locked now. Raises `BlockingIOError` where another process has locked it."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(raw.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as failure:
        if failure.errno == errno.EACCES:  # some systems report another process's lock so
            raise BlockingIOError from None
        return False  # ENOLCK, ENOTSUP, ...: the file system has no locks
    return True


def _same_file(one: os.stat_result, other: os.stat_result | None) -> bool:
    return other is not None and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _name_of(raw: io.FileIO) -> str | None:
    """The current name of an open file, where the system knows it."""
    try:
        name = os.readlink(f"/proc/self/fd/{raw.fileno()}")
    except OSError:
        return None
    return name if os.path.exists(name) else None


def _chunks(raw: io.FileIO) -> Iterator[bytes]:
    raw.seek(0)  # appends go to the end, whatever this position
    while chunk := raw.read(CHUNK):
        yield chunk


def _content(raw: io.FileIO) -> Content:
    content = Content()
    for chunk in _chunks(raw):
        content = content.more(chunk)
    return content


def _through(raw: io.FileIO) -> None:
    """Write to the disk, not only to the system's cache. Raises `OSError` where the disk fails."""
    try:
        os.fsync(raw.fileno())
    except OSError as failure:
        if failure.errno not in NEVER_MIND:
            raise


def _through_folder(folder: str) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
