"""Checks that a package is the file that `dsldec build` wrote, by a SHA-256 digest in the comment of the
archive.

The comment is the end of an archive. The digest covers every byte before it, including the names and sizes of
the members, and is checked before anything reads the archive. It detects damage, and proves nothing about the
author: anyone can change a package and write a new digest. Not here: the manifest (`manifest_reader`),
loading a package (`aot`).
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

MARK = b"dsldec sha256 "
SEAL = len(MARK) + 64  # bytes of the comment
END, END_LENGTH = (
    b"PK\x05\x06",
    22,
)  # the end of an archive without a comment; its last two bytes are the length of the comment
MOST_BYTES = 2**30
CHUNK = 2**20


class NotWhole(Exception):
    """The file is not the package that was built. The message is the reason, as the end of a sentence."""


def seal(file: Path) -> None:
    """Adds the digest to an archive without a comment."""
    data = file.read_bytes()
    end = len(data) - END_LENGTH
    assert data[end : end + 4] == END, "torch wrote an archive with a comment"
    covered = data[:-2] + SEAL.to_bytes(2, "little")
    file.write_bytes(covered + MARK + hashlib.sha256(covered).hexdigest().encode())


def require_whole(file: str | os.PathLike[str]) -> None:
    """Reads the whole file. Raises `NotWhole`, or `OSError` if the file cannot be read."""
    found = os.stat(file)
    if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device might never end
        raise NotWhole("it is a folder" if stat.S_ISDIR(found.st_mode) else "it is not a regular file")
    if found.st_size > MOST_BYTES:
        raise NotWhole(f"it is larger than the limit for a package, {MOST_BYTES >> 20} MiB")
    left, digest = found.st_size - SEAL, hashlib.sha256()
    with open(file, "rb") as stream:
        while left > 0 and (chunk := stream.read(min(left, CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        written = stream.read(SEAL + 1)
    if not written.startswith(MARK):
        raise NotWhole("it is not a package built by dsldec, or its end is missing")
    if written != MARK + digest.hexdigest().encode():
        raise NotWhole("it was changed after it was built: its bytes do not match the SHA-256 in it")
