"""The steps of one answer with their records: of a trajectory, or of a case.

Not here: which answer the user means (`sources`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...explained.position_reasons import outcome_of
from ...explained.reasons import ExplainedStep
from ...explained.recorded_run import RecordedRun, end_of
from ...explained.value_texts import id_text
from ...explained.why import Why
from ...trajectory import Trajectory


@dataclass(frozen=True, slots=True)
class ExplainedRun:
    """The steps of one answer.

    `records`: of the steps, `None` for a step without values; `canvases`: the ids of all positions before the
    first step, and after each step; `texts`: of ids; `end`: the last position of the text, `None`
    if it has all; `whole`: whether no step follows the last one.
    """

    title: str
    records: Sequence[ExplainedStep | None]
    canvases: Sequence[Sequence[int]]
    texts: Mapping[int, str]
    mask_id: int
    end: int | None = None
    whole: bool = True

    @property
    def length(self) -> int:
        return len(self.canvases[0])

    def written(self, step: int) -> list[int]:
        """The positions that a step changed."""
        pairs = enumerate(zip(self.canvases[step], self.canvases[step + 1], strict=True))
        return [position for position, (before, after) in pairs if before != after]

    def last_write(self, position: int) -> int | None:
        """The last step that wrote a position."""
        steps = range(len(self.records) - 1, -1, -1)
        return next((step for step in steps if position in self.written(step)), None)

    def why(self, step: int, position: int) -> Why | None:
        """The explanation; `None` for a step without values."""
        before, after = (self.canvases[at][position] for at in (step, step + 1))
        outcome = outcome_of(before, after, self.mask_id)
        return RecordedRun(self.records, self.texts, self.end, self.whole).why(step, position, outcome)

    def token(self, id_: int) -> str:
        return id_text(id_, self.mask_id, self.texts)


def of_trajectory(title: str, trajectory: Trajectory) -> ExplainedRun:
    """The run of a trajectory with recorded values."""
    begin = len(trajectory.prompt_ids)
    records = [step.record if isinstance(step.record, ExplainedStep) else None for step in trajectory.steps]
    canvases = [canvas[begin:] for canvas in trajectory.canvases()]
    end = end_of(trajectory.ids, trajectory.length, trajectory.eos_id)
    return ExplainedRun(title, records, canvases, trajectory.tokens, trajectory.mask_id, end)


def deciding(why: Why) -> Iterator[str]:
    """The texts of the lines that decide."""
    yield from (line.text for line in why.lines if line.decides)
