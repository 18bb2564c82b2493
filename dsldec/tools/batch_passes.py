"""In which chunks do workers decode the prompts, and which prompts are decoded again after a worker died?

A pass gives every open prompt to a worker, in chunks. A worker sends each result as soon as it has it. If the
worker dies, only the unfinished prompts of its chunk are lost: the next pass decodes them, in smaller chunks.
So a prompt that kills its worker is soon alone in its chunk. After some tries it gets an error, and all other
prompts get their results. Not here: Ray (`batch_pool`), the worker (`batch_worker`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..diagnostics import Diagnostic, UsageError
from .batch_events import Begun, Chunk, Event, Finished, Ready, Said, Stopped
from .prompts import Prompt
from .results import Result

# Rows of a batch in a chunk, at most: large enough that finished rows are refilled, small enough that the
# last chunks end together.
LARGEST = 16
SMALLER = 4  # chunks of the next pass are smaller by this factor
TRIES = 3  # of a prompt whose worker dies
FRUITLESS = 3  # passes in which every worker dies before it decodes


class Pool(Protocol):
    """Runs the chunks of a pass on its workers."""

    workers: int

    def run(self, chunks: Sequence[Chunk]) -> Iterator[Event]:
        """The events of all workers as they arrive. Chunks are lost where a worker dies; too many deaths end
        the pass early.
        """
        ...


def chunked(prompts: Chunk, workers: int, batch: int, largest: int) -> list[Chunk]:
    """The prompts in chunks, each at most `largest` long. The first are the longest, so that all workers end
    at about the same time; none but the last is shorter than `batch`, unless `largest` is.
    """
    chunks, at = [], 0
    while at < len(prompts):
        fair = -(-(len(prompts) - at) // (2 * workers))
        size = max(1, min(largest, max(batch, fair)))
        chunks.append(prompts[at : at + size])
        at += size
    return chunks


@dataclass
class Passes:
    """Decodes prompts on a pool, pass by pass. `batch`: rows that a worker decodes side by side."""

    pool: Pool
    work: Sequence[Prompt]
    batch: int
    tries: dict[int, int] = field(default_factory=dict)
    restarted: int = 0  # workers that replaced a dead one
    processes: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._open = dict(enumerate(self.work))
        self._fruitless = 0

    def events(self) -> Iterator[Event]:
        """The events, each prompt finished once. Raises `UsageError` (E0462) if no worker ever begins, and
        the error of a worker that cannot decode at all.
        """
        largest = LARGEST * self.batch
        while self._open:
            chunks = chunked([*self._open.items()], self.pool.workers, self.batch, largest)
            yield from self._passed(chunks)
            largest = max(1, largest // SMALLER)

    def _passed(self, chunks: Sequence[Chunk]) -> Iterator[Event]:
        begun: set[int] = set()
        alone = {chunk[0][0] for chunk in chunks if len(chunk) == 1}
        for event in self.pool.run(chunks):
            match event:
                case Stopped(error):
                    raise error
                case Ready(process):
                    self.restarted += len(self.processes) >= self.pool.workers
                    self.processes.add(process)
                case Begun(places):
                    begun |= set(places)
                case Finished(place) if self._open.pop(place, None) is None:
                    continue  # a chunk that ran twice
                case Finished() | Said():
                    pass
            yield event
        self._require_fruit(bool(begun))
        yield from self._given_up(begun & set(self._open), alone)

    def _require_fruit(self, begun: bool) -> None:
        self._fruitless = 0 if begun else self._fruitless + 1
        if self._fruitless >= FRUITLESS:
            message = f"all workers died {FRUITLESS} times while they loaded the model"
            help = "memory is the usual reason: fewer `--workers`, or a smaller `--dtype`; `DSLDEC_DEBUG=1` shows the log of Ray"
            raise UsageError(Diagnostic("E0462", message, help=help))

    def _given_up(self, lost: set[int], alone: set[int]) -> Iterator[Event]:
        """Counts the tries of the lost prompts, and gives an error to each that failed alone too often."""
        for place in sorted(lost):
            self.tries[place] = self.tries.get(place, 0) + 1
            if place in alone and self.tries[place] >= TRIES:
                yield Finished(place, Result(self._open.pop(place), error=_killed(self.tries[place])))


def _killed(tries: int) -> Diagnostic:
    message = f"the worker died {tries} times while it decoded this prompt, at last with this prompt alone"
    help = (
        "decode it alone with `dsldec run`: memory is the usual reason; a smaller `--gen-length` needs less"
    )
    return Diagnostic("E0464", message, help=help)
