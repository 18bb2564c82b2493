"""Which prompts calibrate the search, and which ones are held out from it?

Not here: the prompts of a task (`evaluation.tasks`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ...diagnostics import Diagnostic, UsageError
from ..differences import digest
from ..evaluation.problems import Problem

FEWEST = 2  # prompts of each part


@dataclass(frozen=True, slots=True)
class PromptSplit:
    """`calibration`: the prompts of the search; `held_out`: of the report. No prompt is in both."""

    calibration: tuple[Problem, ...]
    held_out: tuple[Problem, ...]

    @property
    def noted(self) -> str:
        """The calibration prompts in a few characters, for a file that is resumed."""
        texts = [[problem.prompt.asked, problem.answers, problem.test] for problem in self.calibration]
        return f"{len(texts)} prompts {digest(json.dumps(texts))}"


def split_of(
    problems: Sequence[Problem], count: int | None, seed: int, test: Sequence[Problem] | None = None
) -> PromptSplit:
    """The first `count` problems of a shuffle calibrate; by default half of them.

    The others are held out. With `test`, these problems are held out instead, and by default all of
    `problems` calibrate. A held-out problem with the text of a calibration prompt is left out. Raises
    `UsageError` (E0533) for too few.
    """
    shuffled = [*problems]
    random.Random(seed).shuffle(shuffled)
    most = len(shuffled) - (FEWEST if test is None else 0)
    if count is None:
        count = len(shuffled) if test is not None else len(shuffled) // 2
    if count > most or count < FEWEST:
        message = f"{count} of {len(shuffled)} prompts cannot calibrate: the report needs {FEWEST} others"
        if count < FEWEST:
            message = f"{count} of {len(shuffled)} prompts cannot calibrate: these are too few"
        help = f"`--calibration {max(FEWEST, len(shuffled) // 2)}`"
        if most < FEWEST:
            help = f"a search needs {2 * FEWEST} prompts at least; a hundred say more"
        raise UsageError(Diagnostic("E0533", message, help=help))
    calibration = shuffled[:count]
    seen = {_key(problem) for problem in calibration}
    others = shuffled[count:] if test is None else test
    held_out = [problem for problem in others if _key(problem) not in seen]
    if len(held_out) < FEWEST:
        message = "the held-out prompts are the calibration prompts again"
        raise UsageError(Diagnostic("E0533", message, help="give the task prompts with other texts"))
    return PromptSplit(tuple(calibration), tuple(held_out))


def _key(problem: Problem) -> str:
    asked = problem.prompt.asked
    return asked.strip() if isinstance(asked, str) else json.dumps(asked)
