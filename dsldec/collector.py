"""How often does Python's garbage collector run in the process of a command?

While modules are imported nearly everything stays, and every collection searches it again: of a short run,
collections take a tenth of the time, and those at the exit another tenth. Only the process of the `dsldec`
command uses this. A program that calls dsldec keeps its own settings.
"""

from __future__ import annotations

import gc

# New objects before a collection. Python's own number is below 3,000; `import torch` makes 300,000 that stay.
OF_THE_START = 100_000

_before: list[tuple[int, int, int]] = []


def start() -> None:
    """The process starts: collect rarely."""
    _before.append(gc.get_threshold())
    gc.set_threshold(OF_THE_START)


def started() -> None:
    """All is imported and loaded: leave that out of collections, and collect as before `start`. Without
    `start` before, nothing changes.
    """
    if _before:
        gc.freeze()
        gc.set_threshold(*_before.pop())


def end() -> None:
    """The process ends: the interpreter's last collections search nothing."""
    gc.freeze()
