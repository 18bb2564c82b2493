"""The table of a search: the policies of the front and the starts, on the calibration and on the held-out
prompts.

Not here: the files of the front (`front`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..evaluation.intervals import bootstrap, paired, wilson
from ..measuring.scores import PromptScore
from ..text_table import drawn
from .racing import Contestant

COLUMNS = ("policy", "calibration", "forwards", "held out", "95 %", "forwards", "size")
COMPARED = ("policy", "start of this accuracy", "difference", "95 %", "forwards saved", "95 %")
NOTES = (
    "calibration: accuracy on the prompts that chose the policies; held out: on prompts that the search did not use",
    "95 %: Wilson's interval of an accuracy, Newcombe's of a difference, a bootstrap of the prompts for forwards",
    "start of this accuracy: the one with the fewest forwards whose calibration accuracy is as high, or the most accurate one",
)


@dataclass(frozen=True, slots=True)
class TestedPolicy:
    """A policy with its scores on both parts of the prompts."""

    name: str
    contestant: Contestant
    held_out: tuple[PromptScore, ...]

    @property
    def accuracy(self) -> float:
        return sum(one.right for one in self.held_out) / max(1, len(self.held_out))

    @property
    def forwards(self) -> float:
        return sum(one.forwards for one in self.held_out) / max(1, len(self.held_out))


def lines(front: Sequence[TestedPolicy], starts: Sequence[TestedPolicy]) -> Iterator[str]:
    """The lines of both tables, and notes."""
    yield from drawn([COLUMNS, *(_row(one) for one in (*front, *starts))])
    yield ""
    yield from drawn([COMPARED, *(_comparison(one, rival_of(one, starts)) for one in front)])
    yield ""
    for note in NOTES:
        yield f"  {note}"


def rival_of(one: TestedPolicy, starts: Sequence[TestedPolicy]) -> TestedPolicy:
    """The start to compare with. The calibration prompts choose it, so that the held-out ones judge it."""
    able = [start for start in starts if start.contestant.accuracy() >= one.contestant.accuracy()]
    if able:
        return min(able, key=lambda start: start.contestant.forwards())
    return max(starts, key=lambda start: (start.contestant.accuracy(), -start.contestant.forwards()))


def _row(one: TestedPolicy) -> tuple[str, ...]:
    low, high = wilson(one.accuracy, len(one.held_out))
    return (
        one.name, f"{one.contestant.accuracy():.3f}", f"{one.contestant.forwards():.2f}",
        f"{one.accuracy:.3f}", f"{low:.3f} to {high:.3f}", f"{one.forwards:.2f}", f"{one.contestant.individual.size}",
    )  # fmt: skip


def _comparison(one: TestedPolicy, rival: TestedPolicy) -> tuple[str, ...]:
    pairs = [(a.right >= 0.5, b.right >= 0.5) for a, b in zip(one.held_out, rival.held_out, strict=True)]
    counts = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    low, high = paired(*counts)
    saved = [float(b.forwards - a.forwards) for a, b in zip(one.held_out, rival.held_out, strict=True)]
    least, most = bootstrap(saved)
    return (
        one.name, rival.name, f"{one.accuracy - rival.accuracy:+.3f}", f"{low:+.3f} to {high:+.3f}",
        f"{rival.forwards - one.forwards:.2f} of {rival.forwards:.2f}", f"{least:+.2f} to {most:+.2f}",
    )  # fmt: skip
