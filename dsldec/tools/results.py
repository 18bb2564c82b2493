"""The results of prompts: one for each prompt, an answer or the reason why there is none.

Not here: the file that stores them (`results_file`), decoding (`run`), the terminal (`live`, `displays`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..diagnostics import Diagnostic
from ..trace_step import Logprobs
from ..trajectory import Trajectory
from .prompts import Prompt

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a prompt, or one of its samples, or why there is none. `ids` are the generated ones;
    `seconds` from its first forward to its end.

    `proposed`, `accepted`: drafts one step ahead of the next one, two steps, ...; empty where nothing is
    drafted. `logprobs`, `trajectory`: where they are wanted.
    """

    prompt: Prompt
    text: str = ""
    ids: tuple[int, ...] = ()
    forwards: int = 0
    rows: int = 0
    tokens: int = 0
    seconds: float = 0.0
    proposed: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()
    error: Diagnostic | None = None
    finish_reason: str = "length"
    logprobs: Logprobs | None = None
    trajectory: Trajectory | None = None

    @property
    def tokens_per_forward(self) -> float:
        return self.tokens / self.forwards if self.forwards else 0.0

    def line(self) -> dict[str, Any]:
        """The object written to a results file."""
        which = {"id": self.prompt.id} | ({"sample": self.prompt.sample} if self.prompt.n > 1 else {})
        if self.error is not None:
            why = f"{self.error.code}: {self.error.message}"
            line = which | {"error": f"{why} ({self.error.help})" if self.error.help else why}
            return line | ({"ids": list(self.ids)} if self.ids else {})  # the tokenizer could not decode them
        return {
            **which,
            "prompt" if self.prompt.messages is None else "messages": self.prompt.asked,
            "text": self.text,
            "finish_reason": self.finish_reason,
            "ids": list(self.ids),
            "forwards": self.forwards,
            "rows": self.rows,
            "tokens": self.tokens,
            "tokens_per_forward": round(self.tokens_per_forward, 4),
            "seconds": round(self.seconds, 4),
            **({"proposed": list(self.proposed), "accepted": list(self.accepted)} if self.proposed else {}),
            **({} if self.logprobs is None else {"logprobs": self.logprobs.line()}),
        }


class InOrder(Generic[T]):
    """Takes things in any order, each with its place from 0, and gives them back in the order of their
    places.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, T] = {}
        self._next = 0

    def put(self, place: int, thing: T) -> None:
        self._waiting[place] = thing

    def ready(self) -> Iterator[T]:
        """The things before the first missing one."""
        while self._next in self._waiting:
            self._next += 1
            yield self._waiting.pop(self._next - 1)

    def rest(self) -> list[T]:
        """All remaining things, also behind a missing one."""
        rest = [self._waiting[place] for place in sorted(self._waiting)]
        self._waiting.clear()
        return rest
