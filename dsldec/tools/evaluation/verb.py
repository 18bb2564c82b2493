"""`dsldec evaluate --task`: decodes a task under policies, scores the answers, and prints the table.

Not here: the arguments (`cli`), decoding of prompts (`attempts`), scores (`scorers`), figures (`figures`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...diagnostics import Diagnostic, PolicyError, UsageError
from .. import quoted_path
from ..attempts import Attempts
from ..displays import Bar
from ..line_options import with_line
from ..process import log_on_stderr, say, termination_interrupts
from ..results_file import ResultsFile, check_unique
from ..run import DECODED, FAILED, INTERRUPTED, RunOptions, made_by, warn_of_file
from ..tally import Tally
from .answers import AnswerLine, ScoredResult, lines_of, score_file, score_lines, stored
from .chosen_policies import ChosenPolicy, chosen_policies
from .evaluate_options import EvaluateOptions, check_policies, require_infill, require_sensible, results_file
from .figures import Figures, figures_of
from .problems import Problem
from .report import interrupted, report
from .scorers import Scorer, require_scorable, scorer_of
from .tasks import default_scorer, problems_of, with_defaults

if TYPE_CHECKING:
    from ...models.huggingface import HuggingFaceDenoiser


@dataclass(slots=True)
class Evaluated:
    """A policy, the name of its results file, and without a file its answers."""

    chosen: ChosenPolicy
    file: str | None
    lines: list[AnswerLine] = field(default_factory=list)


def evaluate_task(options: EvaluateOptions) -> int:
    """Evaluate, and return the exit status. Raises `UsageError` and `PolicyError`, before anything is decoded
    if the arguments are wrong.
    """
    with termination_interrupts(), log_on_stderr(), ExitStack() as open_things:
        require_sensible(options)
        chosen = chosen_policies(options.policies)
        name = options.scorer or default_scorer(options.task)
        scorer = scorer_of(name, options.task, options.run_code, options.limits)
        options = with_defaults(options)
        problems = [
            replace(
                problem, prompt=replace(problem.prompt, n=with_line(options.decode, problem.prompt.given).n)
            )
            for problem in problems_of(options.task, options.load.raw, options.split)[: options.limit]
        ]
        check_unique([problem.prompt for problem in problems])
        require_scorable(problems, scorer)
        require_infill(options, problems)
        check_policies(chosen, options, max(problem.prompt.n for problem in problems))
        evaluated = [Evaluated(one, results_file(options.out, one)) for one in chosen]
        run = _Run(options, problems, scorer)
        status = DECODED
        try:
            if not options.rescore:
                run.decode(evaluated, open_things)
            run.score(evaluated)
        except KeyboardInterrupt:
            status = INTERRUPTED
        except (UsageError, PolicyError):
            if any(one.lines for one in evaluated):  # stored nowhere else
                report([run.figures(one) for one in evaluated], options, scorer)
            raise
        figures = [run.figures(one) for one in evaluated]
        report(figures, options, scorer)
        if status == INTERRUPTED:
            say(interrupted(figures, options.out))
            return status
        return FAILED if any(one.failed for one in figures) else DECODED


class _Run:
    """One evaluation: its problems and its scorer."""

    def __init__(self, options: EvaluateOptions, problems: Sequence[Problem], scorer: Scorer) -> None:
        self.options, self.scorer = options, scorer
        self.problems = {problem.prompt.id: problem for problem in problems}
        self.prompts = [problem.prompt for problem in problems]
        self.samples = [replace(one, sample=sample) for one in self.prompts for sample in range(one.n)]

    def decode(self, evaluated: Sequence[Evaluated], open_things: ExitStack) -> None:
        """Decode the prompts that have no answer yet, policy by policy."""
        files = {one.chosen.file: self._opened(one, open_things) for one in evaluated}
        for one in evaluated:
            self._require_same_scorer(one)
        denoiser = None
        for one in evaluated:
            file = files[one.chosen.file]
            work = [one for one in self.samples if file is None or (one.id, one.sample) not in file.answered]
            if denoiser is None and work:
                denoiser = self._denoiser()
            with ExitStack() as inside:
                if file is not None:
                    inside.enter_context(file)  # removes torn lines, also where nothing is left to do
                if work:
                    assert denoiser is not None
                    self._decode_all(one, file, work, denoiser)

    def _opened(self, one: Evaluated, open_things: ExitStack) -> ResultsFile | None:
        if one.file is None:
            return None
        how = made_by(one.chosen.policy, self._as_run())
        file = ResultsFile(one.file, self.prompts, resume=self.options.resume, made_by=how)
        open_things.callback(file.close)  # also if something fails before its first line
        warn_of_file(file, self.prompts)
        return file

    def _require_same_scorer(self, one: Evaluated) -> None:
        """Raise `UsageError` (E0437) where a file has scores of another scorer."""
        if one.file is None or not self.options.resume or self.options.rescore:
            return
        others = {line["scorer"] for line in self._lines(one) if "scorer" in line} - {self.scorer.name}
        if others:
            message = f"{quoted_path(one.file)} was scored by `--scorer {min(others)}`, and now `--scorer {self.scorer.name}`"
            help = "first score its answers again: the same command with `--rescore` instead of `--resume`"
            raise UsageError(Diagnostic("E0437", message, help=help))

    def _denoiser(self) -> HuggingFaceDenoiser:
        from ...models.huggingface import from_pretrained

        return from_pretrained(self.options.model, **asdict(self.options.load))

    def _decode_all(
        self, one: Evaluated, file: ResultsFile | None, work: Sequence[Any], denoiser: HuggingFaceDenoiser
    ) -> None:
        attempts = Attempts(denoiser, one.chosen.policy, self.options.decode, self.options.load.dtype)
        noun = "prompt" if len(self.samples) == len(self.prompts) else "sample"
        tally = Tally(len(work), len(self.samples) - len(work), noun)
        with Bar(len(work)) if sys.stderr.isatty() else ExitStack() as bar:
            tally.start()
            for place, result in _timed(attempts.results(work), self._scored):
                if file is not None:
                    file.append(result)
                else:
                    one.lines.append(result.line())
                tally.add(result)
                if isinstance(bar, Bar):
                    bar.finished(place, result)
            tally.stop()
        for line in tally.errors():
            say(line)
        say(f"{one.chosen.title}: {tally.summary()}")

    def _scored(self, result: Any, wall_seconds: float) -> ScoredResult:
        judged = None
        if result.error is None and not self.scorer.slow:
            judged = self.scorer.judged(self.problems[result.prompt.id], result.text)
        return ScoredResult.of(result, judged, self.scorer.name, wall_seconds)

    def score(self, evaluated: Sequence[Evaluated]) -> None:
        """Score the answers that have no score yet; with `--rescore` all."""
        for one in evaluated:
            if one.file is None:
                score_lines(one.lines, self.problems, self.scorer, self.options.rescore)
            elif os.path.exists(one.file):
                score_file(one.file, self.problems, self.scorer, self.options.rescore)

    def figures(self, one: Evaluated) -> Figures:
        parameters = {
            name: value
            for name, value in one.chosen.policy.parameters.items()
            if isinstance(value, bool | int | float)
        }
        return figures_of(one.chosen.title, parameters, self._lines(one), len(self.prompts))

    def _lines(self, one: Evaluated) -> list[AnswerLine]:
        return one.lines if one.file is None else [*lines_of(stored(one.file), self.problems)]

    def _as_run(self) -> RunOptions:
        return RunOptions(model=self.options.model, load=self.options.load, decode=self.options.decode)


def _timed(results: Iterator[Any], scored: Any) -> Iterator[tuple[int, ScoredResult]]:
    """The results with their scores. The time of scoring and of storing does not count as decoding."""
    while True:
        before = time.monotonic()
        found = next(results, None)
        if found is None:
            return
        place, result = found
        yield place, scored(result, time.monotonic() - before)
