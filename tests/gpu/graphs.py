"""A recorder that behaves as CUDA graphs do, on a CPU: it repeats operations, not code.

It records every operation of torch with the tensors themselves. A launch does the operations again, on the
same tensors, and writes their results into the memory of the recorded results. So it shows what a real graph
would do with code that reads values of the host, or that takes a new tensor for its input. As on a GPU, a
recording does nothing: buffers that existed before keep their values, and results have no values until the
first launch. And as in one pool of memory, a launch destroys the results of all other recordings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Made = TypeVar("Made")
READS = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten._unique", "aten.equal")
# A tensor made of a list of the host: a copy that the host waits for. One number is not, as in `x[0] = 1`.
FROM_HOST = "aten.lift_fresh"


READING = frozenset("tolist item numpy cpu __bool__ __int__ __float__ __index__ __contains__".split())


class RecordingFailed(RuntimeError):
    """An operation that a GPU cannot record."""


@dataclass
class Operation:
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Tensor]

    def again(self) -> None:
        made = [
            one for one in tree_leaves(self.function(*self.args, **self.kwargs)) if isinstance(one, Tensor)
        ]
        for target, value in zip(self.results, made, strict=True):
            if target.data_ptr() != value.data_ptr() and target.numel():
                target.copy_(value)


@dataclass
class Recording(TorchDispatchMode):
    operations: list[Operation] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.own: set[int] = set()  # storages that were made during the recording
        self.alive: list[Tensor] = []
        self.saved: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = str(function), kwargs or {}
        if name.startswith(READS) or (name.startswith(FROM_HOST) and args[0].dim() and args[0].numel()):
            raise RecordingFailed(f"{name} in a recording")
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        schema = function._schema
        if schema.is_mutable:
            given = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | kwargs
            for argument in schema.arguments:
                if argument.alias_info is not None and argument.alias_info.is_write:
                    for one in tree_leaves(given.get(argument.name)):
                        self._save(one)
        made = function(*args, **kwargs)
        results = [one for one in tree_leaves(made) if isinstance(one, Tensor)]
        known = {one.untyped_storage().data_ptr() for one in tensors}
        for one in results:
            if one.untyped_storage().data_ptr() not in known:
                self.own.add(one.untyped_storage().data_ptr())
        self.alive += results
        self.operations.append(Operation(function, args, kwargs, results))
        return made

    def _save(self, one: Tensor) -> None:
        place = one.untyped_storage().data_ptr()
        if place not in self.own and place not in self.saved:
            whole = one.as_strided((one.untyped_storage().nbytes() // one.element_size(),), (1,), 0)
            self.saved[place] = whole, whole.clone()

    def undo(self) -> None:
        """Nothing was done: what was there has its values, what was made has none."""
        for whole, before in self.saved.values():
            whole.copy_(before)
        self.forget()

    def forget(self) -> None:
        """The results have no values."""
        for one in self.alive:
            if one.untyped_storage().data_ptr() in self.own and one.numel():
                one.fill_(float("nan") if one.is_floating_point() else one.dtype == torch.bool or 77)

    def again(self) -> None:
        for operation in self.operations:
            operation.again()


class NothingIsRead(TorchFunctionMode):
    """`tolist` is no operation of torch."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := getattr(function, "__name__", "")) in READING:
            raise RecordingFailed(f"`{name}` in a recording")
        return function(*args, **(kwargs or {}))


class RecorderOnCpu:
    """See `cuda_graphs.Recorder`. `recordings`, `launches`: their numbers; `fails`: recordings raise."""

    def __init__(self, device: torch.device | None = None, *, fails: bool = False) -> None:
        self.device, self.fails = device, fails
        self.made: list[Recording] = []
        self.launches = 0

    @property
    def recordings(self) -> int:
        return len(self.made)

    def warm_up(self, work: Callable[[], Made]) -> Made:
        work()
        return work()

    def record(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        if self.fails:
            raise RecordingFailed("operation not permitted when stream is capturing")
        recording = Recording()
        # transformers asks, and then reads no value.
        capturing = mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=True)
        with recording, NothingIsRead(), capturing:
            made = work()
        with torch.inference_mode():
            recording.undo()
        self.made.append(recording)

        def launch() -> None:
            self.launches += 1
            with torch.inference_mode():
                for other in self.made:
                    other.forget()
                recording.again()

        return launch, made
