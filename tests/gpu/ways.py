"""The ways in which a decode runs on a GPU: each call alone, a compiled step, or a forward and its step as one
CUDA graph.

Not here: the graphs (`dsldec.runtime.captured_loop`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

GRAPH = "graph"  # ends the name of a way with graphs
RECORDS = importlib.util.find_spec("dsldec.runtime.captured_loop") is not None


def ways(backends: tuple[str, ...]) -> tuple[str, ...]:
    """The backends, and each again with graphs, as far as dsldec records any."""
    return (*backends, *(f"{backend} {GRAPH}" for backend in backends if RECORDS))


def backend_of(way: str) -> str:
    return way.removesuffix(f" {GRAPH}")


def is_graph(way: str) -> bool:
    return way.endswith(GRAPH)


@contextmanager
def recording(denoiser: Any, way: str) -> Iterator[list[int]]:
    """Inside, the denoiser may be recorded if the way is one with graphs. Gives a list with an entry for each
    recording.
    """
    found: list[int] = []
    if not is_graph(way):
        yield found
        return
    from dsldec.backends.cuda_graphs import CudaRecorder

    original = CudaRecorder.record

    def record(recorder: Any, *work: Any, **how: Any) -> Any:
        made = original(recorder, *work, **how)
        found.append(len(found))
        return made

    denoiser.captures = True
    try:
        with mock.patch.object(CudaRecorder, "record", record):
            yield found
    finally:
        denoiser.captures = False
