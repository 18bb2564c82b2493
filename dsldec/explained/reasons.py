"""From the values of a step to the lines that explain one position.

Not here: the values (`step_record`), the form of an explanation (`why`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from .part_values import PartValues
from .phase_reasons import why_phase
from .position_reasons import why_position
from .step_record import StepRecord
from .why import Why, WhyLine


class ExplainedStep(StepRecord):
    """The values of one step, and why it wrote a position, or did not. A trace has one in each
    `TraceStep.record`.
    """

    __slots__ = ()

    def why(
        self,
        position: int,
        texts: Mapping[int, str] = MappingProxyType({}),
        earlier: Sequence[StepRecord | None] = (),
    ) -> Why:
        """The explanation of one position, 0 the first after the prompt.

        `texts`: of ids; an id without a text is shown as a number. `earlier`: the records of the steps before
        this one, in order; with them, a state that an earlier step set is explained in that step.
        """
        return why_position(_values_of(self), position, texts, earlier)

    def why_phase(self, texts: Mapping[int, str] = MappingProxyType({})) -> tuple[WhyLine, ...]:
        """Why this phase ran, why the row left it or stayed, and whether the window is full."""
        return why_phase(_values_of(self), texts)


# A caller explains many positions of one step, one after the other. Records compare by identity.
@lru_cache(maxsize=2)
def _values_of(record: StepRecord) -> PartValues:
    return PartValues(record)
