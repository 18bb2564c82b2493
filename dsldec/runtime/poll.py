"""When does the host hear which rows are over?

On a CPU it looks after every step: that is free, and no row is forwarded in vain. On a GPU looking would wait
for all that was launched: there the flags are copied without waiting, and looked at once they have arrived,
so that the next forward is launched meanwhile. What is then forwarded for rows that were over already is
surplus; it changes nothing, since steps write only in rows that are not over. Not here: what the flags are,
and what is done about them (`decode_loop`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

MOST_ON_THE_WAY = 2  # with more, more forwards might be surplus


class Poll(Protocol):
    """Reads flags, bools of any shape, as nested lists."""

    def now(self, flags: Tensor) -> Any | None:
        """The flags, or `None` where they cannot be had without waiting."""

    def later(self, flags: Tensor) -> Any | None:
        """The newest flags that have arrived, these or older ones, or `None`."""

    def wait(self) -> Any | None:
        """The newest flags that were given, `None` if they were all heard."""


class SyncPoll:
    """Flags that lie where the host can see them."""

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
        heard = None
        while self.on_the_way and (len(self.on_the_way) > MOST_ON_THE_WAY or self.on_the_way[0].arrived()):
            heard = self.on_the_way.popleft().read()
        return heard

    def wait(self) -> Any | None:
        heard = self.on_the_way[-1].read() if self.on_the_way else None
        self.on_the_way.clear()
        return heard


def polling(device: torch.device, *, watched: bool) -> Poll:
    """How flags on a device are heard of; who watches every step waits for every step."""
    return AsyncPoll() if device.type == "cuda" and not watched else SyncPoll()
