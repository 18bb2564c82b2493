"""Why do two policies differ on a case? The parts of the step that differs, on the numbers of the case.

Not here: a difference on prompts (`first_difference`), the text of a case (`case_text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from ...backends.reference import ReferenceResult, ReferenceRow
from ...explained.explained_policy import ExplainedPolicy
from ...explained.reasons import ExplainedStep
from ...explained.watched_operations import recorded_operations
from ...policy import Policy
from ..replay import IDS, MASK_ID, Missing, Replayed, Replaying, compute
from .case_text import ComparedSide
from .first_difference import reason_lines
from .trial import Played, Trial

WORDS_OF_IDS = {id_: word for word, id_ in IDS.items()}
VERBS = {"commit": "commits it", "edit": "edits it", "revoke": "revokes it"}


def case_why(trial: Trial, played: Played, sides: Sequence[ComparedSide]) -> Iterator[str]:
    """Why the step that differs does so, at its first position, as comments for a file of cases."""
    number = played.differs_at
    if number is None:
        return
    steps = (played.a[number], played.b[number])
    position = _position(*steps)
    if position is None:
        return
    yield f"# why, at position {position} in step {number}:"
    for side, policy, step in zip(sides, (trial.pair.a, trial.pair.b), steps, strict=True):
        verb = next(
            (words for kind, words in VERBS.items() if position in step.written(kind)), "does not write it"
        )
        why = explained_step(policy, trial, played, number).why(position, WORDS_OF_IDS)
        for line in reason_lines(f"{side.title} {verb}", why):
            yield f"# {line}"


def _position(a: Replayed, b: Replayed) -> int | None:
    """The first position where the canvases differ."""
    pairs = enumerate(zip(a.after, b.after, strict=True))
    return next((at for at, (one, other) in pairs if one != other), None)


def explained_step(policy: Policy, trial: Trial, played: Played, number: int) -> ExplainedStep:
    """A step of a policy on the forwards of a trial, with the values of its parts."""
    explained = ExplainedPolicy.of(policy)
    replaying, rows = Replaying(policy, trial.length), list[ReferenceRow]()

    def watch(row: ReferenceRow, values: dict[int, Any], result: ReferenceResult) -> None:
        rows.append(row)

    replaying.function.watcher = watch
    steps = [replaying.step(forward) for forward in played.forwards[: number + 1]]
    row, step = rows[number], steps[number]
    size = step.end - step.start
    phase = explained.watched.program.phases.index(step.phase)
    return ExplainedStep(
        explained,
        number,
        phase,
        step.start,
        canvas=row.canvas[:size],
        editable=row.editable[:size],
        values=_values(explained, row, phase, size),
        mask_id=MASK_ID,
    )


def _values(explained: ExplainedPolicy, row: ReferenceRow, phase: int, size: int) -> dict[int, Any]:
    """The values of the parts of a step. A part that reads a number which the case does not have, or a state
    that the step does not carry, has none.
    """
    watched, computed = explained.watched, dict[int, Any]()
    operations = [number for number, _, _ in recorded_operations(watched, phase)]
    for number in operations:
        with suppress(Missing, KeyError):
            compute(watched.program, row, [number], computed)
    found = {number: computed[number] for number in operations if number in computed}
    return {number: one[:size] if isinstance(one, list) else one for number, one in found.items()}
