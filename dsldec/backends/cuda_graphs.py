"""Work of a GPU that is recorded once and then launched as a whole: a CUDA graph. *Not measured on a GPU.*

A graph repeats the kernels of its recording, with the same addresses and the same numbers of the host. So its
inputs are buffers that are filled before each launch, and its results are buffers that the next launch writes
again. Nothing in the recorded code may read a value, and nothing of it runs again on the host. Not here: the
recorded work (`runtime.captured_round`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

log = logging.getLogger("dsldec")

WARM_UPS = 2  # calls before a recording: kernels are compiled, plans made and library handles opened
Made = TypeVar("Made")


class Recorder(Protocol):
    """Records and launches work on one device."""

    def warm_up(self, work: Callable[[], Made]) -> Made:
        """Runs the work several times, and returns its last result."""

    def record(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """The launch of the recorded work, and its results: buffers that have values after a launch. The work
        is not done now.
        """


class CudaRecorder:
    """All recordings share one pool of memory. This is right only if the results of a launch are read before
    the next launch of any of them.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        with torch.cuda.device(device):
            self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], Made]) -> Made:
        # On a side stream, as torch asks for: the recording uses that stream too.
        with torch.cuda.device(self.device):
            current = torch.cuda.current_stream()
            self.stream.wait_stream(current)
            with torch.cuda.stream(self.stream):
                made = work()
                for _ in range(WARM_UPS - 1):
                    made = work()
            current.wait_stream(self.stream)
            return made

    def record(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        with torch.cuda.device(self.device):
            graph = torch.cuda.CUDAGraph()
            # Other threads may use the GPU during a recording. torch leaves the stream of a recording only if
            # it succeeds.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(
                    graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
                ),
            ):
                made = work()

        def launch() -> None:
            with torch.cuda.device(self.device):
                graph.replay()

        return launch, made


class Buffers:
    """Tensors at fixed addresses. `now` has the buffers by name."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        # Buffers are written in and out of inference mode.
        with torch.inference_mode(False), torch.no_grad():
            self.now = {name: torch.empty_like(value).copy_(value) for name, value in values.items()}
        # The values that the buffers were filled from. They stay alive, so that another tensor is never taken
        # for one of them.
        self._from = dict(values)

    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Copies the values that are not in the buffers yet. A value that was given before has not changed:
        tensors of a batch are never written in place.
        """
        new = [
            name
            for name, value in values.items()
            if value is not self.now[name] and value is not self._from[name]
        ]
        copy([self.now[name] for name in new], [values[name] for name in new])
        self._from.update({name: values[name] for name in new})

    def follow(self, values: Mapping[str, Tensor]) -> None:
        """Copies values that were computed from the buffers into them. For a recording."""
        owners = {value.untyped_storage().data_ptr(): name for name, value in self.now.items()}

        def safe(name: str, value: Tensor) -> Tensor:
            owner = owners.get(value.untyped_storage().data_ptr(), name)
            # A view of another buffer, which may be written first.
            return value if owner == name else value.clone()

        new = {name: safe(name, value) for name, value in values.items()}
        changed = [name for name, value in new.items() if value is not self.now[name]]
        copy([self.now[name] for name in changed], [new[name] for name in changed])

    def written(self, names: Sequence[str]) -> None:
        """A launch has written these buffers: their values are new."""
        self._from.update({name: self.now[name] for name in names})


def copy(targets: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Copies values into targets of the same shapes, in one launch for each dtype."""
    by_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for target, value in zip(targets, values, strict=True):
        into, out_of = by_dtype.setdefault(target.dtype, ([], []))
        into.append(target)
        out_of.append(value)
    for into, out_of in by_dtype.values():
        torch._foreach_copy_(into, out_of)


def form(values: Mapping[str, Tensor]) -> tuple[object, ...]:
    """The names, shapes and dtypes of tensors, and their devices: a recording holds for one form."""
    return tuple((name, x.shape, x.dtype, x.device) for name, x in values.items())
