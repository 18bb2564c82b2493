"""The messages of a worker of `dsldec batch` to the driver: its start, results, lines to print, a failure.

An event travels as the pickle of one row of Ray Data. Not here: who sends them (`batch_worker`), who reads
them (`batch_passes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .prompts import Prompt
from .results import Result

# Prompts that one task of a worker decodes, each with its place in the run.
Chunk = Sequence[tuple[int, Prompt]]


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded the model, in `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Begun:
    """A worker begins to decode these prompts, by their places."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """A prompt has its result: an answer, or the reason why there is none."""

    place: int
    result: Result


@dataclass(frozen=True, slots=True)
class WorkerSaid:
    """A line that the worker would print: a warning, a choice."""

    line: str


@dataclass(frozen=True, slots=True)
class CannotDecode:
    """No prompt can be decoded. `error` is raised in the driver."""

    error: Exception


WorkerEvent = Ready | Begun | Finished | WorkerSaid | CannotDecode
