"""Runs the cases of a policy, and reports the places that no case reaches.

Not here: whether a case passes (`tools.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from ... import checks
from ...diagnostics import Diagnostic, PolicyError
from ...ir.watched import watched
from ...lru import LRUCache
from ...policy import Policy, read
from ...source import Source
from ..cases import Case
from ..check import record
from ..verdict import with_values
from .places import KINDS, CoveragePlace, PlaceKey, places_of

PERCENT = 100


@dataclass(frozen=True, slots=True)
class Coverage:
    """The places of a policy, and how far its cases reach them.

    `file`: as diagnostics name the policy's file; `missed`: the places that no case reaches, in the order of
    the text.
    """

    policy: str
    file: str
    places: tuple[CoveragePlace, ...]
    missed: tuple[CoveragePlace, ...]

    @property
    def reached(self) -> int:
        return len(self.places) - len(self.missed)

    @property
    def percent(self) -> float:
        """The share of the places that are reached, from 0 to 100; 100 for a policy without places."""
        return PERCENT * self.reached / len(self.places) if self.places else float(PERCENT)

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """A warning (W0555) for each place that no case reaches."""
        return [Diagnostic("W0555", KINDS[p.kind][0], p.span, help=KINDS[p.kind][1]) for p in self.missed]

    def __str__(self) -> str:
        whole = f"{self.policy}: {self.reached} of {len(self.places)} places reached"
        return f"{whole}, {self.percent:.1f} %" if self.missed else whole

    def as_json(self) -> dict[str, object]:
        missed = [
            record(self.file, diagnostic) | {"place": place.kind}
            for place, diagnostic in zip(self.missed, self.diagnostics, strict=True)
        ]
        counts = {"places": len(self.places), "reached": self.reached, "percent": round(self.percent, 2)}
        return {"policy": self.policy, "file": self.file, **counts, "missed": missed}


def coverage_of(name: str, cases: Iterable[Case]) -> Coverage:
    """The coverage of a policy by cases. `name`: of a shipped policy, or a file.

    Values that do not fit the policy count nothing: `verdict` reports them. Raises `PolicyError` for a policy
    with mistakes.
    """
    text, shown = read(name)
    checked, diagnostics = checks.check(Source(text, shown))
    if checked is None:
        raise PolicyError(diagnostics)
    policy = checked.resolved.policy
    places = places_of(policy)
    reached = {key for case in cases for key in reached_by(case, checked)}
    missed = tuple(place for place in places if place.key not in reached)
    return Coverage(policy.identifier.text, shown, tuple(places), missed)


def reached_by(case: Case, checked: checks.CheckedPolicy) -> set[PlaceKey]:
    """The keys of the places that a case reaches, as far as it runs; none if its values do not fit."""
    from ...backends.reference import ReferenceResult, ReferenceRow
    from ..replay import Missing, replay
    from .reached import StepReach

    policy, wrong = with_values(case, Policy.of(checked))
    reached: set[PlaceKey] = set()
    if wrong:
        return reached
    program = watched(checked, policy.parameters)

    def see(row: ReferenceRow, values: dict[int, object], result: ReferenceResult) -> None:
        reached.update(StepReach(checked.resolved.policy, program, row, values, result).keys)

    watching = Policy(program.program, policy.parameters, LRUCache(1), checked)
    with suppress(Missing):
        for _ in replay(watching, case, see):
            pass
    return reached
