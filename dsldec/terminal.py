"""Escapes control characters before a text reaches a terminal.

While the command runs, standard output and standard error are `Output`. It escapes characters that steer a terminal
or hide text on it (`\\x1b`, `\\u202e`). Messages for people are escaped everywhere. Data (answers of `run`, JSON, a
formatted policy, a stage of `show`) goes to `data()`: it is escaped for a terminal only. A display that draws with
codes of its own writes to `bare()`, and draws `printable` texts.
Not here: how much of a text is quoted (`tools`).
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

# Control codes but for tab and line feed; what turns the direction of writing; what is not seen, or takes no
# room: joiners, fillers, variation selectors, tags; the line breaks of Unicode; halves of characters. By
# number, so that Python's versions agree.
HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN = re.compile(f"[{HIDDEN}]")
_SEEN = f"[^\x00-\x7f{HIDDEN}]"
# Joiners and selectors of a form belong to the writing of pictures, of Persian, of Hindi, and are kept there,
# one at a time: beside characters beyond ASCII, or on the key of a telephone.
_KEPT = "|".join(
    (
        f"(?<={_SEEN})\ufe0f?[\u200c\u200d](?={_SEEN})",
        f"(?<={_SEEN})[\u180b-\u180d\ufe00-\ufe0f\U000e0100-\U000e01ef](?![{HIDDEN}])",
        "(?<=[0-9#*])\ufe0f(?=\u20e3)",
    )
)
_ESCAPED = re.compile(f"(\r\n)|({_KEPT})|([{HIDDEN}])")
# How a bar of progress draws (tqdm's, while files of a hub are fetched): it writes moves alone, and a return
# before the bar.
_OF_A_BAR = re.compile(r"\r|(\x1b\[A)+\Z")


class OutputFailed(OSError):
    """Standard output or standard error takes nothing any more, for another reason than that its reader has
    left.
    """


def printable(text: str) -> str:
    """The text with what steers a terminal or hides text made visible; tabs and line breaks stay."""
    return _ESCAPED.sub(_visible, text) if _HIDDEN.search(text) else text


def _visible(found: re.Match[str]) -> str:
    line_break, kept, hidden = found.groups()
    if hidden is None:
        return "\n" if line_break else str(kept)
    code = ord(hidden)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class Output:
    """A text stream that escapes what is written to it, unless `as_is`; in all else the stream `bare` that it
    was made of.

    `bars`: bars of progress are drawn on it. Raises `OutputFailed`.
    """

    def __init__(self, stream: TextIO, *, as_is: bool = False, bars: bool = False) -> None:
        self.bare = stream
        self._as_is = as_is
        self._bars = bars

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)

    def write(self, text: str) -> int:
        own = _OF_A_BAR.match(text) if self._bars else None
        moved = own.group() if own else ""
        _tried(self.bare.write, text if self._as_is else moved + printable(text[len(moved) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        _tried(self.bare.flush)

    @property
    def buffer(self) -> Any:
        """Where bytes of data are written."""
        return _Bytes(self.bare)


class _Bytes:
    """UTF-8 that is escaped where a terminal shows it, and else is what it is."""

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


def _tried(write: Callable[..., T], *given: Any) -> T:
    try:
        return write(*given)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error.errno, error.strerror) from None


@contextmanager
def escaped() -> Iterator[None]:
    """Inside, standard output and standard error escape what is written to them."""
    before = sys.stdout, sys.stderr
    if sys.stderr is None:  # closed: `print` would take standard output instead
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        # A terminal that cannot show a character shows its code: better than losing the answer around it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        if stream is not None and not isinstance(stream, Output):
            setattr(sys, name, Output(stream, bars=name == "stderr"))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def data() -> TextIO:
    """Standard output for data: as it is written, unless a terminal shows it."""
    stream = sys.stdout
    return cast(TextIO, Output(bare(stream), as_is=not stream.isatty()))


def bare(stream: TextIO) -> TextIO:
    """The stream below, for who draws on a terminal and escapes the texts in what is drawn."""
    return stream.bare if isinstance(stream, Output) else stream
