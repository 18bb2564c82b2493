"""From the values of a step to the lines that explain one position.

Not here: the values (`step_record`), the form of an explanation (`why`).
"""

from __future__ import annotations

from .step_record import StepRecord
from .why import Why


class ExplainedStep(StepRecord):
    """The values of one step, and why it wrote a position, or did not. A trace has one in each
    `TraceStep.record`.
    """

    __slots__ = ()

    def why(self, position: int) -> Why:
        """The explanation of one position, 0 the first after the prompt."""
        raise NotImplementedError
