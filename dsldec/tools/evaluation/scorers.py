"""Is an answer right? Scorers: exact, number, regex, python, and those of the tasks of the embedded
models.

Not here: numbers in a text (`numbers`), how code is run (`code_runner`), figures (`report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...diagnostics import Diagnostic, UsageError, did_you_mean
from ...models.tasks import TASKS
from .. import quoted
from .code_programs import programs
from .code_runner import CodeLimits, failure_of, require_limits
from .numbers import last_number
from .problems import Problem

SCORERS = ("exact", "number", "regex:PATTERN", "python")
PATTERN_SECONDS = 1.0  # for one answer: some patterns need exponential time
LONGEST_FOUND = 200  # characters that a results file stores


@dataclass(frozen=True, slots=True)
class Judged:
    """The score of an answer, from 0 to 1. `found`: the part that was compared; `why`: the reason of a zero,
    where it is not the comparison.
    """

    score: float
    found: str | None = None
    why: str = ""


class Scorer(Protocol):
    """Scores an answer to a problem. `name` is stored with each score. `slow`: it starts a process."""

    @property
    def name(self) -> str: ...
    @property
    def slow(self) -> bool: ...
    def lacks(self, problem: Problem) -> str:
        """The field that the problem lacks for this scorer, or an empty text."""
        ...

    def judged(self, problem: Problem, text: str) -> Judged: ...


class ExactScorer:
    """Right if the answer is one of the right answers, apart from spaces around it."""

    name, slow = "exact", False

    def lacks(self, problem: Problem) -> str:
        return "" if problem.answers else "answer"

    def judged(self, problem: Problem, text: str) -> Judged:
        found = text.strip()
        return Judged(float(any(found == one.strip() for one in problem.answers)), found[:LONGEST_FOUND])


class NumberScorer:
    """Right if the answer ends with the number that a right answer ends with."""

    name, slow = "number", False

    def lacks(self, problem: Problem) -> str:
        return "" if any(map(_has_number, problem.answers)) else "answer with a number"

    def judged(self, problem: Problem, text: str) -> Judged:
        found = last_number(text)
        if found is None:
            return Judged(0.0, why="there is no number")
        right = [last_number(one) for one in problem.answers]
        return Judged(float(found in right), _shown(found))


class PatternScorer:
    """Right if group 1 of the pattern's first match, or the whole match, is one of the right answers."""

    slow = False

    def __init__(self, pattern: str) -> None:
        # The dialect of `re`, with a time limit. transformers needs this package.
        import regex  # type: ignore[import-untyped,unused-ignore]

        self.name = f"regex:{pattern}"
        try:
            self._pattern: Any = regex.compile(pattern)
        except regex.error as failure:
            message = f"the pattern {quoted(pattern)} is no regular expression: {failure}"
            help = r"for example `--scorer 'regex:#### (-?\d+)'`"
            raise UsageError(Diagnostic("E0422", message, help=help)) from None

    def lacks(self, problem: Problem) -> str:
        return "" if problem.answers else "answer"

    def judged(self, problem: Problem, text: str) -> Judged:
        try:
            match = self._pattern.search(text, timeout=PATTERN_SECONDS)
        except TimeoutError:
            return Judged(0.0, why=f"the pattern was not finished after {PATTERN_SECONDS:g} second")
        if match is None:
            return Judged(0.0, why="the pattern matches nothing")
        found = ((match[1] if self._pattern.groups else match[0]) or "").strip()
        return Judged(float(any(found == one.strip() for one in problem.answers)), found[:LONGEST_FOUND])


class PythonScorer:
    """Right if the code of the answer passes the test of the problem, in a process with limits."""

    name, slow = "python", True

    def __init__(self, limits: CodeLimits) -> None:
        self._limits = limits

    def lacks(self, problem: Problem) -> str:
        return "" if problem.test else "test"

    def judged(self, problem: Problem, text: str) -> Judged:
        why = failure_of(programs(problem, text), self._limits)
        return Judged(float(not why), why=why)


class TaskScorer:
    """The scorer of a task of an embedded model."""

    slow = False

    def __init__(self, task: str) -> None:
        self.name = task

    def lacks(self, problem: Problem) -> str:
        return "" if problem.example is not None else "example"

    def judged(self, problem: Problem, text: str) -> Judged:
        assert problem.example is not None  # `require_scorable` has checked it
        return Judged(float(TASKS[self.name].score(problem.example, text).answer))


def scorer_of(name: str, task: str, run_code: bool, limits: CodeLimits) -> Scorer:
    """The scorer of this name; a task of an embedded model has one of the same name. Raises `UsageError`:
    E0422 for an unknown one, E0481 for `python` without `run_code`.
    """
    kind, colon, pattern = name.partition(":")
    if kind == "regex" and colon and pattern:
        return PatternScorer(pattern)
    if name == "python":
        if not run_code:
            message = "the scorer `python` runs code that the model writes, which can damage this machine"
            help = "in a container without anything of importance, add `--run-code`"
            raise UsageError(Diagnostic("E0481", message, help=help))
        require_limits()
        return PythonScorer(limits)
    if name in TASKS and name == task:
        return TaskScorer(name)
    if name in ("exact", "number"):
        return ExactScorer() if name == "exact" else NumberScorer()
    if kind == "regex":
        help = r"for example `--scorer 'regex:#### (-?\d+)'`"
        raise UsageError(Diagnostic("E0422", "the scorer `regex` lacks its pattern", help=help))
    near = did_you_mean(name, ("exact", "number", "python"))
    help = (
        f"did you mean `--scorer {near}`?" if near else f"one of {', '.join(f'`{one}`' for one in SCORERS)}"
    )
    raise UsageError(Diagnostic("E0422", f"unknown scorer {quoted(name)}", help=help))


def require_scorable(problems: Sequence[Problem], scorer: Scorer) -> None:
    """Raise `UsageError` (E0480) for a problem without the field that its scorer compares with."""
    for problem in problems:
        if lacking := scorer.lacks(problem):
            example = {"test": '"test": "assert double(2) == 4"'}.get(lacking, '"answer": "32"')
            message = f"{problem.place} has no `{lacking.split()[0]}`{lacking[len(lacking.split()[0]) :]}"
            message += f", which the scorer {quoted(scorer.name)} needs"
            help = f'a line is an object, {{"prompt": "...", {example}}}'
            raise UsageError(Diagnostic("E0480", message, help=help))


def _has_number(answer: str) -> bool:
    return last_number(answer) is not None


def _shown(value: Any) -> str:
    """A fraction as a decimal where that is exact and short."""
    decimal = f"{float(value):.15g}" if abs(value) < 10**15 else str(value)
    return decimal if "e" not in decimal and value == type(value)(decimal) else str(value)[:LONGEST_FOUND]
