"""Does a policy pass a case? If not, show its observations, its actions and the expected actions.

Not here: stepping the policy (`replay`, which needs torch and is imported when a case is run).
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..diagnostics import Diagnostic, PolicyError, UsageError, did_you_mean
from ..policy import Policy
from . import quoted
from .case_values import MASKED, NONE, NOT_NEEDED, Cell
from .cases import POSITIONS, Case, CaseForward
from .settings import with_settings

if TYPE_CHECKING:
    from .replay import Replayed

COLUMNS_SHOWN = 16


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a case of a file. `case` is None for a mistake outside of any case. `trace`: the step
    that failed.
    """

    file: str
    case: Case | None
    diagnostics: tuple[Diagnostic, ...] = ()
    trace: str = ""

    def __str__(self) -> str:
        return "\n\n".join([*map(str, self.diagnostics), *([self.trace] if self.trace else [])])


def outcome_of(case: Case, policy: Policy, file: str) -> Outcome:
    """The outcome of one case."""
    policy, wrong = with_values(case, policy)
    checks = (_unknown_phase, _no_candidate)
    wrong += [d for forward in case.forwards for check in checks for d in check(forward, policy)]
    if wrong:
        return Outcome(file, case, tuple(wrong))
    from .replay import Missing, replay

    number = 0
    try:
        for number, step in enumerate(replay(policy, case), 1):
            if wrong := list(_mistakes(step, f"forward {number} of {quoted(case.title)}")):
                return Outcome(file, case, tuple(wrong), "\n".join(_trace(step, number)))
    except Missing as missing:
        return Outcome(file, case, (missing.diagnostic,))
    if number == len(case.forwards):
        return Outcome(file, case)
    span, label = case.forwards[number].span, f"forward {number + 1} of {quoted(case.title)}"
    help = (
        "end the case with the forward before this one, and say `done` there"
        if number
        else "leave a position masked: `start _ 7`"
    )
    return Outcome(
        file, case, (Diagnostic("E0446", "decoding is over before this forward", span, label, help),)
    )


def with_values(case: Case, policy: Policy) -> tuple[Policy, list[Diagnostic]]:
    """The policy bound to the case's values, and the values that do not fit."""
    wrong: list[Diagnostic] = []
    folder = os.path.dirname(case.span.source.name)  # files are named from there
    for setting in case.settings:
        try:
            policy = with_settings(policy, [setting.text], folder)
        except UsageError as error:
            unfit = error.diagnostic
            wrong.append(replace(unfit, span=setting, help=unfit.help.replace("`--set ", "`set ")))
        except PolicyError as error:
            of_set = (
                replace(unfit, help=unfit.help.replace("`--set ", "`set ")) for unfit in error.diagnostics
            )
            wrong += [replace(unfit, span=setting) for unfit in of_set]
    try:
        if not wrong:
            policy.require_bound()
    except UsageError as error:
        unfit = error.diagnostic
        wrong.append(replace(unfit, span=case.span, help=unfit.help.replace("`--set ", "`set ")))
    return policy, wrong


def _unknown_phase(forward: CaseForward, policy: Policy) -> Iterator[Diagnostic]:
    row, phases = forward.expected.get("phase"), policy.program.phases
    if row is None or row.words[0].text in phases:
        return
    near = did_you_mean(row.words[0].text, phases)
    known = ", ".join(f"`{phase}`" for phase in phases if phase)
    help = (
        f"did you mean `{near}`?"
        if near
        else f"its phases are {known}"
        if known
        else "it has none: leave this line out"
    )
    yield Diagnostic(
        "E0443",
        f"the policy `{policy.name}` has no phase {quoted(row.words[0].text)}",
        row.words[0],
        help=help,
    )


def _no_candidate(forward: CaseForward, policy: Policy) -> Iterator[Diagnostic]:
    row, branches = forward.expected.get("pick"), policy.plan(1).branches
    if row is None or row.cells[0] in range(branches if policy.facts.branches is not None else 0):
        return
    help = f"a step makes the candidates 0 to {branches - 1}"
    if policy.facts.branches is None:
        help = "the policy has no `branch`: leave this line out"
    message = f"the policy `{policy.name}` makes no candidate {row.cells[0]}"
    yield Diagnostic("E0443", message, row.span, help=help)


def _mistakes(step: Replayed, label: str) -> Iterator[Diagnostic]:
    """The differences between a step and its rows. A position that no row names must not be written."""
    rows = step.forward.expected
    anywhere = list(rows.values())[-1]
    for kind in POSITIONS:
        row, written = rows.get(kind), step.written(kind)
        expected = row.cells if row else ()
        if written != expected:
            message = f"the policy {kind}s {_listed(written)} where {_listed(expected)} is expected"
            help = f"if the policy is right, {'write' if row else 'add'} `{kind} {' '.join(map(str, written)) or NONE}`"
            yield Diagnostic("E0446", message, (row or anywhere).span, label, help)
    if (row := rows.get("phase")) and row.words[0].text != step.phase:
        message = f"the policy is in phase `{step.phase}` where `{row.words[0].text}` is expected"
        yield Diagnostic(
            "E0446", message, row.span, label, f"if the policy is right, write `phase {step.phase}`"
        )
    cells = _cells(step.after)
    if (row := rows.get("canvas")) and any(
        want not in (None, got) for want, got in zip(row.cells, cells, strict=True)
    ):
        help = f"if the policy is right, write `canvas {' '.join(map(str, cells))}`"
        yield Diagnostic("E0446", "the policy leaves another canvas than is expected", row.span, label, help)
    if (row := rows.get("refresh")) and step.refreshes is bool(row.words):
        does = "asks" if step.refreshes else "does not ask"
        help = f"if the policy is right, write `refresh{'' if step.refreshes else f' {NONE}'}`"
        message = f"the policy {does} for new keys and values here"
        yield Diagnostic("E0446", message, row.span, label, help)
    if (row := rows.get("done")) and not step.ended:
        help = "if the policy is right, leave `done` out"
        yield Diagnostic(
            "E0446", "the policy goes on where decoding is expected to be over", row.span, label, help
        )


def _listed(positions: Sequence[Cell]) -> str:
    return ", ".join(map(str, positions)) or "nothing"


def _cells(ids: Sequence[int | None]) -> list[int | str]:
    from .replay import IDS

    words = {id_: word for word, id_ in IDS.items()}
    return [MASKED if id_ is None else words.get(id_, id_) for id_ in ids]


# --- the step that failed


def _trace(step: Replayed, number: int) -> Iterator[str]:
    """The window's positions in columns: the canvas before the step, the policy's observations, the expected
    and the actual writes.
    """
    phase = f" in phase `{step.phase}`" if step.phase else ""
    yield f"forward {number}{phase}, window of positions {step.start} to {step.end - 1}:"
    expected = {kind: set(row.cells) for kind in POSITIONS if (row := step.forward.expected.get(kind))}
    written = {kind: set(step.written(kind)) for kind in POSITIONS}
    for begin in range(step.start, step.end, COLUMNS_SHOWN):
        shown = range(begin, min(begin + COLUMNS_SHOWN, step.end))
        table = {
            "position": [str(i) for i in shown],
            "canvas": [str(_cells(step.before[i : i + 1])[0]) for i in shown],
        }
        table |= {
            name: [_number(name, values[i - step.start]) for i in shown] for name, values in step.read.items()
        }
        table |= {
            "expected": [_done_at(i, expected) for i in shown],
            "policy": [_done_at(i, written) for i in shown],
        }
        width = max(len(cell) for cells in table.values() for cell in cells) + 2
        yield ""
        yield from (
            f"  {name:<12}{''.join(cell.rjust(width) for cell in cells)}" for name, cells in table.items()
        )


def _done_at(position: int, positions: Mapping[str, Collection[Cell]]) -> str:
    return next((kind for kind, where in positions.items() if position in where), NOT_NEEDED)


def _number(name: str, value: float) -> str:
    if name == "token":
        return NOT_NEEDED if value < 0 else str(_cells([int(value)])[0])
    return NOT_NEEDED if math.isnan(value) else f"{value:.6g}"
