"""One example of a task, and the two scores of a response to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, one good response, and the answer (a number, or the clues that a grid must keep)."""

    task: str
    prompt: str
    response: str
    answer: str


@dataclass(frozen=True, slots=True)
class Score:
    """`answer`: the final answer is right. `every_step`: every equation or cell before it is right too."""

    answer: bool
    every_step: bool
