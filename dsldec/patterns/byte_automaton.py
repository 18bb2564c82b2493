"""How does a regular expression become the smallest automaton over bytes, in bounded time?

The library outlines_core runs in a separate process, which is stopped at a limit of time or memory. An
answer is shown without the spaces at its ends. So a text that begins or ends with a space is no match here,
and one space may precede a match: with many tokenizers a word begins with a space. Not here: the check of an
expression (`regular`), ids (`over_ids`).
"""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..diagnostics import Diagnostic, UsageError
from ..files import NotJSON, json_of
from . import dfa_process
from .automaton import DEAD
from .minimal import classes_of, minimal
from .regular import fenced

TIME_LIMIT = 120.0  # seconds; those of the processor are limited too
SPACE = 0x20
# What Python's `strip` removes. Its \x1c to \x1f are no spaces in a regular expression.
SHOWN = r"(?:[^\s\x1c-\x1f](?:[^\x01]*[^\s\x1c-\x1f])?)?"
TYPE_LESS = (
    "write a shorter pattern: fewer or smaller repeats such as `{1,500}`, and `[0-9]` in place of `\\d`"
)


@dataclass(frozen=True, slots=True, eq=False)
class ByteAutomaton:
    """`next_state [S, K]` int32, `class_of [256]` the class of each byte, `final [S]`. State 0 is the start."""

    next_state: NDArray[np.int32]
    class_of: NDArray[np.int32]
    final: NDArray[np.bool_]

    @property
    def states(self) -> int:
        """S, the number of states."""
        return len(self.final)

    def by_byte(self) -> NDArray[np.int32]:
        """The table `[S, 256]`."""
        return self.next_state[:, self.class_of]


def byte_automaton(regex: str) -> ByteAutomaton:
    """The smallest automaton of all texts that match as a whole; without states if there is none.

    Raises `UsageError`: E0490 for an expression that the library refuses, E0494 beyond a limit, E0498 without
    the library.
    """
    run = _run(regex)
    head, _, body = run.partition(b"\n")
    try:
        answer = json_of(head.decode("utf-8", "replace"))
    except NotJSON:
        answer = {"error": "memory"}  # the process was stopped, or ended in the library
    if "states" in answer:
        S = int(answer["states"])
        table = np.frombuffer(body, "<i4", 256 * S).reshape(S, 256)
        final = np.frombuffer(body, np.uint8, S, 1024 * S).astype(bool)
        return of_table(*minimal(table, final))
    if answer["error"] == "regex":
        raise UsageError(_refused(str(answer["why"])))
    most = f"{dfa_process.MEMORY >> 20} MiB of memory, or the limit of {dfa_process.SECONDS} seconds"
    if answer["error"] == "states":
        most = f"{dfa_process.MOST_BYTE_STATES:,} states: it has {answer['why']:,}"
    raise UsageError(Diagnostic("E0494", f"the pattern is too large: it exceeds {most}", help=TYPE_LESS))


def of_table(table: NDArray[np.int32], final: NDArray[np.bool_]) -> ByteAutomaton:
    """The automaton of a table `[S, 256]`, with bytes in classes."""
    if not len(final):
        return ByteAutomaton(np.zeros((0, 1), np.int32), np.zeros(256, np.int32), final)
    class_of = classes_of(np.ascontiguousarray(table.T))
    first = np.unique(class_of, return_index=True)[1]
    return ByteAutomaton(np.ascontiguousarray(table[:, first], np.int32), class_of, final)


def _run(regex: str) -> bytes:
    """The output of the process for an expression. Raises `UsageError` (E0494, E0498)."""
    found = importlib.util.find_spec("outlines_core")
    if found is None or not sys.executable:
        raise UsageError(
            Diagnostic(
                "E0498",
                "a pattern needs the package `outlines-core`, which is not installed",
                help="`pip install 'outlines-core>=0.2.10,<0.3'`",
            )
        )
    place = str(Path(str(found.origin)).parent.parent)
    command = [sys.executable, "-I", "-S", str(Path(dfa_process.__file__)), place]
    line = json.dumps({"regex": fenced(regex)}).encode() + b"\n"
    try:
        return subprocess.run(
            command, input=line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=TIME_LIMIT
        ).stdout
    except subprocess.TimeoutExpired:
        message = f"the pattern is too large: its preparation takes longer than {TIME_LIMIT:g} seconds"
        raise UsageError(Diagnostic("E0494", message, help=TYPE_LESS)) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        message = f"the process that prepares a pattern does not start: {why}"
        raise UsageError(
            Diagnostic("E0498", message, help="free memory and processes, and try again")
        ) from None


def _refused(why: str) -> Diagnostic:
    if "incompatible" in why:  # a state without a way on
        message = "a part of the pattern matches no character"
        return Diagnostic(
            "E0490", message, help="a class such as `[a&&b]` is empty: correct it, or leave it out"
        )
    lines = (why.removeprefix("Failed to build DFA").strip().splitlines() or ["it gives no reason"])[0]
    message = f"the pattern is no regular expression that the library reads: {lines}"
    help = "its syntax is that of Rust's `regex`; a literal character such as `{` is written `\\{`"
    return Diagnostic("E0490", message, help=help)


@functools.cache
def _shown() -> ByteAutomaton:
    """All texts without a space at their ends."""
    return byte_automaton(SHOWN)


def as_shown(automaton: ByteAutomaton, *, space_first: bool = False) -> ByteAutomaton:
    """The matches that have no space at their ends, each also with one space in front.

    `space_first`: the tokenizer puts a space in front of every word, and removes it from a text's start: then
    the space must be there.
    """
    if not automaton.states:
        return automaton
    table, final = _both(automaton, _shown())
    if not len(final):
        return of_table(table, final)
    start = np.full((1, 256), DEAD, np.int32) if space_first else table[:1].copy()
    start[0, SPACE] = 0  # a match begins with no space, so the place is free
    table = np.concatenate([table, start])
    return of_table(*minimal(table, np.append(final, final[0]), len(final)))


def _both(one: ByteAutomaton, other: ByteAutomaton) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The automaton of what both match."""
    first, second = one.by_byte(), other.by_byte()
    pair = classes_of(np.stack([one.class_of, other.class_of], axis=1))
    bytes_ = np.unique(pair, return_index=True)[1]
    number, order = {(0, 0): 0}, [(0, 0)]
    rows: list[list[int]] = []
    for a, b in order:
        row = []
        for x, y in zip(first[a, bytes_].tolist(), second[b, bytes_].tolist(), strict=True):
            if x == DEAD or y == DEAD:
                row.append(DEAD)
                continue
            if (x, y) not in number:
                number[x, y] = len(order)
                order.append((x, y))
            row.append(number[x, y])
        rows.append(row)
    final = np.array([one.final[a] and other.final[b] for a, b in order], bool)
    return minimal(np.array(rows, np.int32)[:, pair], final)
