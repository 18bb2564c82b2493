"""How are files named by a user read in bounded time and memory?

Only regular files are read, with a limit on bytes for each kind and on the depth of JSON. `/dev/stdin` and
`/dev/fd/N` (a shell's `<(...)`) are read like standard input. Not here: the meaning of a file, and the code
of a diagnostic (the callers).
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

MIB = 1024**2
# The most bytes that are read of a file, by its kind.
LARGEST_POLICY_FILE = 1 * MIB
LARGEST_CASES_FILE = 1 * MIB
LARGEST_TABLE = 64 * MIB
LARGEST_NETWORK = 2 * MIB
LARGEST_PROMPTS = 256 * MIB
LONGEST_LINE = 4 * MIB  # of a file of prompts
MOST_LINES = 2**20
LARGEST_RESULTS = 1024 * MIB  # for a run that is resumed
LARGEST_TRACE = 1024 * 1024 * MIB  # of a trace file, which is read line by line
LONGEST_TRACE_LINE = 64 * MIB
MOST_TRACE_LINES = 2**24
LARGEST_CONFIG = 16 * MIB  # `config.json` and other text files of a model's folder
LARGEST_TOKENIZER = 128 * MIB  # `tokenizer.json`: the largest published ones have 35 MB
DEEPEST_JSON = 100
MOST_DIGITS = 64  # of a whole number in JSON: some configurations have 31

_CHUNK = 1 * MIB
_NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR)
_INHERITED = re.compile(r"/dev/fd/(\d{1,9})|/dev/stdin")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]+|\\.)*+"?|[][{}]', re.DOTALL)
_KINDS = (
    (stat.S_ISDIR, "it is a directory"),
    (stat.S_ISFIFO, "it is a named pipe, not a file"),
    (stat.S_ISSOCK, "it is a socket, not a file"),
    (stat.S_ISCHR, "it is a device, not a file"),
    (stat.S_ISBLK, "it is a device, not a file"),
)


class Unreadable(Exception):
    """A file that cannot be read. `why` can follow "cannot be read: ". `missing`: there is no such file.
    `too_large`: it exceeds a limit.
    """

    def __init__(self, why: str, *, missing: bool = False, too_large: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.missing = missing
        self.too_large = too_large


class NotJSON(ValueError):
    """A text that is not JSON, or exceeds a limit. `why` can follow "it "; `column`: the place, if known."""

    def __init__(self, why: str, column: int | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.column = column


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A regular file, open for reading. Raises `Unreadable`, also for errors while it is read."""
    try:
        with os.fdopen(_descriptor(os.fspath(path)), "rb") as stream:
            yield stream
    except BlockingIOError:
        raise Unreadable("it has no data now") from None
    except OSError as error:
        why = (error.strerror or "no reason is given").lower()
        raise Unreadable(why, missing=isinstance(error, FileNotFoundError)) from None


def _descriptor(path: str) -> int:
    """A descriptor of the file. The file is opened first and checked then, so that nothing can replace it in
    between. Raises `OSError` and `Unreadable`.
    """
    inherited = _INHERITED.fullmatch(path)
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer, and so does reading some files below
        # /proc.
        flags = (
            os.O_RDONLY
            | getattr(os, "O_NONBLOCK", 0)
            | getattr(os, "O_NOCTTY", 0)
            | getattr(os, "O_BINARY", 0)
        )
        descriptor = os.dup(int(inherited[1] or 0)) if inherited else os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ENXIO and stat.S_ISSOCK(os.stat(path).st_mode):
            raise Unreadable("it is a socket, not a file") from None
        raise
    except ValueError:  # a NUL, or a lone surrogate, which no name can hold
        raise Unreadable("no file can have this name") from None
    except OverflowError:
        raise FileNotFoundError(2, "no such file or directory") from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (inherited and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))):
        return descriptor
    os.close(descriptor)
    raise Unreadable(next((what for is_one, what in _KINDS if is_one(mode)), "it is not a file"))


def read_bytes(path: str | os.PathLike[str], most: int) -> bytes:
    """All of a file that has at most `most` bytes. Raises `Unreadable`."""
    with opened(path) as stream:
        _require_size(os.fstat(stream.fileno()).st_size, most)
        return read_all(stream, most)


def read_all(stream: BinaryIO, most: int) -> bytes:
    """The rest of an open file or of standard input. Raises `Unreadable` for more than `most` bytes."""
    parts, size = [], 0
    # The reported size does not count: below /proc it is 0, and it may change.
    while size <= most and (part := stream.read(min(_CHUNK, most + 1 - size))):
        parts.append(part)
        size += len(part)
    _require_size(size, most)
    return b"".join(parts)


def _require_size(size: int, most: int) -> None:
    if size > most:
        raise Unreadable(f"it is larger than {_in_words(most)}", too_large=True)


def read_text(path: str | os.PathLike[str], most: int) -> str:
    """All of a file as text, without the byte order mark of editors on Windows. Raises `Unreadable`,
    `UnicodeDecodeError`.
    """
    return read_bytes(path, most).decode("utf-8-sig")


def lines(
    stream: BinaryIO, longest: int = LONGEST_LINE, most: int = LARGEST_PROMPTS, most_lines: int = MOST_LINES
) -> Iterator[bytes]:
    """The lines of an open file or of standard input one by one, each without its line feed. Raises
    `Unreadable`.
    """
    size = count = 0
    while line := stream.readline(longest + 1):
        size, count = size + len(line), count + 1
        if len(line) > longest:
            raise Unreadable(f"its line {count} is longer than {_in_words(longest)}", too_large=True)
        _require_size(size, most)
        if count > most_lines:
            raise Unreadable(f"it has more than {most_lines:,} lines", too_large=True)
        yield line.removesuffix(b"\n")


def read_json(path: str | os.PathLike[str], most: int) -> Any:
    """The value in a JSON file. Raises `Unreadable` and `NotJSON`."""
    try:
        return json_of(read_text(path, most))
    except UnicodeDecodeError:
        raise NotJSON("is not UTF-8 text") from None


def json_of(text: str, *, strict: bool = False) -> Any:
    """The value of a JSON text. Raises `NotJSON` for deep nesting and for numbers with too many digits.

    `strict`: also for a duplicate key, for `NaN`, and for numbers out of range. Published configurations have
    such.
    """
    require_shallow(text)
    hooks: dict[str, Any] = (
        {"object_pairs_hook": _each_once, "parse_constant": _no_constant, "parse_float": _finite}
        if strict
        else {}
    )
    try:
        return json.loads(text, parse_int=_int, **hooks)
    except json.JSONDecodeError as error:
        raise NotJSON("is not JSON", error.colno if error.lineno == 1 else None) from None
    except RecursionError:  # the caller may be deep in the stack already
        raise NotJSON(f"is not JSON as dsldec reads it: it is nested more than {DEEPEST_JSON} deep") from None


def require_shallow(text: str) -> None:
    """Raise `NotJSON` for JSON that is nested too deep for recursive readers."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        depth += (first in "[{") - (first in "]}")
        if depth > DEEPEST_JSON:
            raise NotJSON(f"is not JSON as dsldec reads it: it is nested more than {DEEPEST_JSON} deep")


def _int(digits: str) -> int:
    # Python refuses to convert thousands of digits, and a few hundred overflow a float.
    if len(digits) > MOST_DIGITS:
        raise NotJSON(f"is not JSON as dsldec reads it: it has a number of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise NotJSON(f"is not JSON as dsldec reads it: it has the number `{text[:20]}`, which is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise NotJSON(f"is not JSON as dsldec reads it: it has `{name}`, which is not a number")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise NotJSON(f"is not JSON as dsldec reads it: it has the key `{name[:20]}` twice")
        result[name] = value
    return result


def whole_number(text: str) -> int | None:
    """A text as a whole number, None where it is none. A number with too many digits becomes one that exceeds
    every limit.
    """
    text = text.strip()
    sign, digits = (text[0], text[1:]) if text[:1] in ("+", "-") else ("", text)
    if len(digits) > MOST_DIGITS and digits.isdecimal():
        digits = digits.lstrip("0")[: MOST_DIGITS + 1] or "0"
    try:
        return int(sign + digits) if len(digits) <= MOST_DIGITS + 1 else None
    except ValueError:
        return None


def why_not_written(path: str) -> str:
    """Why a file of this name cannot be written, as far as the name shows. Empty where it can."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISFIFO(mode) and not _INHERITED.fullmatch(path):
            # Opened without waiting: there may be no reader.
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return "it is a socket, not a file" if stat.S_ISSOCK(mode) else ""
    except ValueError:
        return "no file can have this name"
    except OSError as error:
        if error.errno == errno.ENXIO:
            return "it is a named pipe without a reader"
        return (error.strerror or "").lower() if error.errno in _NO_PATH else ""


def policies_below(folder: str, most: int = 100_000) -> list[str]:
    """The files below a folder that end in `.policy`, sorted. Links to folders are not followed. Raises
    `Unreadable`.
    """
    files, folders, seen = [], [folder], 0
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > most:
                        raise Unreadable(f"it holds more than {most:,} files", too_large=True)
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.name.endswith(".policy") and os.path.isfile(entry.path):
                        files.append(str(Path(entry.path)))
        except OSError as error:
            if not files and not seen:
                raise Unreadable((error.strerror or "no reason is given").lower()) from None
    return sorted(files)


def _in_words(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB else f"{size} bytes"
