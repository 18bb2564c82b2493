"""When does the host learn which rows have ended?

On a CPU the host reads the flags after every step. This costs nothing, and no row is forwarded after its end.
On a GPU, a read would wait for all work in the queue. So the flags are copied without waiting and read when
they have arrived; the next forward is queued in the meantime. Rows forwarded after their end are wasted but
change nothing: steps write only in rows that have not ended. Not here: the meaning of the flags
(`decode_loop`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

MOST_ON_THE_WAY = 2  # with more, more forwards might be wasted


class Poll(Protocol):
    """Reads flags, of any shape, as nested lists."""

    def now(self, flags: Tensor) -> Any | None:
        """The flags, or `None` if a read would wait."""

    def later(self, flags: Tensor) -> Any | None:
        """The newest flags that have arrived, these or older ones, or `None`."""

    def wait(self) -> Any | None:
        """Waits for the newest flags; `None` if all were read before."""


class SyncPoll:
    """Flags in the host's memory."""

    def now(self, flags: Tensor) -> Any:
        return flags.tolist()

    later = now

    def wait(self) -> None:
        return None


class Copy(Protocol):
    """Flags on their way to the host."""

    def arrived(self) -> bool: ...
    def read(self) -> Any:
        """The flags; waits for them."""


class CopyFromGpu:
    """A copy into pinned memory, and an event after it in the stream. *Not measured on a GPU.*"""

    def __init__(self, flags: Tensor) -> None:
        self.host = torch.empty(flags.shape, dtype=flags.dtype, pin_memory=True)
        self.host.copy_(flags, non_blocking=True)
        self.event = torch.cuda.Event()
        self.event.record()

    def arrived(self) -> bool:
        return bool(self.event.query())

    def read(self) -> Any:
        self.event.synchronize()
        return self.host.tolist()


class AsyncPoll:
    """Flags that are copied to the host without waiting for them; at most `MOST_ON_THE_WAY` at a time."""

    def __init__(self, copy: Callable[[Tensor], Copy] = CopyFromGpu) -> None:
        self.copy = copy
        self.on_the_way: deque[Copy] = deque()

    def now(self, flags: Tensor) -> None:
        return None

    def later(self, flags: Tensor) -> Any | None:
        self.on_the_way.append(self.copy(flags))
        flags_read = None
        while self.on_the_way and (len(self.on_the_way) > MOST_ON_THE_WAY or self.on_the_way[0].arrived()):
            flags_read = self.on_the_way.popleft().read()
        return flags_read

    def wait(self) -> Any | None:
        flags = self.on_the_way[-1].read() if self.on_the_way else None
        self.on_the_way.clear()
        return flags


def polling(device: torch.device, *, watched: bool) -> Poll:
    """The poll for a device. `watched`: other code reads the result of every step, and so waits for it
    anyway.
    """
    return AsyncPoll() if device.type == "cuda" and not watched else SyncPoll()
