"""The record of one step of one row, and the last write at each position that follows from the records.

Needs no torch. Not here: how steps are recorded (`runtime.trace`), the steps of a whole prompt
(`trajectory`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from .diagnostics import Diagnostic, UsageError
from .shown_in_notebooks import ShownInNotebooks

NEVER = -1  # the step of a position that no step wrote
NO_RECORD = 'decode with `trace="values"`; if recording fails, the warning W0560 says why'
DIGITS = 4  # significant digits of a confidence in a file


def rounded(confidence: float | None) -> float | None:
    """A confidence as it is in a file."""
    return None if confidence is None else float(f"{confidence:.{DIGITS}g}")


class Explains(Protocol):
    """The recorded values of a step, see `explained.step_record`."""

    def why(self, position: int) -> Any: ...


class ExplainsSteps(Protocol):
    """The recorded values of all steps of an answer, see `explained.recorded_run`."""

    def why(self, step: int, position: int, outcome: str | None = None) -> Any: ...


@dataclass(slots=True)
class TraceStep(ShownInNotebooks):
    """One step of one row. Positions count from 0, the first one after the prompt.

    `phase`: the phase of the step; `committed`, `revoked`, `edited`: positions; `forward` counts from 0, and
    an accepted draft shares it with the step before; `observations`: `conf`, `entropy`, ... of the denoiser
    at these positions, by position; `ids`: the id written at each committed or edited position; `removed`:
    the id that was at each revoked or edited position; `branch`: the number of the candidate that went on;
    `record`: the values of the policy's expressions, with `trace="values"`; `run`: those of all steps of the
    answer, with its number `place` among them.
    """

    phase: str
    committed: list[int]
    revoked: list[int]
    edited: list[int]
    forward: int
    observations: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    ids: Mapping[int, int] = field(default_factory=dict)
    removed: Mapping[int, int] = field(default_factory=dict)
    branch: int = 0
    record: Explains | None = field(default=None, repr=False, compare=False)
    run: ExplainsSteps | None = field(default=None, repr=False, compare=False)
    place: int = field(default=0, repr=False, compare=False)

    def why(self, position: int) -> Any:
        """Why the step wrote a position, or did not: an `explained.why.Why`. Raises `UsageError` (E0560)
        without recorded values.
        """
        if self.record is None:
            message = "this step has no recorded values, so nothing explains it"
            raise UsageError(Diagnostic("E0560", message, help=NO_RECORD))
        if self.run is None:
            return self.record.why(position)
        return self.run.why(self.place, position, self._outcome(position))

    def _outcome(self, position: int) -> str:
        """The outcome of a position, in the words of `explained.why.Why`."""
        words = {"committed": self.committed, "revoked": self.revoked, "edited": self.edited}
        return next((word for word, positions in words.items() if position in positions), "unchanged")

    @property
    def confidence(self) -> Mapping[int, float]:
        """The denoiser's probability of the id at each position, in the logits of this step."""
        return self.observations.get("conf", {})


class Write(NamedTuple):
    """One id written at one position: its step, and its confidence, `None` if it was not recorded."""

    step: int
    id: int
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Logprobs:
    """The confidence of each generated token, one entry a position.

    `confidence`: the denoiser's probability of the token in the step that wrote it, of the logits that the
    policy got. It is no probability of the token in the finished text. `None` for a token that no step wrote:
    given text, or ids after the end of the text. `step`: the step that wrote the token, from 0 on; -1 where
    `confidence` is `None`.
    """

    confidence: list[float | None]
    step: list[int]

    @property
    def logprob(self) -> list[float | None]:
        """The natural logarithm of each confidence; -inf for a probability that float32 rounds to 0."""
        return [None if one is None else (math.log(one) if one > 0 else -math.inf) for one in self.confidence]

    def line(self) -> dict[str, list[Any]]:
        """The field of a results file."""
        return {"confidence": [rounded(one) for one in self.confidence], "step": self.step}


def last_writes(steps: Iterable[TraceStep]) -> dict[int, Write]:
    """The last write at each position that is written after these steps."""
    writes: dict[int, Write] = {}
    for number, step in enumerate(steps):
        for at in step.revoked:
            del writes[at]
        for at, id_ in step.ids.items():
            writes[at] = Write(number, id_, step.confidence.get(at))
    return writes


def logprobs_of(steps: Iterable[TraceStep], ids: Sequence[int]) -> Logprobs:
    """The confidences of a row's generated ids. An id that the last write at its position did not write
    (after the end of the text) has none.
    """
    writes = last_writes(steps)
    last = [writes.get(at) for at in range(len(ids))]
    lasting = [None if one is None or one.id != id_ else one for one, id_ in zip(last, ids, strict=True)]
    return Logprobs(
        [None if one is None else one.confidence for one in lasting],
        [NEVER if one is None else one.step for one in lasting],
    )
