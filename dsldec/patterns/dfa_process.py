"""How does a regular expression become an automaton over bytes, in bounded memory? In this process.

The file is run by its path, with the folder of outlines_core as argument: it imports nothing else outside
Python's standard library. It reads a line of JSON, and writes a line of JSON: `{"error": ...}`, or the
numbers of an automaton, which follow as bytes. Not here: the limit of time (`byte_automaton`).
"""

from __future__ import annotations

import json
import signal
import sys
from array import array
from contextlib import suppress
from typing import Any

MEMORY = 1024 * 1024 * 1024  # bytes of address space
SECONDS = 30  # of the processor
MOST_BYTE_STATES = 20_000
# The bytes around a text here, see `regular.fenced`. No text with one of them matches.
BEGIN, END = 1, 0


def main() -> None:
    bound()
    regex = json.loads(sys.stdin.readline())["regex"]
    try:
        transitions, start, final = compiled(regex)
    except MemoryError:
        answer: dict[str, Any] = {"error": "memory"}
    except Exception as error:  # the library's own messages
        answer = {"error": "regex", "why": str(error)}
    else:
        if len(transitions) <= MOST_BYTE_STATES:
            write(transitions, start, final)
            return
        answer = {"error": "states", "why": len(transitions)}
    print(json.dumps(answer), flush=True)


def compiled(regex: str) -> tuple[dict[int, dict[int, int]], int, set[int]]:
    """The transitions by byte of each state, the start, and the states in which a text matches.

    The library follows a text only up to its first match: of `a|ab` it would know `a` alone. With an end byte
    after the expression no match is shorter than the text.
    """
    from outlines_core import Index, Vocabulary

    bytes_ = {bytes([byte]): [byte] for byte in range(256)}
    index = Index(f"\\x{BEGIN:02x}(?:{regex})\\x{END:02x}", Vocabulary(256, bytes_))
    transitions, ends = index.get_transitions(), index.get_final_states()
    final = {state for state, ways in transitions.items() if ways.get(END) in ends}
    return transitions, transitions[index.get_initial_state()][BEGIN], final


def write(transitions: dict[int, dict[int, int]], start: int, final: set[int]) -> None:
    """Write the states with new numbers: the start is 0. `next [S, 256]` int32, -1 for none, then `final`."""
    names = [start, *(state for state in transitions if state != start)]
    number = {state: place for place, state in enumerate(names)}
    table = array("i", [-1]) * (256 * len(names))
    for state, ways in transitions.items():
        row = 256 * number[state]
        for byte, then in ways.items():
            if BEGIN < byte < 256 and then in number:
                table[row + byte] = number[then]
    if sys.byteorder == "big":
        table.byteswap()
    print(json.dumps({"states": len(names)}), flush=True)
    sys.stdout.buffer.write(table.tobytes() + bytes(state in final for state in names))


def bound() -> None:
    """Set limits that hold for any expression, where the system has them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    with suppress(ImportError):
        import resource

        limits = (
            ("RLIMIT_AS", MEMORY), ("RLIMIT_CPU", SECONDS), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0),
        )  # fmt: skip
        for name, most in limits:
            with suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (most, most))


if __name__ == "__main__":
    sys.path += sys.argv[1:]
    main()
