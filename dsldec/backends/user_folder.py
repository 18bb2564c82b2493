"""A folder of the user for files with machine code: which files are trusted, and how is a file stored?

A file is used only if the folder and the file belong to this user or to root, and no other user can write
them. Not here: the contents of the files (`step_cache`, `engine_cache`).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock

MADE = re.compile(r"[0-9a-f-]{49,64}")  # the names of packages and engines; others are the user's own files
NEW = ".new-"  # the beginning of the names of files that are not complete
OLD_SECONDS = 3600  # of such a file: its process was killed
MOST_WAITING = 600  # seconds, for another process that makes the same file; then both make it


class Unusable(Exception):
    """A folder or a file is not used. The message is the reason, as the end of a sentence."""


def folder(name: str, variable: str | None = None) -> Path:
    """The folder `dsldec/NAME` in the user's cache folder, or the folder that the environment variable names.
    It is created if it is missing.

    Raises `Unusable` if it cannot be created, or if another user can write it.
    """
    try:
        given = os.environ.get(variable) if variable else None
        base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
        path = Path(given) if given else Path(base or Path.home() / ".cache") / "dsldec" / name
        path.mkdir(
            parents=True, exist_ok=True, mode=0o755 if given else 0o700
        )  # files from here are executed
        require_private(path)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: no home folder; ValueError: a NUL
        why = str(getattr(error, "strerror", None) or error).lower()
        raise Unusable(f"the folder `{given or name}` cannot be used: {why}") from None
    return path


def require_private(path: Path) -> None:
    """Raises `Unusable` if another user owns a file or folder, or can write it; `OSError` if there is none."""
    found = path.stat()
    if os.name != "posix":  # elsewhere the folder of a user is private by default
        return
    if found.st_uid not in (0, os.geteuid()):
        raise Unusable(f"`{path}` belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unusable(f"other users can write `{path}`: `chmod go-w {path}`")


def stored(data: bytes, path: Path, most_bytes: int) -> None:
    """Store a file. A process that reads at the same time finds the whole file or no file.

    Then the least recently used files with the same suffix are deleted, until all of them have at most
    `most_bytes`. Raises `OSError` if the file cannot be written, for example on a full disk.
    """
    number, new = tempfile.mkstemp(dir=path.parent, prefix=NEW)  # mode 0600
    try:
        with os.fdopen(number, "wb") as stream:
            if (
                os.name == "posix"
            ):  # who may read the folder may read its files: root fills it for other users
                os.fchmod(number, 0o600 | (path.parent.stat().st_mode & 0o044))
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    _delete_unused(path, most_bytes)


def content(path: Path) -> bytes:
    """All bytes of a trusted file. Raises `OSError`."""
    return path.read_bytes()


def used(path: Path) -> None:
    """Note that a file was used now. Without this, it is among the next to be deleted."""
    with contextlib.suppress(OSError):  # a folder that this user may only read
        os.utime(path)


def files(where: Path, suffix: str) -> list[tuple[Path, os.stat_result]]:
    """The complete files with this suffix, the least recently used first."""
    found: list[tuple[Path, os.stat_result]] = []
    with contextlib.suppress(OSError):
        for path in where.iterdir():
            if path.suffix == suffix and MADE.fullmatch(path.stem):
                with contextlib.suppress(OSError):  # another process deleted it
                    found.append((path, path.stat()))
    return sorted(found, key=lambda one: one[1].st_mtime_ns)


def delete(paths: Sequence[Path]) -> None:
    """Delete files and their locks, if they still exist and this user may."""
    for path in paths:
        for one in (path, _lock(path)):
            with contextlib.suppress(OSError):
                one.unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process makes the file. In a folder that cannot be written, nothing is locked.

    The system frees the lock of a killed process.
    """
    lock = FileLock(_lock(path), timeout=MOST_WAITING)
    try:
        lock.acquire()
    except (OSError, NotImplementedError):  # NotImplementedError: a file system without locks
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path) -> Path:
    return path.with_suffix(".lock")


def _delete_unused(path: Path, most_bytes: int) -> None:
    found = files(path.parent, path.suffix)
    total = sum(about.st_size for _, about in found)
    unused: list[Path] = []
    for one, about in found:
        if total <= most_bytes:
            break
        if one != path:
            unused.append(one)
            total -= about.st_size
    delete(unused)
    with contextlib.suppress(OSError):
        for one in path.parent.iterdir():
            if one.name.startswith(NEW) and time.time() - one.stat().st_mtime > OLD_SECONDS:
                delete([one])
