"""The text of a case that one policy passes and the other fails.

Not here: the table of observations (`trial`), the smallest one (`shrink`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...policy import Policy
from ...source import Source
from ..case_values import MASKED, NONE, NOT_NEEDED, Cell
from ..cases import POSITIONS, CaseForward, read_cases
from ..replay import IDS, Missing, Replayed, Replaying
from ..verdict import outcome_of
from .trial import Played, Trial, play

LABEL = 13  # columns of the first word of a row
FAILS = "E0446"


@dataclass(frozen=True, slots=True)
class ComparedSide:
    """One of the two policies: its unbound form, its name in a title, and the words of its `set` line."""

    policy: Policy
    title: str
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ToldApart:
    """A confirmed difference: the case of each policy, which the other one fails, and their steps."""

    cases: tuple[str, str]
    played: Played


def told_apart(trial: Trial, sides: tuple[ComparedSide, ComparedSide]) -> ToldApart | None:
    """The cases of a trial, if each policy passes its own and fails the other's."""
    try:
        played = play(trial)
    except Missing:
        return None
    if played.differs_at is None:
        return None
    for sparse in (True, False):
        writer = _CaseWriter(trial, played, sides, sparse)
        texts = tuple(writer.text(of=side, settings=side) for side in (0, 1))
        passes = all(_codes(texts[side], sides[side]) == set() for side in (0, 1))
        if passes and all(_codes(writer.text(of=s, settings=1 - s), sides[1 - s]) == {FAILS} for s in (0, 1)):
            return ToldApart((texts[0], texts[1]), played)
    return None


def _codes(text: str, side: ComparedSide) -> set[str]:
    """The codes of the diagnostics that a case gives for a policy."""
    cases, wrong = read_cases(Source(text, "compare.cases"))
    found = [one for case in cases for one in outcome_of(case, side.policy, "compare.cases").diagnostics]
    return {one.code for one in (*wrong, *found)}


class _CaseWriter:
    """Writes cases of one trial. `sparse`: numbers only where a step should need them."""

    def __init__(
        self, trial: Trial, played: Played, sides: tuple[ComparedSide, ComparedSide], sparse: bool
    ) -> None:
        self.trial, self.played, self.sides, self.sparse = trial, played, sides, sparse
        self.steps = (played.a, played.b)
        self.pair = (trial.pair.a, trial.pair.b)

    def text(self, *, of: int, settings: int) -> str:
        """The case that the side `of` passes, with the parameter values of the side `settings`."""
        lines = [f"case unlike {self.sides[1 - of].title}"]
        words = self._settings(settings)
        lines += [f"  set {' '.join(words)}"] if words else []
        width = self._width()
        for number, step in enumerate(self._all_steps(of)):
            lines += [self._row(name, cells, width) for name, cells in self._observed(step)]
            lines += self._expected(step, number, of, width)
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def _settings(self, side: int) -> list[str]:
        """The words of the line `set`. The search may have set the size of the windows."""
        given = self.sides[side].settings
        named = {one.partition("=")[0].strip() for one in given}
        policy, usual = self.pair[side], self.sides[side].policy.parameters
        words = ["".join(one.split()) for one in given]
        for name, value in policy.parameters.items():
            if name not in named and usual.get(name) != value:
                words.append(f"{name}={value}")
        return words

    def _all_steps(self, of: int) -> list[Replayed]:
        """The steps of a side; with one more where it goes on and the other has ended."""
        steps, last = list(self.steps[of]), self.played.differs_at or 0
        mine, other = self.steps[of][last], self.steps[1 - of][last]
        if mine.after == other.after and not mine.ended and other.ended and last + 1 < self.trial.forwards:
            replaying = Replaying(self.pair[of], self.trial.length)
            for forward in self.played.forwards:
                replaying.step(forward)
            steps.append(replaying.step(self.trial.forward(last + 1, replaying.ids())))
        return steps

    def _observed(self, step: Replayed) -> Iterator[tuple[str, list[str]]]:
        rows = dict(self._needed_rows(step.forward))
        for name, cells in rows.items():
            masked = [id_ is None for id_ in step.before]
            wanted = [not one for one in masked] if name == "p" else masked
            shown = [
                _cell(name, cell) if need or not self.sparse else NOT_NEEDED
                for cell, need in zip(cells, wanted, strict=True)
            ]
            if self.sparse and name in ("kl", "js"):  # infinite in a window's first step, which reads none
                shown = [NOT_NEEDED if one == "inf" else one for one in shown]
            if name not in ("p", "kl", "js") or any(one != NOT_NEEDED for one in shown):
                yield name, shown

    def _needed_rows(self, forward: CaseForward) -> Iterator[tuple[str, Sequence[Cell]]]:
        """The rows, except the ones that follow from others."""
        rows = forward.observed
        tokens = rows["token"].cells if "token" in rows else tuple(range(self.trial.length))
        for name, one in rows.items():
            if name == "token" and tokens == tuple(range(len(tokens))):
                continue
            if name == "likeliest" and one.cells == tokens:
                continue
            yield name, one.cells

    def _expected(self, step: Replayed, number: int, of: int, width: int) -> Iterator[str]:
        differs = number == self.played.differs_at
        other = self.steps[1 - of][number] if number < len(self.steps[1 - of]) else None
        note = f"   # {self.sides[1 - of].title}: {_done(other)}" if differs and other is not None else ""
        lines = [
            self._positions(kind, step.written(kind), width)
            for kind in POSITIONS
            if step.written(kind) or kind == "commit"
        ]
        if differs and other is not None:
            lines += self._beside_positions(step, other, width)
        if step.ended:
            lines.append("  done")
        lines[0] += note
        yield from lines

    def _beside_positions(self, step: Replayed, other: Replayed, width: int) -> Iterator[str]:
        """The rows that tell two steps apart where both write the same positions."""
        if all(step.written(kind) == other.written(kind) for kind in POSITIONS) and step.after != other.after:
            yield self._row("canvas", [_id_text(id_) for id_ in step.after], width)
        if step.refreshes != other.refreshes:
            yield "  refresh" if step.refreshes else f"  refresh {NONE}"

    def _positions(self, kind: str, positions: Sequence[int], width: int) -> str:
        cells = [str(i) if i in positions else "" for i in range(self.trial.length)]
        return self._row(kind, cells if positions else [NONE], width)

    def _row(self, name: str, cells: Sequence[str], width: int) -> str:
        return f"  {name:<{LABEL}}" + "".join(cell.ljust(width) for cell in cells)

    def _width(self) -> int:
        texts = [cell for step in self.steps[0] for _, cells in self._observed(step) for cell in cells] or [
            "0"
        ]
        return max(3, *map(len, texts)) + 1


def _cell(name: str, cell: Cell) -> str:
    if isinstance(cell, float):
        text = f"{cell:.9g}"
        return text[1:] if text.startswith("0.") else text
    return NOT_NEEDED if cell is None else str(cell)


def _id_text(id_: int | None) -> str:
    words = {number: word for word, number in IDS.items()}
    return MASKED if id_ is None else words.get(id_, str(id_))


def _done(step: Replayed) -> str:
    """The actions of a step, in a few words."""
    parts = [f"{kind}s {' '.join(map(str, step.written(kind)))}" for kind in POSITIONS if step.written(kind)]
    parts += ["ends"] if step.ended else []
    parts += ["asks for new keys and values"] if step.refreshes else []
    return ", ".join(parts) or "does nothing"
