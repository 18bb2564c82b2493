"""Which tasks do the embedded models learn? Examples of a task, and prompts that training never sees.

Not here: the wording of each task (`word_problems`, `sudoku`, `equations`), training (`dsldec.models.train`).
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from . import equations, sudoku, word_problems
from .example import Example, Score

__all__ = [
    "HELD_OUT_ONE_IN",
    "TASKS",
    "Example",
    "Score",
    "Task",
    "held_out",
    "is_held_out",
    "training_stream",
]

# One prompt in 32 is held out by a hash of its text, so no seed of the training stream can produce it.
HELD_OUT_ONE_IN = 32


@dataclass(frozen=True, slots=True)
class Task:
    """A task by name: `make` draws an example, `score` judges a decoded response to its prompt. `model`: the
    embedded model that learned it.
    """

    name: str
    make: Callable[[random.Random], Example]
    score: Callable[[Example, str], Score]
    model: str = "word_problems"


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        "word_problems": Task("word_problems", word_problems.make, word_problems.score),
        "sudoku": Task("sudoku", sudoku.make, sudoku.score),
        "equations": Task("equations", equations.make, equations.score, model="equations"),
    }
)


def is_held_out(prompt: str) -> bool:
    """Whether `prompt` belongs to the held-out prompts, which training never sees."""
    return zlib.crc32(prompt.encode()) % HELD_OUT_ONE_IN == 0


def training_stream(make: Callable[[random.Random], Example], rng: random.Random) -> Iterator[Example]:
    """Examples for training, without end: the results of `make`, without the held-out prompts."""
    while True:
        example = make(rng)
        if not is_held_out(example.prompt):
            yield example


def held_out(task: str, count: int, seed: int, without: Collection[Example] = ()) -> list[Example]:
    """`count` different held-out examples of `task`, with no prompt of the examples `without`."""
    rng = random.Random(f"held-out {task} {seed}")
    others = {example.prompt for example in without}
    found: dict[str, Example] = {}
    while len(found) < count:
        example = TASKS[task].make(rng)
        if is_held_out(example.prompt) and example.prompt not in others:
            found.setdefault(example.prompt, example)
    return list(found.values())
