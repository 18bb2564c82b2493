"""The steps of a run as data of a page: writes, candidates, drafts and values.

Numbers are rounded, because people read them. Not here: the explanations (`why_data`), the policy and the
texts (`page_data`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...explained.named_values import NamedValue
from ...explained.reasons import ExplainedStep
from ...language import syntax
from ...language.words import WORDS
from ...trace_step import TraceStep
from .why_data import WhyTable

DIGITS = 3  # of a probability and of a value
MOST_CANDIDATES = 4
LEAST_PROBABILITY = 0.001  # of a candidate that is shown
MOST_EXPLAINED = 2**17  # explanations of a run; a page with more is too large to open


class StepTable:
    """Makes the data of steps. `names`: the names of values, `[name, span, has a value for each position]`."""

    def __init__(self, steps: Sequence[TraceStep], length: int, whys: WhyTable) -> None:
        self.steps, self.length, self.whys = steps, length, whys
        self._names: dict[tuple[str, int, bool], int] = {}
        self.all_explained = len(steps) * length <= MOST_EXPLAINED

    @property
    def names(self) -> list[list[Any]]:
        return [list(name) for name in self._names]

    def data(self) -> list[dict[str, Any]]:
        """The data of all steps."""
        phases: dict[str, int] = {}
        made = []
        for step in self.steps:
            record = step.record if isinstance(step.record, ExplainedStep) else None
            fields = {
                "phase": phases.setdefault(step.phase, len(phases)),
                "forward": step.forward,
                "writes": [_write(step, at) for at in sorted(step.ids)],
                "revoked": [[at, step.removed.get(at)] for at in sorted(step.revoked)],
                "branch": step.branch,
            }
            made.append(fields if record is None else fields | self._recorded(step, record))
        return made

    def _recorded(self, step: TraceStep, record: ExplainedStep) -> dict[str, Any]:
        """The fields of a step with values."""
        start = max(record.start, 0)
        fired = record.next
        return {
            "window": [start, min(record.end, self.length)],
            "candidates": list(self._candidates(record)),
            "refused": sorted([at, id_] for at, id_ in record.refused.items()),
            "dropped": record.dropped,
            "scores": [shown_number(one) for one in record.scores],
            "recomputed": record.recomputed,
            "next": None if fired is None else [fired.span.text, self.whys.span(fired.span)],
            "values": [self._value(name, one, record) for name, one in _values(record).items()],
            **self._whys(step),
        }

    def _candidates(self, record: ExplainedStep) -> Iterator[list[Any]]:
        """For each position of the window `[id, probability, id, probability, ...]`."""
        if record.candidates is None:
            return
        first = max(0, -record.start)
        last = min(len(record.canvas), self.length - record.start)
        for ids, shares in zip(
            record.candidates.ids[first:last], record.candidates.probabilities[first:last], strict=True
        ):
            pairs = list(zip(ids, shares, strict=True))[:MOST_CANDIDATES]
            shown = [pair for pair in pairs if pair[1] >= LEAST_PROBABILITY]
            yield [part for id_, share in shown for part in (id_, shown_number(share))]

    def _value(self, name: str, named: NamedValue, record: ExplainedStep) -> list[Any]:
        """The number of a name, and its value or its values."""
        wide = not isinstance(named.value, bool | int | float)
        key = name, self.whys.span(named.span), wide
        number = self._names.setdefault(key, len(self._names))
        if isinstance(named.value, bool | int | float):
            return [number, shown_number(named.value)]
        values = list(named.value)[max(0, -record.start) : max(0, self.length - record.start)]
        if values and all(isinstance(one, bool) for one in values):
            return [number, "".join("1" if one else "0" for one in values)]
        return [number, [shown_number(one) for one in values]]

    def _whys(self, step: TraceStep) -> dict[str, Any]:
        """The cell of each position; of a long trace, `[position, cell]` of each changed position."""
        if self.all_explained:
            return {"whys": [self.whys.add(step.why(at)) for at in range(self.length)]}
        changed = sorted({*step.ids, *step.revoked})
        return {"someWhys": [[at, self.whys.add(step.why(at))] for at in changed]}


def _write(step: TraceStep, at: int) -> list[Any]:
    """`[position, id, confidence, entropy, the id before]`, where the last ones may be missing."""
    observed = step.observations
    seen = [observed.get(name, {}).get(at) for name in ("conf", "entropy")]
    fields = [at, step.ids[at], *(None if one is None else shown_number(one) for one in seen)]
    return [*fields, step.removed[at]] if at in step.removed else fields


def _values(record: ExplainedStep) -> Mapping[str, NamedValue]:
    """The observations that the policy reads, then its named values."""
    found: dict[str, NamedValue] = {}
    for (phase, part), operations in record.explained.watched.expressions.items():
        if phase != record.phase or not isinstance(part, syntax.Name) or not operations:
            continue
        word = WORDS.get(part.identifier)
        if word is not None and word.observation and operations[-1] in record.values:
            found.setdefault(part.identifier, NamedValue(record.values[operations[-1]], part.span))
    return {**dict(sorted(found.items())), **record.named()}


def shown_number(value: bool | int | float) -> bool | int | float | str | None:
    """A number as a page has it. NaN is no value."""
    if not isinstance(value, float):
        return value
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return float(f"{value:.{DIGITS}g}")
