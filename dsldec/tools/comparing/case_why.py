"""Why do two policies differ on a case? The parts of the step that differs, on the numbers of the case.

Not here: a difference on prompts (`first_difference`), the text of a case (`case_text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...source import Source
from ..cases import read_cases
from ..explaining.case_run import of_case
from ..explaining.explained_run import ExplainedRun
from ..replay import Replayed
from .case_text import ComparedSide, ToldApart
from .first_difference import reason_lines

VERBS = {"commit": "commits it", "edit": "edits it", "revoke": "revokes it"}


def case_why(shown: ToldApart, sides: Sequence[ComparedSide]) -> Iterator[str]:
    """Why the step that differs does so, at its first position, as comments for a file of cases."""
    played = shown.played
    number = played.differs_at
    if number is None:
        return
    steps = (played.a[number], played.b[number])
    position = _position(*steps)
    if position is None:
        return
    yield f"# why, at position {position} in step {number}:"
    for side, text, step in zip(sides, shown.cases, steps, strict=True):
        why = explained_case(text, side).why(number, position)
        verb = next(
            (words for kind, words in VERBS.items() if position in step.written(kind)), "does not write it"
        )
        if why is not None:
            for line in reason_lines(f"{side.title} {verb}", why):
                yield f"# {line}"


def explained_case(text: str, side: ComparedSide) -> ExplainedRun:
    """The steps of the case that a policy passes, with their values."""
    cases, _ = read_cases(Source(text, "compare.cases"))
    return of_case(cases[0], side.policy)


def _position(a: Replayed, b: Replayed) -> int | None:
    """The first position where the canvases differ."""
    pairs = enumerate(zip(a.after, b.after, strict=True))
    return next((at for at, (one, other) in pairs if one != other), None)
