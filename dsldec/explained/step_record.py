"""The values of one step of one row: every named value, and every part of every expression.

Shapes: T window positions. Not here: the trace of a step without its values (`trace_step`), how the values
are computed (`runtime`), explanations (`reasons`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..language import syntax
from .explained_policy import ExplainedPolicy
from .named_values import NamedValue, fired, named_values

RecordedValue = bool | int | float


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The likeliest ids at each position of the window, best first: T tuples each.

    `ids`: their ids; `probabilities`: between 0 and 1, of the logits that the step got.
    """

    ids: Sequence[Sequence[int]]
    probabilities: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """The values of one step; `reasons.ExplainedStep` also explains them.

    Positions count from 0, the first one after the prompt.

    Attributes:
        explained: The policy, the same for all steps of a run.
        step: The number of the step, from 0 on.
        phase: The index of the phase that ran.
        start: The window's first position.
        canvas: The T ids in the window before the step; MASK is `mask_id`.
        editable: Where the step may write, T entries.
        values: By the number of an operation of `explained.watched.program`: one value, or T values for an
            operation with a value for each position. NaN stands for no value. Only the operations that
            `explained.watched` names are here.
        mask_id: The id of MASK.
        candidates: The likeliest ids at each position.
        refused: The ids that a draft wrote where the step wrote something else, by position: the draft that
            this step refused. MASK where the draft wrote nothing.
        taken: The draft that the row went on from, because the condition of `accept` holds: its ids where the
            step wrote something else, by position. `None` if the row went on from the step.
        dropped: The number of further drafts that were refused with it.
        recomputed: Whether the values were computed apart from the step, and gave other writes. Only the
            rounding of a compiled step does this.
        scores: With `branch`, the score of each candidate of this step; NaN stands for no score.
    """

    explained: ExplainedPolicy
    step: int
    phase: int
    start: int
    canvas: Sequence[int]
    editable: Sequence[bool]
    values: Mapping[int, RecordedValue | Sequence[RecordedValue]]
    mask_id: int
    candidates: Candidates | None = None
    refused: Mapping[int, int] = field(default_factory=dict)
    dropped: int = 0
    recomputed: bool = False
    scores: Sequence[float] = ()
    taken: Mapping[int, int] | None = None

    @property
    def next(self) -> syntax.Next | None:
        """The `next` that decided the phase after this step, `None` if no condition of one holds."""
        return fired(self.explained, self.phase, self.values)

    def named(self) -> Mapping[str, NamedValue]:
        """The values by the names of the policy's text, in the order of the text. A state has its value
        before the step under its name, and the value that the step gave it under `set NAME`.
        """
        return named_values(self.explained, self.phase, self.values)

    @property
    def end(self) -> int:
        """The position after the window's last one."""
        return self.start + len(self.canvas)

    def value(self, operation: int, position: int) -> RecordedValue:
        """The value of an operation at a position inside the window."""
        value = self.values[operation]
        return value if isinstance(value, bool | int | float) else value[position - self.start]
