"""The report of `dsldec bench step`: table, goals, JSON, plot.

Every figure is a ratio of two times of one round. Not here: measuring (`bench_step`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from .bench_cases import FLOAT64, READ, STATISTICS, BenchCase, CaseKey
from .rounds import Ratio

GOAL_SHAPE = (1, 256, 126464)
MOST_READS = {"float32": 6.0, "bfloat16": 8.0}  # of the statistics, by dtype
MOST_OF_RULE, MOST_OF_RULE_WITH_PHASES = 0.03, 0.10  # as a share of the step
LEAST_GAIN = 6.0  # over the float64 softmax

COLOURS = {"eager": "#b8c4d6", "inductor": "#2f5d8c", "aot": "#d08a2e"}


@dataclass(frozen=True, slots=True)
class StepGoal:
    """A target and the measured number. `at_most`: the target is an upper limit, else a lower limit."""

    what: str
    limit: float
    measured: float
    at_most: bool = True

    @property
    def reached(self) -> bool:
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


def reads(case: BenchCase, key: CaseKey) -> Ratio:
    """The time of a call as a multiple of one read of the logits."""
    return Ratio.between(case.seconds[key], case.seconds[CaseKey(READ)])


def rule_share(case: BenchCase, key: CaseKey) -> Ratio:
    """The share of the commit rule in the time of a policy's step (`key`)."""
    return Ratio.between(case.seconds[key._replace(part="rule")], case.seconds[key])


def table(case: BenchCase, backends: Sequence[str]) -> Iterator[str]:
    """A Markdown table of a case."""
    with_rule = [
        backend
        for backend in backends
        if any(key.part == "rule" and key.backend == backend for key in case.seconds)
    ]
    titles = [case.name, *backends, *(f"rule's share, {backend}" for backend in with_rule)]
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for what in dict.fromkeys(key.what for key in case.seconds):
        keys = [CaseKey(what, backend) for backend in backends]
        if CaseKey(what) in case.seconds and what not in case.phases and "eager" not in backends:
            keys = [
                CaseKey(what),
                *keys[1:],
            ]  # baselines are eager; without an eager column they stand in the first one
        cells = [_times(reads(case, key)) if key in case.seconds else "" for key in keys]
        rules = [CaseKey(what, backend) for backend in with_rule]
        cells += [
            _percent(rule_share(case, key)) if what in case.phases and key in case.seconds else ""
            for key in rules
        ]
        yield f"| {f'`{what}`' if what in case.phases else what} | {' | '.join(cells)} |"


def _times(ratio: Ratio) -> str:
    return f"{ratio.median:.3g} ({ratio.low:.3g} to {ratio.high:.3g})"


def _percent(ratio: Ratio) -> str:
    return f"{100 * ratio.median:.2g} % ({100 * ratio.low:.2g} to {100 * ratio.high:.2g})"


def notes(backends: Sequence[str]) -> Iterator[str]:
    """The lines below the table: how the figures were measured."""
    yield "Baselines are eager torch. `conf, token, margin, entropy` is the reading of the vocabulary alone, as a step does it."
    yield "rule's share: the time of a step whose statistics of the logits are inputs, divided by the time of the whole step. Both times"
    yield "contain the cost of one call, so that the share and the reading add up to a little more than the step."
    if "eager" not in backends:
        yield f"Baselines stand in the column `{backends[0]}`."


def goals(cases: Sequence[BenchCase]) -> list[StepGoal]:
    """The goals that were measured. Goals are for the backend `inductor`."""
    return [
        goal for case in cases for goal in (*_reading_goals(case), *_rule_goals(case), *_gain_goals(case))
    ]


def _reading_goals(case: BenchCase) -> Iterator[StepGoal]:
    key = CaseKey(STATISTICS, "inductor")
    if case.shape == GOAL_SHAPE and case.dtype in MOST_READS and key in case.seconds:
        yield StepGoal(
            f"{case.name}: reads of the logits that `{STATISTICS}` takes",
            MOST_READS[case.dtype],
            reads(case, key).median,
        )


def _rule_goals(case: BenchCase) -> Iterator[StepGoal]:
    for title, limit, phases in (
        ("one phase", MOST_OF_RULE, False),
        ("several phases", MOST_OF_RULE_WITH_PHASES, True),
    ):
        names = [
            name
            for name, count in case.phases.items()
            if (count > 1) == phases and CaseKey(name, "inductor") in case.seconds
        ]
        shares = {name: rule_share(case, CaseKey(name, "inductor")).median for name in names}
        if shares:
            worst = max(shares, key=shares.__getitem__)
            yield StepGoal(
                f"{case.name}: share of the rule in a step of {title} (most: `{worst}`)", limit, shares[worst]
            )


def _gain_goals(case: BenchCase) -> Iterator[StepGoal]:
    names = [
        name for name in case.phases if name in case.conf_only and CaseKey(name, "inductor") in case.seconds
    ]
    gains = {
        name: Ratio.between(case.seconds[CaseKey(FLOAT64)], case.seconds[CaseKey(name, "inductor")]).median
        for name in names
    }
    if gains:
        worst = min(gains, key=gains.__getitem__)
        what = f"{case.name}: times as fast as the float64 softmax is a whole step that needs conf alone (least: `{worst}`)"
        yield StepGoal(what, LEAST_GAIN, gains[worst], at_most=False)


def goal_lines(found: Sequence[StepGoal]) -> Iterator[str]:
    """One line for each goal, or a line that no goal was measured."""
    if not found:
        yield "\nno goals were measured: they are for the backend `inductor`"
        return
    yield "\ngoals:"
    for goal in found:
        shown = (
            f"{number:.3g}" if goal.limit >= 1 else f"{100 * number:.2g} %"
            for number in (goal.measured, goal.limit)
        )
        measured, limit = shown
        yield f"  {'reached' if goal.reached else 'missed '}  {goal.what}: {measured}, aim {'<=' if goal.at_most else '>='} {limit}"


def results(cases: Sequence[BenchCase], rounds: int, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that was measured, seconds too, for a JSON file."""
    return {
        "machine": dict(machine),
        "rounds": rounds,
        "cases": [
            {"shape": list(case.shape), "dtype": case.dtype, "timed": list(_timed(case))} for case in cases
        ],
        "goals": [
            {
                "what": goal.what,
                "limit": goal.limit,
                "at_most": goal.at_most,
                "measured": goal.measured,
                "reached": goal.reached,
            }
            for goal in goals(cases)
        ],
    }


def _timed(case: BenchCase) -> Iterator[dict[str, Any]]:
    for key, seconds in case.seconds.items():
        ratio = reads(case, key)
        line = {
            "what": key.what,
            "backend": key.backend,
            "part": key.part,
            "reads": ratio.median,
            "quartiles": [ratio.low, ratio.high],
        }
        yield line | {"seconds": seconds}


WIDTH, LABELS, BAR, GAP = 860, 260, 12, 8


def plot(cases: Sequence[BenchCase], backends: Sequence[str]) -> str:
    """An SVG with a bar for each row of a case, in reads of the logits, and a line between the quartiles."""
    lines, y = [], 24
    for case in cases:
        lines.append(
            f'<text x="8" y="{y}" font-weight="bold">{escape(case.name)}: multiples of one read of the logits</text>'
        )
        y += 14
        shown = [
            key
            for key in case.seconds
            if key.part == "whole" and (key.backend in backends or key.what not in case.phases)
        ]
        longest = max(reads(case, key).high for key in shown)
        for what in dict.fromkeys(key.what for key in shown):
            lines.append(f'<text x="{LABELS - 8}" y="{y + BAR - 2}" text-anchor="end">{escape(what)}</text>')
            for key in [key for key in shown if key.what == what]:
                lines += _bar(reads(case, key), key.backend, y, (WIDTH - LABELS - 70) / longest)
                y += BAR + 1
            y += GAP
        y += 20
    for index, (backend, colour) in enumerate(COLOURS.items()):
        lines.append(
            f'<rect x="{8 + 100 * index}" y="{y - 10}" width="{BAR}" height="{BAR}" fill="{colour}"/>'
        )
        lines.append(f'<text x="{26 + 100 * index}" y="{y}">{backend}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 16}" font-family="sans-serif" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *lines, "</svg>\n"])


def _bar(ratio: Ratio, backend: str, y: int, scale: float) -> list[str]:
    end, low, high = (round(LABELS + number * scale, 1) for number in (ratio.median, ratio.low, ratio.high))
    middle = y + BAR / 2
    return [
        f'<rect x="{LABELS}" y="{y}" width="{round(end - LABELS, 1)}" height="{BAR}" fill="{COLOURS[backend]}"/>',
        f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}" stroke="black"/>',
        f'<text x="{high + 4}" y="{y + BAR - 2}">{ratio.median:.3g}</text>',
    ]
