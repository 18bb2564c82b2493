"""The recorded steps of one answer: they explain the states and the tokens that one step has from others.

Not here: the explanation of one step (`reasons`), the steps themselves (`trace_step`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..trace_step import TraceStep
from .position_reasons import UNCHANGED
from .reasons import ExplainedStep
from .why import Why, WhyLine


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRun:
    """All steps of one answer. They share it, and their records do not refer to it.

    `records`: of the steps in order, `None` for a step without values; `texts`: of ids; `end`: the last
    position of the text, `None` if the text does not end before the last position; `whole`: whether no step
    follows the last one.
    """

    records: Sequence[ExplainedStep | None]
    texts: Mapping[int, str]
    end: int | None = None
    whole: bool = True

    def why(self, step: int, position: int, outcome: str | None = None) -> Why | None:
        """The explanation of a position in a step; `None` for a step without values. `outcome`: the outcome
        in the trace, which counts where the values were computed again.
        """
        record = self.records[step]
        if record is None:
            return None
        why = record.why(position, self.texts, self.records[:step])
        outcome = outcome or why.outcome
        is_last = self.whole and step == len(self.records) - 1
        last = self._end_lines(record, position, outcome) if is_last else ()
        return replace(why, outcome=outcome, lines=(*why.lines, *last))

    def _end_lines(self, record: ExplainedStep, position: int, outcome: str) -> tuple[WhyLine, ...]:
        """Why no step after the last one wrote a position."""
        if self.end is not None and position > self.end:
            template = "the text ends at position {}, and no step follows this one"
            return (WhyLine(0, template, (str(self.end),), decides=True),)
        at = position - record.start
        inside = 0 <= at < len(record.canvas)
        if outcome == UNCHANGED and inside and record.canvas[at] == record.mask_id:
            return (WhyLine(0, "no step follows this one, so the position stays masked", decides=True),)
        return ()


def end_of(ids: Sequence[int], length: int, eos_id: int | None) -> int | None:
    """The last position of the text of an answer with these ids: its end-of-text token, or its last id if a
    stop string cut it. `None` if it has all `length` positions.
    """
    if eos_id is not None and eos_id in ids[: length - 1]:
        return ids.index(eos_id)
    return len(ids) - 1 if len(ids) < length else None


def link(steps: Sequence[TraceStep], texts: Mapping[int, str], end: int | None) -> None:
    """Lets the steps of an answer explain each other."""
    records = [step.record if isinstance(step.record, ExplainedStep) else None for step in steps]
    if any(record is not None for record in records):
        run = RecordedRun(records, texts, end)
        for place, step in enumerate(steps):
            step.run, step.place = run, place
