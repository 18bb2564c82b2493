"""Timing, captured graphs, launches and waits on a GPU, each with a form for a CPU that only tries the code.

Not here: which calls are measured (`bandwidth`, `launches`, `share`, `throughput`), ratios of several calls
(`dsldec.tools.rounds`).
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WARM_UPS = 3
SYNCHRONIZING = "called a synchronizing"  # begins torch's warning about a wait
READS_A_VALUE = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select")
# Of the trace of torch's profiler.
KERNELS, COPIES, OF_HOST = ("kernel",), ("gpu_memcpy", "gpu_memset"), ("cuda_runtime", "cuda_driver")
LAUNCHES = ("launch", "memcpy", "memset")  # in the names of calls that give the GPU work


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def captured(call: Callable[[], object], device: torch.device) -> tuple[Callable[[], object], str]:
    """The call as a graph whose replay costs the host next to nothing, and how it runs: `graph`, or `calls`
    if it cannot be captured. The call runs a few times before.
    """
    if device.type != "cuda":
        call()
        return call, "calls"
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    torch.cuda.synchronize(device)
    graph = torch.cuda.CUDAGraph()
    try:
        # Only this thread's forbidden calls end the capture.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            kept = call()
    except RuntimeError as error:
        print(f"not captured: {error}")
        torch.cuda.synchronize(device)
        return call, "calls"
    replay = graph.replay

    def replayed() -> object:
        replay()
        return kept  # the graph writes into it

    return replayed, "graph"


@dataclass
class Launches:
    """`kernels` that ran, `copies` (and fills) of memory, `calls` of the host that launch, `graphs` among
    them, the names of the
    kernels, and `busy` seconds of the GPU. On a CPU: dispatched operations as kernels.
    """

    kernels: int = 0
    copies: int = 0
    calls: int = 0
    graphs: int = 0
    busy: float = 0.0
    names: Counter[str] = field(default_factory=Counter)


def launches(call: Callable[[], object], device: torch.device) -> Launches:
    """What one call gives the GPU to do."""
    if device.type != "cuda":
        with _Dispatched() as dispatched:
            call()
        total = sum(dispatched.names.values())
        return Launches(total, 0, total, dispatched.names)
    torch.cuda.synchronize(device)
    # Without the operations of the CPU, of which there are many.
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(file))
        return of_trace(json.loads(file.read_text(encoding="utf-8")))


def of_trace(trace: dict[str, Any]) -> Launches:
    """The launches in a trace of torch's profiler."""
    found = Launches()
    for event in trace["traceEvents"]:
        category, name = event.get("cat"), event.get("name", "")
        if category in KERNELS + COPIES:
            found.busy += event.get("dur", 0.0) / 1e6
        if category in KERNELS:
            found.kernels += 1
            found.names[name[:60]] += 1
        elif category in COPIES:
            found.copies += 1
            found.names[name[:60]] += 1
        elif category in OF_HOST and any(part in name.lower() for part in LAUNCHES):
            found.calls += 1
            found.graphs += "graphlaunch" in name.lower()
    return found


def busy_seconds(call: Callable[[], object], device: torch.device, times: int = 10) -> float:
    """Seconds that the GPU works for one call; on a CPU, the seconds of the call."""
    if device.type != "cuda":
        return host_seconds(call, device, times)
    return launches(lambda: [call() for _ in range(times)], device).busy / times


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[func.name()] += 1
        if MODE["waits"] and func.name().split(".")[0] in READS_A_VALUE:
            _pretend_to_wait()
        return func(*args, **(kwargs or {}))


# --- waits

MODE = {"waits": ""}  # on a CPU: as the mode of torch.cuda


def _pretend_to_wait() -> None:
    if MODE["waits"] == "error":
        raise RuntimeError(f"{SYNCHRONIZING} CUDA operation (pretended on a CPU)")
    warnings.warn(f"{SYNCHRONIZING} CUDA operation (pretended on a CPU)", stacklevel=4)


def set_waiting(mode: str, device: torch.device) -> str:
    """Waiting for the GPU is from now on: `default` (nothing happens), `warn` or `error`. Returns the mode
    before.
    """
    if device.type != "cuda":
        before, MODE["waits"] = MODE["waits"], "" if mode == "default" else mode
        return before or "default"
    number = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode(mode)
    return ("default", "warn", "error")[number]


@contextlib.contextmanager
def waiting_is(mode: str, device: torch.device) -> Iterator[None]:
    before = set_waiting(mode, device)
    try:
        yield
    finally:
        set_waiting(before, device)


@contextlib.contextmanager
def waits_noted(note: Callable[[], None], device: torch.device) -> Iterator[None]:
    """Inside, `note` is called at each wait for the GPU that is not an error."""

    def shown(message: Any, *args: Any, **kwargs: Any) -> None:
        if SYNCHRONIZING in str(message):
            note()

    watching = contextlib.nullcontext() if device.type == "cuda" else _Dispatched()
    with warnings.catch_warnings(), watching, waiting_is("warn", device):
        warnings.simplefilter("always")
        warnings.showwarning = shown
        yield


# --- time


def host_seconds(call: Callable[[], object], device: torch.device, times: int = 30) -> float:
    """Median seconds until the call returns, while the GPU has nothing else to do."""
    taken = []
    for _ in range(times):
        synchronize(device)
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    synchronize(device)
    return sorted(taken)[len(taken) // 2]
