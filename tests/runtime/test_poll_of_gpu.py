"""The flags of a GPU are copied on the stream of their own device, into buffers that are used again.

A GPU that does not exist: its streams, events and copies write into a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from dsldec.runtime import poll
from dsldec.runtime.poll import MOST_ON_THE_WAY, AsyncPoll, CopyFromGpu, GpuCopies


@dataclass
class Flags:
    values: list[int]
    device: torch.device = field(default_factory=lambda: torch.device("cuda:1"))
    dtype: torch.dtype = torch.int64

    @property
    def shape(self) -> torch.Size:
        return torch.Size([len(self.values)])


class Gpu:
    """`queue`: the work of each stream, done when somebody waits for it. The current device is `cuda:0`."""

    def __init__(self) -> None:
        self.device, self.queue = torch.device("cuda:0"), dict[str, list[Any]]()
        self.buffers: list[Buffer] = []
        self.current: dict[torch.device, str] = {}

    @contextmanager
    def on(self, device: torch.device) -> Iterator[None]:
        before, self.device = self.device, torch.device(device)
        yield
        self.device = before

    def stream(self, device: torch.device | None = None) -> str:
        device = self.device if device is None else torch.device(device)
        return self.current.get(device, f"default stream of {device}")

    def launch(self, stream: str, work: Any) -> None:
        self.queue.setdefault(stream, []).append(work)

    def run(self, stream: str, until: Any) -> None:
        while not until():
            self.queue[stream].pop(0)()


class Buffer:
    def __init__(self, gpu: Gpu, shape: torch.Size) -> None:
        self.gpu, self.values = gpu, [-9] * shape[0]
        gpu.buffers.append(self)

    def copy_(self, flags: Flags, non_blocking: bool = False) -> None:
        assert non_blocking
        values = list(flags.values)
        # torch copies on the stream that is current on the device of the flags
        self.gpu.launch(self.gpu.stream(flags.device), lambda: setattr(self, "values", values))

    def tolist(self) -> list[int]:
        return self.values


class Event:
    gpu: Gpu

    def __init__(self) -> None:
        self.stream: str | None = None
        self.happened = False

    def record(self, stream: str | None = None) -> None:
        self.stream = self.gpu.stream() if stream is None else stream
        self.happened = False
        self.gpu.launch(self.stream, lambda: setattr(self, "happened", True))

    def query(self) -> bool:
        return self.happened

    def synchronize(self) -> None:
        assert self.stream is not None
        self.gpu.run(self.stream, self.query)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    gpu = Gpu()
    monkeypatch.setattr(torch.cuda, "device", gpu.on)
    monkeypatch.setattr(torch.cuda, "current_stream", gpu.stream)
    monkeypatch.setattr(torch.cuda, "Event", type("Event", (Event,), {"gpu": gpu}))
    monkeypatch.setattr(poll, "pinned", lambda shape, dtype: Buffer(gpu, shape))
    return gpu


def test_an_event_follows_its_copy_on_the_stream_of_the_flags(gpu: Gpu) -> None:
    copy = CopyFromGpu(Flags([1, 2, 3]))
    assert not copy.arrived()
    assert copy.read() == [1, 2, 3]
    assert gpu.queue == {"default stream of cuda:1": []}
    gpu.current[torch.device("cuda:1")] = "side stream"
    copy.start(Flags([4, 5, 6]))
    assert len(gpu.queue["side stream"]) == 2
    assert copy.read() == [4, 5, 6]
    assert gpu.device == torch.device("cuda:0")


def test_buffers_are_used_again_and_never_while_a_copy_is_on_its_way(gpu: Gpu) -> None:
    flags = AsyncPoll()
    read = [flags.later(Flags([n, 10 * n])) for n in range(20)]
    assert read == [None] * MOST_ON_THE_WAY + [[n, 10 * n] for n in range(20 - MOST_ON_THE_WAY)]
    assert flags.wait() == [19, 190]
    assert len(gpu.buffers) == MOST_ON_THE_WAY + 1
    assert flags.wait() is None
    assert [flags.later(Flags([n, 0])) for n in range(3)][-1] == [2 - MOST_ON_THE_WAY, 0]
    assert len(gpu.buffers) == MOST_ON_THE_WAY + 1


def test_a_dropped_copy_is_over_before_its_buffer_is_written_again(gpu: Gpu) -> None:
    copies = GpuCopies()
    first = [copies(Flags([n])) for n in range(MOST_ON_THE_WAY + 1)]
    again = copies(Flags([99]))
    assert again is first[0]
    assert again.read() == [99]
    assert copies(Flags([1, 2])) not in first  # another shape
    assert copies(Flags([7], torch.device("cuda:0"))) not in first  # another device


@pytest.mark.parametrize("inference", [False, True])
def test_a_buffer_outlives_the_mode_it_was_made_in(
    inference: bool, gpu: Gpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll, "pinned", lambda shape, dtype: torch.empty(tuple(shape), dtype=dtype))
    monkeypatch.setattr(Gpu, "launch", lambda gpu, stream, work: work())
    flags = torch.tensor([1, 2])
    with torch.inference_mode(inference):
        copy = CopyFromGpu(flags)
    copy.start(flags + 1)
    assert copy.read() == [2, 3]
