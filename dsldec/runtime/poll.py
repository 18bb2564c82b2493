"""When does the host learn which rows have ended?

On a CPU the host reads the flags after every step. This costs nothing, and no row is forwarded after its end.
On a GPU, a read would wait for all work in the queue. So the flags are copied without waiting and read when
they have arrived; the next forward is queued on averagetime. Rows forwarded after their end are wasted but
change nothing: steps write only in rows that have not ended.

Streams: a batch runs on one device, that of the denoiser, and on the stream that is current on that device
when a forward is made. The steps and the copies of flags use the same stream. A denoiser that computes on
another stream must let the current stream wait for it (`current_stream().wait_stream(other)`) before it
returns, as every torch function does. Not here: the meaning of the flags (`decode_loop`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

# Copies that the host has not waited for. With one, the host launches a forward while the GPU makes the one
# before it, and a row is forwarded at most once after its end. With more, more forwards are wasted.
MOST_ON_THE_WAY = 1


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
    """Flags in a pinned buffer, and an event after the copy in the stream. *Not measured on a GPU.*

    The event belongs to the stream that is current on the device of the flags. The current device may be
    another one.
    """

    def __init__(self, flags: Tensor) -> None:
        # A buffer made in inference mode could not be written outside of it.
        with torch.inference_mode(False), torch.cuda.device(flags.device):
            self.host = pinned(flags.shape, flags.dtype)
            self.event = torch.cuda.Event()
        self.start(flags)

    def start(self, flags: Tensor) -> None:
        """Copies other flags of the same shape. The former copy must have arrived."""
        with torch.cuda.device(flags.device):
            self.host.copy_(flags, non_blocking=True)
            self.event.record(torch.cuda.current_stream(flags.device))

    def arrived(self) -> bool:
        return bool(self.event.query())

    def read(self) -> Any:
        self.event.synchronize()
        return self.host.tolist()


def pinned(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory of the host that a GPU writes without the host's help."""
    return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)


class GpuCopies:
    """Makes copies in buffers that are used again: the allocation of pinned memory may wait for the GPU."""

    def __init__(self, new: Callable[[Tensor], CopyFromGpu] = CopyFromGpu) -> None:
        self.new = new
        self.made: dict[object, deque[CopyFromGpu]] = {}

    def __call__(self, flags: Tensor) -> CopyFromGpu:
        key = (tuple(flags.shape), flags.dtype, flags.device)
        made = self.made.setdefault(key, deque())
        if len(made) <= MOST_ON_THE_WAY:
            copy = self.new(flags)
        else:
            copy = made.popleft()
            # Read already, or dropped: then a later copy has arrived, and nothing waits here.
            copy.event.synchronize()
            copy.start(flags)
        made.append(copy)
        return copy


class AsyncPoll:
    """Flags that are copied to the host without waiting for them; at most `MOST_ON_THE_WAY` at a time."""

    def __init__(self, copy: Callable[[Tensor], Copy] | None = None) -> None:
        self.copy = GpuCopies() if copy is None else copy
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
