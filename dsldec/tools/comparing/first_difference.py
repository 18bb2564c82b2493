"""Why do two policies differ on a prompt? Both decode it again, and the values of each step are recorded.

Not here: all prompts (`on_prompts`), the explanation of one step (`explained`), the page (`viewing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap

from ...backends import AUTO
from ...explained.why import Why
from ...options import VALUES
from ...trace_step import TraceStep
from .. import quoted
from ..attempts import Attempts
from ..explaining.explained_run import of_trajectory
from ..prompts import Prompt
from ..results import Result
from .case_text import ComparedSide

MOST_LINES, LONGEST_LINE, WIDTH = 16, 300, 108  # of an explanation


@dataclass(frozen=True, slots=True)
class ComparedPrompt:
    """A prompt under both policies. `step`: the first one that differs, `None` where none does."""

    prompt: Prompt
    results: tuple[Result, Result]
    step: int | None

    @property
    def failed(self) -> bool:
        return any(result.error is not None for result in self.results)

    @property
    def same_text(self) -> bool:
        return self.results[0].ids == self.results[1].ids

    @property
    def places(self) -> list[int]:
        """The positions that only one of the two steps writes, or that they write otherwise."""
        if self.step is None:
            return []
        steps = [steps_of(result)[self.step : self.step + 1] for result in self.results]
        ids = [dict(step[0].ids) if step else {} for step in steps]
        revoked = [set(step[0].revoked) if step else set() for step in steps]
        written = {at for at in {*ids[0], *ids[1]} if ids[0].get(at) != ids[1].get(at)}
        return sorted(written | (revoked[0] ^ revoked[1]))


def of_results(prompt: Prompt, a: Result, b: Result) -> ComparedPrompt:
    """The results of a prompt, compared."""
    return ComparedPrompt(prompt, (a, b), first_difference(a, b))


def first_difference(a: Result, b: Result) -> int | None:
    """The first step with other writes, or the first one that only one of them has."""
    first, second = ([_writes(step) for step in steps_of(one)] for one in (a, b))
    for number, (these, those) in enumerate(zip(first, second, strict=False)):
        if these != those:
            return number
    return None if len(first) == len(second) else min(len(first), len(second))


def steps_of(result: Result) -> list[TraceStep]:
    """The steps of a result; none where it failed."""
    return [] if result.trajectory is None else result.trajectory.steps


def _writes(step: TraceStep) -> tuple[frozenset[int], dict[int, int]]:
    return frozenset(step.revoked), dict(step.ids)


def recorded(prompt: Prompt, attempts: Sequence[Attempts]) -> ComparedPrompt:
    """A prompt, decoded alone under both policies, with the values of each step."""
    results = []
    for attempt in attempts:
        options = attempt.options
        # One prompt does not repay a compilation, and `auto` would say so again.
        backend = "eager" if options.backend == AUTO else options.backend
        with_values = replace(attempt, options=replace(options, trace=VALUES, backend=backend))
        results.append(dict(with_values.results([prompt]))[0])
    return of_results(prompt, *results)


def why_lines(one: ComparedPrompt, sides: Sequence[ComparedSide]) -> Iterator[str]:
    """Why the first step that differs does so, for its first position, on both sides."""
    if one.step is None or not one.places:
        return
    position = one.places[0]
    yield f"why, at position {position} in step {one.step}:"
    for side, result in zip(sides, one.results, strict=True):
        if one.step >= len(steps_of(result)):
            yield f"  {side.title} has ended before this step"
            continue
        yield from _of_side(side, result, one.step, position)


def _of_side(side: ComparedSide, result: Result, step: int, position: int) -> Iterator[str]:
    assert result.trajectory is not None
    run = of_trajectory(side.title, result.trajectory)
    verb = _verb(steps_of(result)[step], position, run.texts)
    why = run.why(step, position)
    if why is None:
        yield f"  {side.title} {verb}; the values of this step were not recorded"
    else:
        yield from (f"  {line}" for line in reason_lines(f"{side.title} {verb}", why))


def reason_lines(what: str, why: Why) -> Iterator[str]:
    """The sentence `what`, and the first lines of its explanation."""
    yield f"{what}, because:"
    for line in why.lines[:MOST_LINES]:
        text = line.text if len(line.text) <= LONGEST_LINE else f"{line.text[:LONGEST_LINE]}…"
        indent = "  " * (line.depth + 1)
        yield from wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}    ")
    if len(why.lines) > MOST_LINES:
        yield f"  and {len(why.lines) - MOST_LINES} more lines"


def _verb(step: TraceStep, position: int, texts: Mapping[int, str]) -> str:
    for verb, positions in (("commits", step.committed), ("edits", step.edited), ("revokes", step.revoked)):
        if position in positions:
            id_ = step.ids.get(position)
            if id_ is None:
                return f"{verb} it"
            return f"{verb} it as {quoted(texts[id_]) if id_ in texts else f'id {id_}'}"
    return "does not write it"


def chosen(compared: Sequence[ComparedPrompt], show: str | None) -> ComparedPrompt | None:
    """The prompt to look into: the one with the id `show`, or the first one that differs, or the first one.
    `None` where it failed.
    """
    fine = [one for one in compared if not one.failed]
    if show is not None:
        return next((one for one in fine if str(one.prompt.id) == show), None)
    return next((one for one in fine if one.step is not None), fine[0] if fine else None)
