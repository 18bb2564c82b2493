"""In which chunks do workers decode the prompts, and which prompts are decoded again after a worker died?

A pass gives every open prompt to a worker, in chunks. A worker sends each result as soon as it has it. In
the first pass, Ray starts a dead worker again with the same chunk, once. If it dies again, the unfinished
prompts of the chunk are lost: the next pass decodes them, in smaller chunks. So a prompt that kills its
worker is soon alone in its chunk. After some tries it gets an error, and all other prompts get their results.
Not here: Ray (`batch_pool`), the worker (`batch_worker`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..diagnostics import Diagnostic, UsageError
from .batch_events import Begun, CannotDecode, Chunk, Finished, Ready, WorkerEvent, WorkerSaid
from .prompts import Prompt
from .results import Result

# Rows of a batch in a chunk, at most: large enough that finished rows are refilled, small enough that the
# last chunks end together.
LARGEST = 8
SMALLER = 8  # chunks of the next pass are smaller by this factor
RETRIES = 1  # of a chunk in the first pass
TRIES = 2  # passes with a prompt alone in its chunk, whose worker dies
FRUITLESS = 2  # passes in which every worker dies before it decodes


class Pool(Protocol):
    """Runs the chunks of a pass on its workers. `actor`: the name of their class in Ray."""

    workers: int
    actor: str

    def run(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        """The events of all workers as they arrive. A chunk whose worker dies is tried again, at most
        `retries` times, and may give some events twice. Too many lost chunks end the pass early.
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
    """Decodes prompts on a pool, pass by pass.

    `batch`: rows that a worker decodes side by side. `ready`: workers that have loaded the model in this
    pass; `restarted`: the ones that replaced a dead worker.
    """

    pool: Pool
    work: Sequence[Prompt]
    batch: int
    tries: Counter[int] = field(default_factory=Counter)
    ready: int = 0
    restarted: int = 0

    def __post_init__(self) -> None:
        self._open = dict(enumerate(self.work))
        self._fruitless = 0

    def events(self) -> Iterator[WorkerEvent]:
        """The events, each prompt finished once. Raises `UsageError` (E0472) if no worker ever begins, and
        the error of a worker that cannot decode at all.
        """
        largest, retries = LARGEST * self.batch, RETRIES
        while self._open:
            chunks = chunked([*self._open.items()], self.pool.workers, self.batch, largest)
            yield from self._passed(chunks, retries)
            largest, retries = max(1, largest // SMALLER), 0

    def _passed(self, chunks: Sequence[Chunk], retries: int) -> Iterator[WorkerEvent]:
        begun: set[int] = set()
        self.ready = 0
        alone = {chunk[0][0] for chunk in chunks if len(chunk) == 1}
        for event in self.pool.run(chunks, retries):
            match event:
                case CannotDecode(error):
                    raise error
                case Ready():
                    self.restarted += self.ready >= min(self.pool.workers, len(chunks))
                    self.ready += 1
                case Begun(places):
                    begun |= set(places)
                case Finished(place) if self._open.pop(place, None) is None:
                    continue  # a chunk that ran twice
                case Finished() | WorkerSaid():
                    pass
            yield event
        self._require_fruit(bool(begun))
        yield from self._given_up(begun & set(self._open), alone)

    def _require_fruit(self, begun: bool) -> None:
        self._fruitless = 0 if begun else self._fruitless + 1
        if self._fruitless >= FRUITLESS:
            message = f"all workers died in {FRUITLESS} passes while they loaded the model"
            help = "memory is the usual reason: fewer `--workers`, or a smaller `--dtype`; `DSLDEC_DEBUG=1` shows the log of Ray"
            raise UsageError(Diagnostic("E0472", message, help=help))

    def _given_up(self, lost: set[int], alone: set[int]) -> Iterator[WorkerEvent]:
        """Gives an error to each lost prompt that was alone with its worker too often."""
        for place in sorted(lost & alone):
            self.tries[place] += 1
            if self.tries[place] >= TRIES:
                yield Finished(place, Result(self._open.pop(place), error=_killed()))


def _killed() -> Diagnostic:
    message = f"the worker died each time it decoded this prompt, {TRIES} times with this prompt alone"
    help = (
        "decode it alone with `dsldec run`: memory is the usual reason; a smaller `--gen-length` needs less"
    )
    return Diagnostic("E0474", message, help=help)
