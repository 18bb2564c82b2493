"""How are control characters escaped before a text reaches a terminal?

While the command runs, standard output and standard error are `Output`. It escapes characters that control a
terminal or hide text on it (`\\x1b`, `\\u202e`). Messages for people are always escaped. Data (answers of
`run`, JSON, a formatted policy, a stage of `show`) goes to `data()`: it is escaped only for a terminal. A
display with its own control codes writes to `bare()`, and draws `printable` texts. Not here: how much of a
text is quoted (`tools`).
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeVar, cast

T = TypeVar("T")

# Control codes except tab and line feed; characters that change the writing direction; invisible characters
# and characters without width (joiners, fillers, variation selectors, tags); the line breaks of Unicode; lone
# surrogates. Given by number, so that all Python versions agree.
HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN = re.compile(f"[{HIDDEN}]")
_SEEN = f"[^\x00-\x7f{HIDDEN}]"
# Joiners and variation selectors belong to emoji, Persian and Hindi. They stay there, one at a time: beside
# characters beyond ASCII, or in a keycap.
_KEPT = "|".join(
    (
        f"(?<={_SEEN})\ufe0f?[\u200c\u200d](?={_SEEN})",
        f"(?<={_SEEN})[\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef](?![{HIDDEN}])",
        "(?<=[0-9#*])\ufe0f(?=\u20e3)",
    )
)
_ESCAPED = re.compile(f"(\r\n)|({_KEPT})|([{HIDDEN}])")
# The moves of a progress bar (tqdm's, while files of a hub are downloaded): it writes moves alone, and a
# carriage return before the bar.
_OF_A_BAR = re.compile(r"\r|(\x1b\[A)+\Z")


class OutputFailed(OSError):
    """Standard output or standard error cannot be written any more, for another reason than a closed pipe."""


def printable(text: str) -> str:
    """The text with control characters and hidden characters made visible. Tabs and line breaks stay."""
    return _ESCAPED.sub(_visible, text) if _HIDDEN.search(text) else text


def _visible(match: re.Match[str]) -> str:
    line_break, stays, hidden = match.groups()
    if hidden is None:
        return "\n" if line_break else str(stays)
    code = ord(hidden)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Output:
    """A text stream that escapes its output, unless `as_is`. Everything else is that of the stream `bare`.

    `bars`: progress bars may be drawn on it. Raises `OutputFailed`.
    """

    def __init__(self, stream: TextIO, *, as_is: bool = False, bars: bool = False) -> None:
        self.bare = stream
        self._as_is = as_is
        self._bars = bars

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)

    def write(self, text: str) -> int:
        bar = _OF_A_BAR.match(text) if self._bars else None
        moved = bar.group() if bar else ""
        _tried(self.bare.write, text if self._as_is else moved + printable(text[len(moved) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        _tried(self.bare.flush)

    @property
    def buffer(self) -> Any:
        """The stream for bytes of data."""
        return _Bytes(self.bare)


class _Bytes:
    """UTF-8 output: escaped for a terminal, unchanged otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace") if stream.isatty() else None

    def write(self, data: bytes) -> int:
        if self._decoder is None:
            return int(_tried(self._stream.buffer.write, data))
        _tried(self._stream.write, printable(self._decoder.decode(data)))
        return len(data)

    def flush(self) -> None:
        _tried(self._stream.flush)
        _tried(self._stream.buffer.flush)


def _tried(write: Callable[..., T], *arguments: Any) -> T:
    try:
        return write(*arguments)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error.errno, error.strerror) from None


@contextmanager
def escaped() -> Iterator[None]:
    """Inside, standard output and standard error escape their output."""
    before = sys.stdout, sys.stderr
    if sys.stderr is None:  # closed: `print` would use standard output instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        # A terminal that cannot show a character shows its code. That is better than losing the whole answer.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if stream is not None and not isinstance(stream, Output):
            setattr(sys, name, Output(stream, bars=name == "stderr"))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def data() -> TextIO:
    """Standard output for data: unchanged, unless it is a terminal."""
    stream = sys.stdout
    return cast(TextIO, Output(bare(stream), as_is=not stream.isatty()))


def bare(stream: TextIO) -> TextIO:
    """The underlying stream, for code that draws on a terminal and escapes its texts itself."""
    return stream.bare if isinstance(stream, Output) else stream
