"""A table of observations for two policies, and the steps of each on it.

Shapes: F forwards, G positions, V vocabulary. Not here: tables for a search of many rows (`search`), the text
of a case (`case_text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from ...policy import Policy
from ...source import Source, Span
from ..case_values import CaseRow, Cell
from ..cases import CaseForward
from ..replay import FLOAT32, IDS, CaseArithmetic, Missing, Replayed, Replaying
from .observations import observe
from .observed_step import ModelIds, observed_names
from .on_paper import ON_PAPER, shortest

NOWHERE = Span(Source("", "compare"), 0, 0)
ORDER = ("token", "likeliest", "conf", "margin", "logit_margin", "entropy", "p", "kl", "js")


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """The two policies, and the observations that at least one of them reads."""

    a: Policy
    b: Policy

    @property
    def wanted(self) -> tuple[str, ...]:
        names = observed_names(self.a.program) | observed_names(self.b.program)
        if "doubt" in names:  # follows from `conf`
            names |= {"conf"}
        return tuple(name for name in ORDER if name in names)


@dataclass(frozen=True)
class Trial:
    """The distributions `p [F, G, V]` float64 and the proposed ids `token [F, G]`. `digits`: of the numbers
    in a case; `None` for as many as a float32 needs.
    """

    pair: ComparedPair
    ids: ModelIds
    p: Tensor
    token: Tensor
    digits: int | None = None

    @property
    def forwards(self) -> int:
        return len(self.p)

    @property
    def length(self) -> int:
        return self.p.shape[1]

    @cached_property
    def numbers(self) -> list[dict[str, list[Cell]]]:
        """The rows of each forward except `p`, as in a case."""
        rows = []
        for forward in range(self.forwards):
            before = self.p[forward - 1] if forward else None
            found = observe(self.pair.wanted, self.p[forward], self.token[forward], before)
            rows.append({name: self._cells(name, values) for name, values in found.items()})
        return rows

    def _cells(self, name: str, values: Tensor) -> list[Cell]:
        if name in ("token", "likeliest"):
            return [self._id(int(id_)) for id_ in values.tolist()]
        return [self._number(value) for value in values.tolist()]

    def _id(self, id_: int) -> Cell:
        return next((word for word, special in self.ids.special.items() if special == id_), id_)

    def _number(self, value: float) -> float:
        return float(shortest(value) if self.digits is None else f"{value:.{self.digits}g}")

    def forward(self, number: int, canvas: Sequence[int | None]) -> CaseForward:
        """The rows of a forward, with the ids that are on the canvas before it."""
        rows = dict(self.numbers[number])
        if "p" in self.pair.wanted:
            rows["p"] = [self._number(self._of_canvas(number, i, id_)) for i, id_ in enumerate(canvas)]
        return CaseForward({name: row(name, cells) for name, cells in rows.items()}, {})

    def _of_canvas(self, number: int, position: int, id_: int | None) -> float:
        """The probability of the id on the canvas; at a mask, of the end of text."""
        words = {IDS[word]: special for word, special in self.ids.special.items()}
        id_ = self.ids.special["eos"] if id_ is None else words.get(id_, id_)
        return float(self.p[number, position, id_])


def row(name: str, cells: Sequence[Cell]) -> CaseRow:
    """A row of numbers without a text."""
    return CaseRow(name, NOWHERE, (), tuple(cells))


@dataclass(slots=True)
class Played:
    """The steps of both policies up to the first difference, and its forward; `None` without one."""

    a: list[Replayed] = field(default_factory=list)
    b: list[Replayed] = field(default_factory=list)
    forwards: list[CaseForward] = field(default_factory=list)
    differs_at: int | None = None


def play(trial: Trial, arithmetic: CaseArithmetic = FLOAT32) -> Played:
    """Both policies on the forwards of a trial, until they differ or end. Raises `Missing`."""
    a, b = (Replaying(one, trial.length, None, arithmetic) for one in (trial.pair.a, trial.pair.b))
    played = Played()
    for number in range(trial.forwards):
        if a.ended:
            break
        forward = trial.forward(number, a.ids())
        played.forwards.append(forward)
        played.a.append(a.step(forward))
        played.b.append(b.step(forward))
        if outcome(played.a[-1]) != outcome(played.b[-1]):
            played.differs_at = number
            break
    return played


def outcome(step: Replayed) -> tuple[object, ...]:
    """The parts of a step that a case can see."""
    return step.after, step.ended, step.refreshes


def tells_apart(trial: Trial) -> bool:
    """Whether the policies differ in float32."""
    return _differs(trial, FLOAT32)


def tells_apart_on_paper(trial: Trial) -> bool:
    """Whether the policies differ without rounding, too."""
    return _differs(trial, ON_PAPER)


def _differs(trial: Trial, arithmetic: CaseArithmetic) -> bool:
    try:
        differs_at = play(trial, arithmetic).differs_at
    except Missing:
        return False
    # A forward is left for the case of the policy that goes on where the other one ends.
    return differs_at is not None and differs_at + 1 < trial.forwards
