"""Checks that a package is the file that `dsldec build` wrote, by a SHA-256 that the archive holds as its
comment.

An archive's comment is the last thing in it: the digest covers every byte before its own, names and sizes of
members included, and is checked before anything reads the archive. It finds damage and tells nothing of who
built the file: whoever changes a package on purpose can write a new digest. Not here: what a package says of
itself (`manifest_reader`), loading it (`aot`).
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
)  # of an archive without a comment; the last two bytes are the comment's length
MOST_BYTES = 2**30
CHUNK = 2**20


class NotWhole(Exception):
    """Why a file is not the package it was, as the end of a sentence."""


def seal(file: Path) -> None:
    """Add the digest to an archive that has no comment."""
    data = file.read_bytes()
    end = len(data) - END_LENGTH
    assert data[end : end + 4] == END, "torch wrote an archive with a comment"
    covered = data[:-2] + SEAL.to_bytes(2, "little")
    file.write_bytes(covered + MARK + hashlib.sha256(covered).hexdigest().encode())


def require_whole(file: str | os.PathLike[str]) -> None:
    """Read the whole file. Raises `NotWhole`, and `OSError` where it cannot be read."""
    found = os.stat(file)
    if not stat.S_ISREG(found.st_mode):  # a pipe or a device would be read for ever
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
