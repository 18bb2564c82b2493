"""Replaces a file atomically: a reader, or a crash, finds the old file or the new one.

Not here: a file that grows (`owned`).
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from contextlib import suppress

from ..diagnostics import Diagnostic, UsageError
from . import quoted_path


def put(name: str, text: str) -> None:
    """Write a text to a temporary file, then rename it. A link stays, and its target is replaced. A pipe or a
    device is written directly. Raises `UsageError`.
    """
    try:
        _put(name, text.encode("utf-8"))
    except OSError as failure:
        why = (failure.strerror or str(failure)).lower()
        raise UsageError(
            Diagnostic(
                "E0432",
                f"{quoted_path(name)} cannot be written: {why}",
                help="name a file in a folder with free space",
            )
        ) from None


def _put(name: str, data: bytes) -> None:
    target = os.path.realpath(name)
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name).st_mode):
            with open(name, "wb") as stream:
                stream.write(data)
            return
    new, before = None, os.umask(0)
    os.umask(before)
    try:
        handle, new = tempfile.mkstemp(
            prefix=f".{os.path.basename(target)[:100]}.", dir=os.path.dirname(target)
        )
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if os.path.exists(target):
            shutil.copymode(target, new)
        else:
            os.chmod(new, 0o666 & ~before)
        os.replace(new, target)
    except BaseException:
        if new is not None:
            with suppress(OSError):
                os.unlink(new)
        raise
