"""The floor under the accuracy: `accuracy=0.95`, or `accuracy=0.98x` of the baseline's accuracy.

Not here: whether the floor holds on prompts that the search has not seen (`held_out`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from .. import quoted

EXAMPLE = "`--floor accuracy=0.95`, or `--floor accuracy=0.98x` for 0.98 times the baseline's accuracy"
TINY = 1e-9  # 0.98 times a share of right prompts is rounded
_FLOOR = re.compile(r"\s*(\w+)\s*=\s*(\d{0,9}(?:\.\d{0,12})?)\s*(x|%)?\s*")


@dataclass(frozen=True, slots=True)
class AccuracyFloor:
    """The least accuracy of a setting. `relative`: `share` is a factor of the baseline's accuracy."""

    share: float
    relative: bool

    def accuracy(self, baseline: float) -> float:
        """The least accuracy, where the baseline has this one on the same prompts."""
        return self.share * baseline if self.relative else self.share

    def __str__(self) -> str:
        return f"accuracy={self.share:g}{'x' * self.relative}"


def floor_of(text: str) -> AccuracyFloor:
    """The floor in a text of the user. Raises `UsageError` (E0530)."""
    match = _FLOOR.fullmatch(text)
    if match is None or match[2] in ("", "."):
        raise UsageError(Diagnostic("E0530", f"{quoted(text)} is no floor", help=EXAMPLE))
    name, share, unit = match[1], float(match[2]), match[3]
    if name != "accuracy":
        message = f"a floor is one of the accuracy, not of {quoted(name)}"
        raise UsageError(Diagnostic("E0530", message, help=EXAMPLE))
    if unit == "%":
        help = f"`--floor accuracy={share / 100:g}`"
        raise UsageError(Diagnostic("E0530", f"the floor {quoted(text)} is a percentage", help=help))
    if not 0 < share <= 1:
        of = "a factor" if unit else "an accuracy"
        message = f"the floor {quoted(text)} is {of}, and these lie above 0 and up to 1"
        raise UsageError(Diagnostic("E0530", message, help=EXAMPLE))
    return AccuracyFloor(share, unit == "x")
